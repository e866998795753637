//! Who listens to a channel, and how a message reaches them.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use tempest_protocol::Event;
use tokio::sync::watch;

use super::{
    inbound::{Inbound, Live},
    shard::{Fanned, Reached, Shard},
};

/// So many subscribers are one portion; what comes above is divided.
const PORTION: usize = 64;
/// More portions than this are not made, however many threads there are.
const SHARDS_MAX: usize = 16;

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
        matches!(self, Self::Topic { subscribers, .. } if subscribers.count() == 0)
    }
}

/// The subscribers of a topic.
#[derive(Default)]
pub(super) struct Subscribers {
    /// Those who listen to nothing else.
    shards: Vec<Arc<Shard>>,
    /// Those who listen to several topics, by their addresses. Each event is handed to them when it comes, so that events
    /// of different topics keep their order.
    several: HashMap<usize, Weak<Inbound>>,
}

impl Subscribers {
    /// Adds a subscriber of this topic `alone`, or of others too.
    pub(super) fn join(&mut self, inbound: &Arc<Inbound>, alone: bool) {
        if !alone {
            self.several.insert(Arc::as_ptr(inbound).addr(), Arc::downgrade(inbound));
            return;
        }
        let emptiest = self.shards.iter().min_by_key(|shard| shard.count());
        match emptiest {
            Some(shard) if shard.count() < PORTION || self.shards.len() >= shards_max() => {
                shard.join(inbound)
            }
            _ => {
                let shard = Arc::new(Shard::default());
                shard.join(inbound);
                self.shards.push(shard);
            }
        }
    }

    /// Forgets a subscriber, if it is still known. True if nobody is left.
    pub(super) fn leave(&mut self, inbound: &Arc<Inbound>) -> bool {
        if !self.shards.iter().any(|shard| shard.leave(inbound)) {
            self.several.remove(&Arc::as_ptr(inbound).addr());
        }
        self.count() == 0
    }

    /// How many there are; those that left a moment ago may still count.
    pub(super) fn count(&self) -> usize {
        self.several.len() + self.shards.iter().map(|shard| shard.count()).sum::<usize>()
    }

    /// Renders an event once and gives it to everybody. What is not done by now is left to whoever takes the
    /// portions that are given.
    pub(super) fn fan_out(&mut self, payload: &[u8]) -> (Reached, Vec<Arc<Shard>>) {
        let live = rendered(payload);
        let (mut reached, mut begun) = (Reached::default(), Vec::new());
        for shard in &self.shards {
            match shard.fan_out(&live) {
                Fanned::Out(some) => reached += some,
                Fanned::Waits => {}
                Fanned::Begins => begun.push(shard.clone()),
            }
        }
        for subscriber in self.several.values().filter_map(Weak::upgrade) {
            reached.count(subscriber.push(live.clone(), 1), 1);
        }
        if matches!(live, Live::End(_)) {
            // Whoever comes from here on is of another portion, and hears nothing of what waits for these.
            *self = Self::default();
        }
        (reached, begun)
    }
}

fn rendered(payload: &[u8]) -> Live {
    let event = Event::of(payload);
    let mut bytes = Vec::with_capacity(payload.len() + 16);
    event.write_sse(true, &mut bytes);
    match event {
        Event::Unsubscribe => Live::End(bytes.into()),
        Event::Message { .. } => Live::Events(bytes.into()),
    }
}

/// As many portions as there are threads to write to them.
fn shards_max() -> usize {
    let threads = tokio::runtime::Handle::try_current().map_or(1, |runtime| runtime.metrics().num_workers());
    threads.clamp(1, SHARDS_MAX)
}
