//! What the tests of a caller share: a broker, frames of jobs and replies, and waits with a bound.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempest_broker::{Broker, Settings, Subscription, Topics, Waiter};
use tempest_protocol::{Action, Content, Encoding, Envelope, JobId, Mailbox, Queue, Raw, Reply, Topic};

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A broker at this URL.
pub(crate) async fn broker(url: &str) -> Broker {
    Broker::connect(Settings::new(url, "test")).await.expect("a Redis that can serve")
}

pub(crate) fn queue() -> Queue {
    Queue::new("default").expect("a name")
}

pub(crate) fn id(name: &str) -> JobId {
    JobId::new(name).expect("a name")
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a name")
}

/// Topics of a broker, under a mailbox name of their own.
pub(crate) fn topics(broker: &Broker) -> Topics {
    broker.topics(&Mailbox::new(format!("m{:x}", fastrand::u64(..))).expect("a name"))
}

/// Subscribes as soon as the connection is up.
pub(crate) async fn subscribe(topics: &Topics, names: &[&str]) -> Subscription {
    let names: Vec<_> = names.iter().copied().map(topic).collect();
    within("a subscription", async {
        loop {
            if let Ok(subscription) = topics.subscribe(&names).await {
                return subscription;
            }
        }
    })
    .await
}

/// The frame of a job with an id.
pub(crate) fn job(name: &str) -> Bytes {
    let envelope = Envelope { id: Some(id(name)), ..Envelope::new(Action::new("echo").expect("a name")) };
    envelope.encode(&Raw::encode(Encoding::Json, &()).expect("null"))
}

/// The frame of a reply, from its fields.
#[expect(clippy::needless_pass_by_value, reason = "json! is written in place")]
pub(crate) fn frame(fields: Value) -> String {
    fields.to_string()
}

/// A final HTTP reply.
pub(crate) fn reply(name: &str, body: &str) -> String {
    frame(json!({"id": name, "status": 200, "headers": {}, "body": body}))
}

/// What must happen, within a generous time.
#[track_caller]
pub(crate) fn within<T>(what: &str, future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        tokio::time::timeout(PATIENCE, future)
            .await
            .unwrap_or_else(|_| panic!("never happened: {what} ({place})"))
    }
}

/// The body of the reply a waiter gets.
pub(crate) async fn body(waiter: &mut Waiter) -> String {
    match within("a reply", waiter.reply()).await.expect("a readable reply").content {
        Content::Http { body, .. } => String::from_utf8_lossy(&body).into_owned(),
        other => panic!("an HTTP reply was expected, not {other:?}"),
    }
}

/// Whether no reply has come, although all that was sent before has been read.
pub(crate) async fn none_yet(waiter: &mut Waiter) -> bool {
    tokio::time::timeout(Duration::from_millis(50), waiter.reply()).await.is_err()
}

/// The failure a reply carries.
pub(crate) fn failure(reply: &Reply) -> (&str, &str) {
    match &reply.content {
        Content::Error(failure) => (&failure.code, &failure.message),
        other => panic!("an error was expected, not {other:?}"),
    }
}
