//! A queue with workers that hold jobs, made by hand as any client would.

use std::time::Duration;

use tempest_broker::{Broker, KeeperOptions, Patience, Settings};
use tempest_protocol::Queue;

use crate::server::{Answer, Server};

/// Short enough for a test, long enough that two looks are two.
pub(crate) const HASTY: Patience = Patience {
    settled: Duration::from_millis(200),
    apart: Duration::from_millis(300),
    gone: Duration::from_millis(500),
};

pub(crate) fn hasty_keeper() -> KeeperOptions {
    KeeperOptions {
        every: Duration::from_millis(50),
        patience: HASTY,
        mailbox_gone: Duration::from_millis(500),
        ..KeeperOptions::default()
    }
}

pub(crate) async fn broker(url: String) -> Broker {
    Broker::connect(Settings::new(url, "test")).await.expect("Redis is there")
}

pub(crate) fn queue() -> Queue {
    Queue::new("q").expect("a good name")
}

/// Registers a slot as a worker does, with a lease unless it is gone.
pub(crate) fn register(server: &Server, entry: &str, alive: bool) {
    server.cli("SADD tempest:queues q");
    server.run(&["SADD", "tempest:{q}:workers", entry]);
    if alive {
        let (worker, _) = entry.rsplit_once('.').expect("worker.slot");
        server.run(&["SET", &format!("tempest:{{q}}:lease:{worker}"), "{}", "PX", "60000"]);
    }
}

/// Puts a job into the run list of a slot.
pub(crate) fn hold(server: &Server, entry: &str, frame: &[u8]) {
    server.run(&[b"RPUSH", format!("tempest:{{q}}:run:{entry}").as_bytes(), frame]);
}

pub(crate) fn held(server: &Server, entry: &str) -> i64 {
    server.run(&["LLEN", &format!("tempest:{{q}}:run:{entry}")]).integer()
}

pub(crate) fn list(server: &Server, key: &str) -> Vec<String> {
    let items = server.run(&["LRANGE", key, "0", "-1"]).list();
    items.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect()
}

/// The members of a sorted set as JSON, by score.
pub(crate) fn dead(server: &Server) -> Vec<serde_json::Value> {
    match server.run(&["ZRANGE", "tempest:{q}:dead", "0", "-1"]) {
        Answer::List(items) => {
            items.iter().map(|item| serde_json::from_slice(&item.bytes()).expect("JSON")).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// The only reply in a mailbox, as JSON.
pub(crate) fn reply(server: &Server, mailbox: &str) -> serde_json::Value {
    let replies = list(server, mailbox);
    assert_eq!(replies.len(), 1, "{replies:?}");
    serde_json::from_str(&replies[0]).expect("JSON")
}
