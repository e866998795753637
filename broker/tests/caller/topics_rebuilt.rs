//! The connection for topics breaks or falls silent: it is rebuilt with every topic, and its silence is told.

use std::time::Duration;

use tempest_broker::Topics;

use crate::{
    harness::{broker, subscribe, topic, topics, within},
    proxy::{Act, Fault, Proxy, Way},
    server::{Server, eventually},
    topics::event,
};

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Whether the connection has just proved that it hears.
fn hears(topics: &Topics) -> bool {
    topics.silence().is_some_and(|silence| silence < Duration::from_secs(4))
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_subscribed_to_again_after_client_kill() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["t", "u"]).await;
    for round in 0..5 {
        assert_eq!(server.cli("CLIENT KILL TYPE pubsub").integer(), 1);
        eventually("it listens again", || server.run(&["PUBLISH", "t", &round.to_string()]).integer() == 1);
        assert_eq!(within("an event", events.next()).await, event(&format!("data: {round}\n\n")));
        eventually("to all topics", || server.run(&["PUBLISH", "u", "u"]).integer() == 1);
        assert_eq!(within("an event", events.next()).await, event("data: u\n\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_left_while_redis_is_away_is_not_subscribed_to_again() {
    let mut server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (kept, left) = (subscribe(&topics, &["kept"]).await, subscribe(&topics, &["left"]).await);
    server.kill();
    until("the loss is noticed", || topics.silence().is_none()).await;
    drop(left);
    server.restart();
    eventually("the other is back", || server.cli("PUBLISH kept x").integer() == 1);
    assert_eq!(server.cli("PUBSUB NUMSUB left").list_text(), ["left", "0"]);
    assert_eq!(topics.channels(), 1);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribing_while_redis_is_away_is_refused_within_seconds() {
    let mut server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    subscribe(&topics, &["before"]).await;
    server.kill();
    until("the loss is noticed", || topics.silence().is_none()).await;
    let refused = within("a refusal", topics.subscribe(&[topic("t")])).await;
    assert!(refused.is_err());
    server.restart();
    let mut events = subscribe(&topics, &["t"]).await;
    server.cli("PUBLISH t back");
    assert_eq!(within("an event", events.next()).await, event("data: back\n\n"));
}

/// A connection that is open but brings nothing any more: the most reported failure of every Redis fan-out.
#[tokio::test(flavor = "multi_thread")]
async fn the_probe_notices_a_silent_connection_and_rebuilds_it() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["t"]).await;
    until("it hears", || hears(&topics)).await;
    // From the next subscription on this connection its answers pass for some bytes, then never again.
    proxy.prepare(Fault { way: Way::Answer, after: b"stalls-here".to_vec(), bytes: 600, act: Act::Stall });
    let also = subscribe(&topics, &["stalls-here"]).await;
    let filler = "x".repeat(1_000);
    server.run(&["PUBLISH", "stalls-here", &filler]);
    within("the stall", proxy.happened(1)).await;
    let started = std::time::Instant::now();
    server.run(&["PUBLISH", "t", "lost in the silence"]);
    until("the silence is told", || topics.silence().is_none_or(|silence| silence > Duration::from_secs(5)))
        .await;
    until("it hears again", || hears(&topics)).await;
    assert!(started.elapsed() < Duration::from_secs(20), "rebuilt only after {:?}", started.elapsed());
    eventually("topics are back", || {
        server.run(&["PUBLISH", "t", "after the silence"]).integer() >= 1 && hears(&topics)
    });
    assert_eq!(within("an event", events.next()).await, event("data: after the silence\n\n"));
    drop(also);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_quiet_but_alive_for_a_long_time() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["t"]).await;
    let id = pubsub_id(&server);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(
        topics.silence().is_some_and(|silence| silence < Duration::from_millis(7_500)),
        "the probe is heard"
    );
    assert_eq!(pubsub_id(&server), id, "it is still the same connection");
    server.cli("PUBLISH t x");
    assert_eq!(within("an event", events.next()).await, event("data: x\n\n"));
}

/// The connection's place in `CLIENT LIST`.
fn pubsub_id(server: &Server) -> String {
    let list = server.cli("CLIENT LIST TYPE pubsub").text();
    list.split_whitespace().next().unwrap_or_default().to_owned()
}

trait Texts {
    fn list_text(&self) -> Vec<String>;
}

impl Texts for crate::server::Answer {
    fn list_text(&self) -> Vec<String> {
        match self {
            Self::List(items) => items
                .iter()
                .map(|item| match item {
                    Self::Integer(number) => number.to_string(),
                    other => other.text(),
                })
                .collect(),
            other => panic!("a list was expected, not {other:?}"),
        }
    }
}
