//! Live topics: one subscription a topic a process, fan-out to any number of subscribers, and a probe that notices
//! a connection that has gone silent (SPEC "Topics").
//!
//! Slow subscribers cost nobody anything: what waits for one is bounded, past the bound it is cut. Kept topics will
//! feed the same [`Subscription`]; nothing here knows about positions.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use tempest_protocol::{Event, Mailbox, RECONNECT, Topic, limits};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::{Broker, Error, link::within};

mod inbound;

pub use inbound::Live;

use inbound::Inbound;

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
    channels: Mutex<HashMap<String, Channel>>,
    orders: mpsc::UnboundedSender<Order>,
    /// When the connection last proved that it hears; none while it is down.
    heard: watch::Sender<Option<Instant>>,
}

/// What is done with the messages of a channel.
enum Channel {
    Topic { confirmed: watch::Sender<bool>, subscribers: Vec<Weak<Inbound>> },
    Listener(Box<dyn Fn(Bytes) + Send + Sync>),
}

impl Channel {
    fn is_deserted(&self) -> bool {
        matches!(self, Self::Topic { subscribers, .. } if subscribers.is_empty())
    }
}

enum Order {
    Subscribe(String),
    /// The last subscriber may have left.
    Review(String),
}

impl Broker {
    /// Opens the connection for topics and keeps it for ever. `name` makes the probe's channel this process's own.
    pub fn topics(&self, name: &Mailbox) -> Topics {
        let (orders, orders_in) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            broker: self.clone(),
            probe: self.keys().probe(name),
            channels: Mutex::default(),
            orders,
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
        let channels: Vec<_> = topics.iter().map(|topic| self.shared.broker.channel(topic)).collect();
        let confirmations: Vec<_> =
            channels.iter().map(|channel| self.shared.join(channel, &inbound)).collect();
        let subscription = Subscription { inbound, channels, shared: self.shared.clone() };
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
        self.shared.channels().insert(channel.clone(), Channel::Listener(Box::new(handle)));
        self.shared.order(Order::Subscribe(channel));
    }

    /// How long the connection has not proved that it hears; none while it is down.
    pub fn silence(&self) -> Option<Duration> {
        self.shared.heard.borrow().map(|heard| heard.elapsed())
    }

    /// How many channels are subscribed to.
    pub fn channels(&self) -> usize {
        self.shared.channels().len()
    }
}

impl Shared {
    fn channels(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        // The receiver is gone only when the broker is closed: then nobody hears anything.
        self.orders.send(order).ok();
    }

    fn join(&self, channel: &str, inbound: &Arc<Inbound>) -> watch::Receiver<bool> {
        let mut channels = self.channels();
        if !channels.contains_key(channel) {
            let topic = Channel::Topic { confirmed: watch::Sender::new(false), subscribers: Vec::new() };
            channels.insert(channel.to_owned(), topic);
            self.order(Order::Subscribe(channel.to_owned()));
        }
        match channels.get_mut(channel) {
            Some(Channel::Topic { confirmed, subscribers }) => {
                subscribers.push(Arc::downgrade(inbound));
                confirmed.subscribe()
            }
            // A topic that names a channel of this process's own: refused by `Keys::subscribable` before.
            _ => watch::Sender::new(false).subscribe(),
        }
    }

    fn leave(&self, channel: &str, inbound: &Arc<Inbound>) {
        if let Some(Channel::Topic { subscribers, .. }) = self.channels().get_mut(channel) {
            let me = Arc::as_ptr(inbound);
            if let Some(place) = subscribers.iter().position(|other| std::ptr::eq(other.as_ptr(), me)) {
                subscribers.swap_remove(place);
            }
            if subscribers.is_empty() {
                self.order(Order::Review(channel.to_owned()));
            }
        }
    }

    /// Every channel somebody listens to; the others are forgotten.
    fn wanted(&self) -> Vec<String> {
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

    fn confirm(&self, names: &[String], value: bool) {
        let channels = self.channels();
        for name in names {
            if let Some(Channel::Topic { confirmed, .. }) = channels.get(name) {
                confirmed.send_replace(value);
            }
        }
    }

    fn dispatch(&self, channel: &str, payload: Bytes) {
        if channel == self.probe {
            self.heard.send_replace(Some(Instant::now()));
            return;
        }
        match self.channels().get_mut(channel) {
            Some(Channel::Topic { subscribers, .. }) => fan_out(subscribers, &payload),
            Some(Channel::Listener(handle)) => handle(payload),
            None => {}
        }
    }
}

/// Renders an event once and gives it to every subscriber of its topic.
fn fan_out(subscribers: &mut Vec<Weak<Inbound>>, payload: &[u8]) {
    let event = Event::of(payload);
    let mut bytes = Vec::with_capacity(payload.len() + 16);
    event.write_sse(true, &mut bytes);
    let live = match event {
        Event::Unsubscribe => Live::End(bytes.into()),
        Event::Message { .. } => Live::Event(bytes.into()),
    };
    for subscriber in subscribers.iter().filter_map(Weak::upgrade) {
        subscriber.push(live.clone());
    }
    if matches!(live, Live::End(_)) {
        subscribers.clear();
    }
}

/// Connects for ever.
async fn keep(shared: Arc<Shared>, mut orders: mpsc::UnboundedReceiver<Order>) {
    let mut failures = 0;
    loop {
        match shared.broker.link().pubsub().await {
            Ok(pubsub) => {
                failures = 0;
                let (sink, stream) = pubsub.split();
                let error = serve(&shared, sink, stream, &mut orders).await;
                warn!(%error, "the connection for topics is gone; connecting again");
            }
            Err(error) if failures == 0 => warn!(%error, "cannot connect for topics"),
            Err(_) => {}
        }
        failures += 1;
        shared.heard.send_replace(None);
        let names: Vec<_> = shared.channels().keys().cloned().collect();
        shared.confirm(&names, false);
        tokio::time::sleep(RECONNECT.bound(failures).mul_f64(fastrand::f64())).await;
    }
}

/// Serves one connection until it breaks or falls silent.
async fn serve(
    shared: &Shared,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Error {
    while orders.try_recv().is_ok() {} // all channels with subscribers are subscribed to below
    let mut names = shared.wanted();
    names.push(shared.probe.clone());
    if let Err(error) = subscribe(shared, &mut sink, &names).await {
        return error;
    }
    shared.heard.send_replace(Some(Instant::now()));
    info!(channels = names.len(), "listening to topics");
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
                let silence = shared.heard.borrow().map(|heard| heard.elapsed());
                if silence.is_some_and(|silence| silence > limits::PROBE + limits::PROBE / 2) {
                    return Error::Away(format!("it has been silent for {silence:?}"));
                }
                let broker = shared.broker.clone();
                let channel = shared.probe.clone();
                // Not awaited here: a slow command connection must not stop the events.
                shared.broker.spawn(async move {
                    if let Err(error) = broker.link().ask::<u64>(redis::cmd("PUBLISH").arg(channel).arg("")).await {
                        tracing::debug!(%error, "the probe was not sent");
                    }
                });
            }
        }
    }
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
                    within(sink.unsubscribe(channel)).await?;
                }
            }
        }
    }
    subscribe(shared, sink, &join).await
}

async fn subscribe(shared: &Shared, sink: &mut PubSubSink, names: &[String]) -> Result<(), Error> {
    for names in names.chunks(CHANNELS_PER_CALL) {
        within(sink.subscribe(names)).await?;
        shared.confirm(names, true);
    }
    Ok(())
}

/// One subscriber of one or more topics. Dropping it unsubscribes.
pub struct Subscription {
    inbound: Arc<Inbound>,
    channels: Vec<String>,
    shared: Arc<Shared>,
}

impl Subscription {
    /// How many topics it began with.
    pub fn topics(&self) -> usize {
        self.channels.len()
    }

    /// The next event. Cancel-safe.
    pub async fn next(&mut self) -> Live {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event, as a poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Live> {
        self.inbound.poll_next(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for channel in &self.channels {
            self.shared.leave(channel, &self.inbound);
        }
    }
}
