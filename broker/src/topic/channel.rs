//! Who listens to a channel, and how a message reaches them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use tempest_protocol::Event;
use tokio::sync::watch;

use super::inbound::{Inbound, Live};

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

    /// Renders an event once and gives it to everybody. Gives the number of those for whom that was too much.
    pub(super) fn fan_out(&mut self, payload: &[u8]) -> usize {
        let event = Event::of(payload);
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        event.write_sse(true, &mut bytes);
        let live = match event {
            Event::Unsubscribe => Live::End(bytes.into()),
            Event::Message { .. } => Live::Events(bytes.into()),
        };
        let subscribers = self.0.values().filter_map(Weak::upgrade);
        let cut = subscribers.filter(|subscriber| subscriber.push(live.clone())).count();
        if matches!(live, Live::End(_)) {
            self.0.clear();
        }
        cut
    }
}
