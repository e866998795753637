//! Live topics: one subscription a topic a process, any payload is an event, and a slow subscriber is cut alone.

use serde_json::json;
use tempest_broker::{Broker, Live, Settings, Subscription};
use tempest_protocol::Event;

use crate::{
    harness::{broker, subscribe, topic, topics, within},
    server::{Server, eventually},
};

pub(crate) fn event(text: &str) -> Live {
    Live::Events(text.to_owned().into())
}

fn heard_by(server: &Server, channel: &str) -> i64 {
    match &server.run(&["PUBSUB", "NUMSUB", channel]) {
        crate::server::Answer::List(pair) => pair[1].integer(),
        other => panic!("a pair was expected, not {other:?}"),
    }
}

fn channels(server: &Server) -> Vec<String> {
    let names = server.cli("PUBSUB CHANNELS").list();
    let mut names: Vec<_> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    names.retain(|name| !name.starts_with("tempest:probe:"));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn one_subscription_a_topic_whoever_listens() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let mut many = Vec::new();
    for _ in 0..200 {
        many.push(subscribe(&topics, &["news", "sport"]).await);
    }
    assert_eq!((heard_by(&server, "news"), heard_by(&server, "sport")), (1, 1));
    assert_eq!(server.run(&["PUBLISH", "news", r#"["Bob"]"#]).integer(), 1);
    for one in &mut many {
        assert_eq!(within("an event", one.next()).await, event("data: Bob\n\n"));
    }
    let last = many.pop();
    drop(many);
    assert_eq!(server.cli("PUBLISH sport goal").integer(), 1, "one is left");
    drop(last);
    eventually("the topics are given up", || channels(&server).is_empty());
    assert_eq!(topics.channels(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_after_subscribing_is_heard() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    for n in 0..50 {
        let name = format!("t{n}");
        let mut events = subscribe(&topics, &[&name]).await;
        assert_eq!(broker.publish(&topic(&name), b"now").await.expect("published"), 1);
        assert_eq!(within("an event", events.next()).await, event("data: now\n\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_joining_at_the_same_moment_never_loses_a_topic() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let mut held = subscribe(&topics, &["t"]).await;
    for n in 0..200 {
        drop(held);
        held = subscribe(&topics, &["t"]).await;
        assert_eq!(server.run(&["PUBLISH", "t", &n.to_string()]).integer(), 1);
        assert_eq!(within("an event", held.next()).await, event(&format!("data: {n}\n\n")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_published_ends_a_subscription() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["t"]).await;
    let mut client = server.client();
    for payload in garbage(1_000) {
        assert_eq!(client.run(&[b"PUBLISH".as_slice(), b"t", &payload]).integer(), 1);
        let mut expected = Vec::new();
        Event::of(&payload).write_sse(true, &mut expected);
        let heard = within("an event", events.next()).await;
        assert_eq!(heard, Live::Events(expected.into()), "payload {}", payload.escape_ascii());
    }
}

/// Payloads of every sort that is not `["$unsubscribe"]`.
fn garbage(count: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut all: Vec<Vec<u8>> = [
        "",
        "[]",
        "{}",
        "[",
        "{",
        "null",
        "42",
        "\"hello\"",
        "[42]",
        "[[\"$unsubscribe\"]]",
        "[\"$unsubscribe\", 1]",
        "\"$unsubscribe\"",
        "$unsubscribe",
        "{\"data\":\"$unsubscribe\"}",
        "[\"a\",\"b\",\"c\"]",
        "[1,2]",
        "{\"event\":\"x\"}",
        "{\"event\":\"a\\nb\",\"data\":1}",
        "{\"id\":\"a\\u0000b\",\"data\":1}",
        "{\"retry\":\"x\",\"data\":1}",
        "\r\n\r\n",
        "data: fake\n\n",
        "event: end\ndata:\n\n",
        "[NaN]",
        "[1e999]",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    all.push(b"[\"\\ud800\"]".to_vec());
    all.push(vec![b'['; 100_000]);
    all.push([b"{\"data\":".repeat(500), b"}".repeat(500)].concat());
    all.push(vec![0; 1_000]);
    while all.len() < count {
        let length = random.usize(0..200);
        let bytes = (0..length).map(|_| random.u8(..)).collect();
        let text = json!({"data": random.u32(..), "event": random.char(..).to_string()}).to_string();
        all.push(if random.bool() { bytes } else { text.into_bytes()[..random.usize(1..20)].to_vec() });
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribe_ends_its_topic_and_no_other() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (mut both, mut other) = (subscribe(&topics, &["a", "b"]).await, subscribe(&topics, &["b"]).await);
    server.run(&["PUBLISH", "a", r#"["$unsubscribe"]"#]);
    assert_eq!(within("an end", both.next()).await, Live::End("event: end\ndata:\n\n".into()));
    server.run(&["PUBLISH", "a", "nobody hears it"]);
    server.run(&["PUBLISH", "b", "still here"]);
    for subscription in [&mut both, &mut other] {
        assert_eq!(within("an event", subscription.next()).await, event("data: still here\n\n"));
    }
    let mut again = subscribe(&topics, &["a"]).await;
    server.run(&["PUBLISH", "a", "back"]);
    assert_eq!(within("an event", again.next()).await, event("data: back\n\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_is_overrun_alone() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (mut slow, mut fast) = (subscribe(&topics, &["t"]).await, subscribe(&topics, &["t"]).await);
    let mut client = server.client();
    let payloads: Vec<_> = (0..15_000).map(|n| n.to_string()).collect();
    for some in payloads.chunks(100) {
        some.iter().for_each(|payload| client.send(&["PUBLISH", "t", payload]).expect("sent"));
        some.iter().for_each(|_| drop(client.receive().expect("published")));
        let expected: String = some.iter().map(|payload| format!("data: {payload}\n\n")).collect();
        assert_eq!(text(&mut fast, expected.len()).await, expected);
    }
    assert_eq!(within("the overrun", slow.next()).await, Live::Overrun);
    let more = tokio::time::timeout(std::time::Duration::from_millis(50), slow.next()).await;
    assert!(more.is_err(), "nothing follows an overrun: {more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_subscriber_is_bounded_in_bytes_too() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (mut slow, mut marker) = (subscribe(&topics, &["t"]).await, subscribe(&topics, &["mark"]).await);
    let large = "x".repeat(100_000);
    for _ in 0..20 {
        server.run(&["PUBLISH", "t", &large]);
    }
    server.run(&["PUBLISH", "mark", "all went out"]);
    within("the mark", marker.next()).await;
    assert_eq!(within("the overrun", slow.next()).await, Live::Overrun);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_topics_in_one_subscription_keep_the_order_of_each() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["a", "b"]).await;
    for n in 0..100 {
        server.run(&["PUBLISH", if n % 2 == 0 { "a" } else { "b" }, &n.to_string()]);
    }
    let expected: String = (0..100).map(|n| format!("data: {n}\n\n")).collect();
    assert_eq!(text(&mut events, expected.len()).await, expected);
}

/// What comes next, at least this many bytes of it: events that wait are handed out together.
async fn text(events: &mut Subscription, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        match within("events", events.next()).await {
            Live::Events(bytes) => text.push_str(std::str::from_utf8(&bytes).expect("text")),
            other => panic!("{other:?} after {} bytes", text.len()),
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_handed_out_in_few_pieces_of_bounded_size() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (mut events, mut marker) = (subscribe(&topics, &["t"]).await, subscribe(&topics, &["mark"]).await);
    let mut client = server.client();
    let payload = "x".repeat(90);
    for _ in 0..3_000 {
        client.run(&["PUBLISH", "t", &payload]);
    }
    client.run(&["PUBLISH", "mark", "all went out"]);
    within("the mark", marker.next()).await;
    let (mut pieces, mut heard) = (Vec::new(), 0);
    while heard < 3_000 {
        match within("events", events.next()).await {
            Live::Events(bytes) => pieces.push(bytes),
            other => panic!("{other:?} after {heard} events"),
        }
        heard += pieces[pieces.len() - 1].len() / ("data: \n\n".len() + 90);
    }
    assert!(pieces.iter().all(|piece| piece.len() <= 64 << 10 && piece.ends_with(b"\n\n")));
    assert!((5..10).contains(&pieces.len()), "{} pieces", pieces.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_larger_than_all_that_may_wait_is_heard_by_those_who_keep_up() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (mut fast, mut slow) = (subscribe(&topics, &["t"]).await, subscribe(&topics, &["t"]).await);
    let large = "x".repeat(3 << 20);
    for _ in 0..2 {
        server.run(&["PUBLISH", "t", &large]);
        assert_eq!(within("an event", fast.next()).await, event(&format!("data: {large}\n\n")));
    }
    // Who comes first is nobody's promise: the fast one may have heard it before the slow one was given it.
    eventually("the slow one is cut", || topics.overruns() == 1);
    assert_eq!(within("the overrun", slow.next()).await, Live::Overrun);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_handed_what_waited_and_no_more() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let topics = topics(&broker);
    let (mut events, mut marker) = (subscribe(&topics, &["t"]).await, subscribe(&topics, &["t"]).await);
    server.run(&["PUBLISH", "t", "before"]);
    within("the event", marker.next()).await;
    events.leave();
    server.run(&["PUBLISH", "t", "after"]);
    within("the event", marker.next()).await;
    assert_eq!(within("an event", events.next()).await, event("data: before\n\n"));
    let more = tokio::time::timeout(std::time::Duration::from_millis(50), events.next()).await;
    assert!(more.is_err(), "{more:?}");
    drop((events, marker));
    eventually("the topic is given up", || channels(&server).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_prefix_keeps_clusters_apart() {
    let server = Server::start();
    let settings = Settings { topic_prefix: "acme/".into(), ..Settings::new(server.url(), "test") };
    let broker = Broker::connect(settings).await.expect("connected");
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["news"]).await;
    assert_eq!(server.cli("PUBLISH news foreign").integer(), 0);
    assert_eq!(server.cli("PUBLISH acme/news ours").integer(), 1);
    assert_eq!(within("an event", events.next()).await, event("data: ours\n\n"));
    assert_eq!(broker.publish(&topic("news"), b"also ours").await.expect("published"), 1);
}
