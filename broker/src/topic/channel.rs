//! Who listens to a channel, and how a message reaches them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use tempest_protocol::Event;
use tokio::sync::watch;

use super::inbound::{Inbound, Live, Pushed};

/// What is done with the messages of a channel.
pub(super) enum Channel {
    Topic { confirmed: watch::Sender<bool>, subscribers: Subscribers },
    Listener(Box<dyn Fn(Bytes) + Send + Sync>),
}

impl Channel {
    pub(super) fn topic() -> Self {
        Self::Topic { confirmed: watch::Sender::new(false), subscribers: Subscribers::default() }
    }

    pub(super) fn is_deserted(&self) -> bool {
        matches!(self, Self::Topic { subscribers, .. } if subscribers.0.is_empty())
    }
}

/// Whom an event reached.
#[derive(Default)]
pub(super) struct Reached {
    /// Subscribers for whom it waits now.
    pub(super) given: usize,
    /// Those for whom it was too much.
    pub(super) cut: usize,
}

/// The subscribers of a topic by their addresses: a hundred thousand may leave at once, and none is searched for.
#[derive(Default)]
pub(super) struct Subscribers(HashMap<usize, Weak<Inbound>>);

impl Subscribers {
    pub(super) fn join(&mut self, inbound: &Arc<Inbound>) {
        self.0.insert(Arc::as_ptr(inbound).addr(), Arc::downgrade(inbound));
    }

    /// Forgets a subscriber, if it is still known. True if nobody is left.
    pub(super) fn leave(&mut self, inbound: &Arc<Inbound>) -> bool {
        self.0.remove(&Arc::as_ptr(inbound).addr());
        self.0.is_empty()
    }

    /// How many there are; those that left a moment ago may still count.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Renders an event once and gives it to everybody.
    pub(super) fn fan_out(&mut self, payload: &[u8]) -> Reached {
        let event = Event::of(payload);
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        event.write_sse(true, &mut bytes);
        let live = match event {
            Event::Unsubscribe => Live::End(bytes.into()),
            Event::Message { .. } => Live::Events(bytes.into()),
        };
        let mut reached = Reached::default();
        for subscriber in self.0.values().filter_map(Weak::upgrade) {
            match subscriber.push(live.clone()) {
                Pushed::Given => reached.given += 1,
                Pushed::Cut => reached.cut += 1,
                Pushed::Lost => {}
            }
        }
        if matches!(live, Live::End(_)) {
            self.0.clear();
        }
        reached
    }
}
