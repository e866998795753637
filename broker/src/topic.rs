//! Live topics: one subscription a topic a process, fan-out to any number of subscribers, and a probe that notices
//! a connection that has gone silent (SPEC "Topics").
//!
//! An event is written to its subscribers by one task for many of them (`shard.rs`); what a socket has no room for waits
//! for the subscriber's own task. Slow subscribers cost nobody anything: what waits for one is bounded, past the bound it is cut. Kept topics will
//! feed the same [`Subscription`]; nothing here knows about positions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tempest_protocol::{Mailbox, Topic, limits};
use tokio::sync::{mpsc, watch};
use tracing::{debug, info};

use crate::{Broker, Error, Rarely, link::within};

mod channel;
mod inbound;
mod shard;

pub use inbound::{Live, Outlet};

use channel::Channel;
use inbound::Inbound;
use shard::{Reached, Shard};

/// What is in trouble while nothing published is heard.
const PART: &str = "topics";
/// Channels in one `SUBSCRIBE`.
const CHANNELS_PER_CALL: usize = 1_000;
/// How long a new subscriber waits for Redis to confirm its topics.
const CONFIRM: Duration = Duration::from_secs(1);

/// The topics of a process. Cheap to clone.
#[derive(Clone)]
pub struct Topics {
    shared: Arc<Shared>,
}

struct Shared {
    broker: Broker,
    probe: String,
    channels: Mutex<HashMap<Arc<str>, Channel>>,
    /// Channels of this process's own.
    listeners: AtomicUsize,
    /// Subscribers that were cut.
    overruns: AtomicU64,
    said: Rarely,
    orders: mpsc::UnboundedSender<Order>,
    /// A probe is to be sent and was not yet.
    probing: AtomicBool,
    /// When the connection last proved that it hears; none while it is down.
    heard: watch::Sender<Option<Instant>>,
}

enum Order {
    Subscribe(Arc<str>),
    /// The last subscriber may have left.
    Review(Arc<str>),
}

impl Broker {
    /// Opens the connection for topics and keeps it for ever. `name` makes the probe's channel this process's own.
    pub fn topics(&self, name: &Mailbox) -> Topics {
        let (orders, orders_in) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            broker: self.clone(),
            probe: self.keys().probe(name),
            channels: Mutex::default(),
            listeners: AtomicUsize::new(0),
            overruns: AtomicU64::new(0),
            said: Rarely::default(),
            orders,
            probing: AtomicBool::new(false),
            heard: watch::Sender::new(None),
        });
        self.spawn(keep(shared.clone(), orders_in));
        Topics { shared }
    }
}

impl Topics {
    /// Subscribes to topics. Waits until Redis has confirmed them, so that nothing published afterwards is missed.
    ///
    /// Errors: [`Error::Down`] if that takes longer than a second.
    pub async fn subscribe(&self, topics: &[Topic]) -> Result<Subscription, Error> {
        let inbound = Arc::new(Inbound::default());
        let alone = topics.len() == 1;
        let joined =
            topics.iter().map(|topic| self.shared.join(&self.shared.broker.channel(topic), &inbound, alone));
        let (channels, confirmations): (Vec<_>, Vec<_>) = joined.unzip();
        let subscription = Subscription { inbound, channels: channels.into(), shared: self.shared.clone() };
        for mut confirmed in confirmations {
            let confirmed = tokio::time::timeout(CONFIRM, confirmed.wait_for(|confirmed| *confirmed)).await;
            if !matches!(confirmed, Ok(Ok(_))) {
                return Err(Error::Down);
            }
        }
        Ok(subscription)
    }

    /// Hands every message of a channel to `handle`, which must not block.
    pub(crate) fn listen(&self, channel: String, handle: impl Fn(Bytes) + Send + Sync + 'static) {
        let channel: Arc<str> = channel.into();
        let before = self.shared.channels().insert(channel.clone(), Channel::Listener(Box::new(handle)));
        if !matches!(before, Some(Channel::Listener(_))) {
            self.shared.listeners.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.order(Order::Subscribe(channel));
    }

    /// How long the connection has not proved that it hears; none while it is down.
    pub fn silence(&self) -> Option<Duration> {
        self.shared.heard.borrow().map(|heard| heard.elapsed())
    }

    /// How many subscribers were cut so far because they did not keep up.
    pub fn overruns(&self) -> u64 {
        self.shared.overruns.load(Ordering::Relaxed)
    }

    /// How many channels are subscribed to.
    pub fn channels(&self) -> usize {
        self.shared.channels().len()
    }

    /// The topics with most subscribers here, at most so many, and how many each has.
    pub fn busiest(&self, count: usize) -> Vec<(String, usize)> {
        let prefix = self.shared.broker.settings().topic_prefix.as_str();
        let mut topics: Vec<_> = self
            .shared
            .channels()
            .iter()
            .filter_map(|(name, channel)| match channel {
                Channel::Topic { subscribers, .. } => Some((name.clone(), subscribers.count())),
                Channel::Listener(_) => None,
            })
            .collect();
        topics.sort_by(|(one, ones), (other, others)| others.cmp(ones).then_with(|| one.cmp(other)));
        topics.truncate(count);
        let own = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        topics.into_iter().map(|(name, subscribers)| (own(&name), subscribers)).collect()
    }

    /// How many topics have subscribers here, or had until a moment ago.
    pub fn subscribed(&self) -> usize {
        self.channels().saturating_sub(self.shared.listeners.load(Ordering::Relaxed))
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashMap<Arc<str>, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        // The receiver is gone only when the broker is closed: then nobody hears anything.
        self.orders.send(order).ok();
    }

    /// Adds a subscriber. Gives the channel's name, kept once for all of them, and tells when Redis has confirmed it.
    fn join(&self, channel: &str, inbound: &Arc<Inbound>, alone: bool) -> (Arc<str>, watch::Receiver<bool>) {
        let mut channels = self.channels();
        let name = channels.get_key_value(channel).map(|(name, _)| name.clone());
        let name = name.unwrap_or_else(|| {
            let name: Arc<str> = channel.into();
            channels.insert(name.clone(), Channel::topic());
            self.order(Order::Subscribe(name.clone()));
            name
        });
        match channels.get_mut(channel) {
            Some(Channel::Topic { confirmed, subscribers }) => {
                subscribers.join(inbound, alone);
                (name, confirmed.subscribe())
            }
            // A topic that names a channel of this process's own: refused by `Keys::subscribable` before.
            _ => (name, watch::Sender::new(false).subscribe()),
        }
    }

    fn leave(&self, channel: &Arc<str>, inbound: &Arc<Inbound>) {
        if let Some(Channel::Topic { subscribers, .. }) = self.channels().get_mut(channel)
            && subscribers.leave(inbound)
        {
            self.order(Order::Review(channel.clone()));
        }
    }

    /// Every channel somebody listens to; the others are forgotten.
    fn wanted(&self) -> Vec<Arc<str>> {
        let mut channels = self.channels();
        channels.retain(|_, channel| !channel.is_deserted());
        channels.keys().cloned().collect()
    }

    /// Removes a topic without subscribers. True if it is to be unsubscribed.
    fn review(&self, channel: &str) -> bool {
        let mut channels = self.channels();
        let deserted = channels.get(channel).is_some_and(Channel::is_deserted);
        if deserted {
            channels.remove(channel);
        }
        deserted
    }

    fn confirm(&self, names: &[Arc<str>], value: bool) {
        let channels = self.channels();
        for name in names {
            if let Some(Channel::Topic { confirmed, .. }) = channels.get(name) {
                confirmed.send_replace(value);
            }
        }
    }

    fn dispatch(self: &Arc<Self>, channel: &str, payload: Bytes) {
        if channel == self.probe {
            self.heard.send_replace(Some(Instant::now()));
            self.broker.stats().faults.well(PART);
            return;
        }
        let (reached, begun) = match self.channels().get_mut(channel) {
            Some(Channel::Topic { subscribers, .. }) => subscribers.fan_out(&payload),
            Some(Channel::Listener(handle)) => return handle(payload),
            None => return,
        };
        self.broker.stats().events_heard.count();
        self.count(channel, reached);
        for shard in begun {
            self.broker.spawn(self.clone().write(channel.into(), shard));
        }
    }

    /// Writes to a portion of a topic's subscribers until nothing waits for them.
    async fn write(self: Arc<Self>, channel: Box<str>, shard: Arc<Shard>) {
        while let Some(round) = shard.round() {
            self.count(&channel, round.write());
            // Others have their turn too, however many subscribers there are.
            tokio::task::yield_now().await;
        }
    }

    fn count(&self, channel: &str, reached: Reached) {
        self.broker.stats().events_delivered.add(reached.given);
        let cut = reached.cut;
        if cut > 0 {
            self.overruns.fetch_add(cut, Ordering::Relaxed);
            let say = |unsaid| info!(channel, cut, unsaid, "subscribers do not keep up and are cut");
            self.said.say(say);
        }
    }
}

/// Connects for ever.
async fn keep(shared: Arc<Shared>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (mut failures, mut connected) = (0, false);
    let stats = shared.broker.stats();
    loop {
        let error = match shared.broker.link().pubsub().await {
            Ok(pubsub) => {
                if std::mem::replace(&mut connected, true) {
                    stats.reconnects.topics.count();
                }
                let (sink, stream) = pubsub.split();
                serve(&shared, sink, stream, &mut orders, &mut failures).await
            }
            Err(error) => error,
        };
        failures += 1;
        stats.faults.failed(PART, &error);
        shared.heard.send_replace(None);
        let names: Vec<_> = shared.channels().keys().cloned().collect();
        shared.confirm(&names, false);
        tokio::time::sleep(error.trouble().pause(failures)).await;
    }
}

/// Serves one connection until it breaks or falls silent.
async fn serve(
    shared: &Arc<Shared>,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    failures: &mut u32,
) -> Error {
    while orders.try_recv().is_ok() {} // all channels with subscribers are subscribed to below
    let mut names = shared.wanted();
    names.push(shared.probe.as_str().into());
    if let Err(error) = subscribe(shared, &mut sink, &names).await {
        return error;
    }
    *failures = 0;
    let begun = Instant::now();
    debug!(channels = names.len(), "listening to topics");
    let mut probe = tokio::time::interval(limits::PROBE);
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            message = stream.next() => match message {
                None => return Error::Away("Redis closed it".into()),
                Some(message) => {
                    let payload: Vec<u8> = message.get_payload().unwrap_or_default();
                    shared.dispatch(message.get_channel_name(), payload.into());
                }
            },
            _ = orders.recv_many(&mut batch, CHANNELS_PER_CALL) => {
                if let Err(error) = obey(shared, &mut sink, batch.drain(..)).await {
                    return error;
                }
            }
            _ = probe.tick() => {
                let silence = shared.heard.borrow().unwrap_or(begun).elapsed();
                if silence > limits::PROBE + limits::PROBE / 2 {
                    let silent = silence.as_millis();
                    return Error::Away(format!("the connection for topics has been silent for {silent} ms"));
                }
                // Not awaited here: a slow command connection must not stop the events.
                if !shared.probing.swap(true, Ordering::AcqRel) {
                    shared.broker.spawn(probe_once(shared.clone()));
                }
            }
        }
    }
}

/// Publishes a probe, once the command connection is up.
async fn probe_once(shared: Arc<Shared>) {
    let link = shared.broker.link();
    loop {
        link.up().await;
        match link.ask::<u64>(redis::cmd("PUBLISH").arg(&shared.probe).arg("")).await {
            Err(Error::Down | Error::Away(_)) => {}
            Err(error) => break shared.broker.stats().faults.failed(PART, &error),
            Ok(_) => break,
        }
    }
    shared.probing.store(false, Ordering::Release);
}

/// Carries out orders in their order, neighbours of a kind in one call.
async fn obey(
    shared: &Shared,
    sink: &mut PubSubSink,
    orders: impl Iterator<Item = Order>,
) -> Result<(), Error> {
    let mut join = Vec::new();
    for order in orders {
        match order {
            Order::Subscribe(channel) => join.push(channel),
            Order::Review(channel) => {
                subscribe(shared, sink, &std::mem::take(&mut join)).await?;
                if shared.review(&channel) {
                    shared.broker.stats().commands.named(b"UNSUBSCRIBE");
                    within(sink.unsubscribe(&*channel)).await?;
                }
            }
        }
    }
    subscribe(shared, sink, &join).await
}

async fn subscribe(shared: &Shared, sink: &mut PubSubSink, names: &[Arc<str>]) -> Result<(), Error> {
    for names in names.chunks(CHANNELS_PER_CALL) {
        shared.broker.stats().commands.named(b"SUBSCRIBE");
        let call: Vec<&str> = names.iter().map(|name| &**name).collect();
        within(sink.subscribe(call)).await?;
        shared.confirm(names, true);
    }
    Ok(())
}

/// One subscriber of one or more topics. Dropping it unsubscribes.
pub struct Subscription {
    inbound: Arc<Inbound>,
    channels: Box<[Arc<str>]>,
    shared: Arc<Shared>,
}

impl Subscription {
    /// How many topics it listens to.
    pub fn topics(&self) -> usize {
        self.channels.len()
    }

    /// Hears no more: only what waits already is still handed out.
    pub fn leave(&mut self) {
        for channel in std::mem::take(&mut self.channels) {
            self.shared.leave(&channel, &self.inbound);
        }
    }

    /// How many events it has been handed so far.
    pub fn events(&self) -> u64 {
        self.inbound.handed()
    }

    /// From now on events may be written by whoever hears them, through this outlet, whenever [`Subscription::poll_next`]
    /// was pending last: what it hands out must be written when it is asked again.
    pub fn write_through(&mut self, outlet: Outlet) {
        self.inbound.set_outlet(Some(outlet));
    }

    /// The outlet is not used until [`Subscription::poll_next`] is pending again: something else is to be written.
    pub fn hold(&mut self) {
        self.inbound.hold();
    }

    /// What comes next; pending for ever after it has left. Cancel-safe.
    pub async fn next(&mut self) -> Live {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// What comes next, as a poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Live> {
        self.inbound.poll_next(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.leave();
        // Who writes just now may still hold what waits for it.
        self.inbound.set_outlet(None);
    }
}
