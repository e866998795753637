//! Failures: another attempt later, dead, and jobs that are none.

use std::time::Duration;

use serde_json::{Value, json};
use tempest_worker::{Context, Failed};

use crate::{
    cluster::{Cluster, Running, arguments, background, new_id, no_args},
    server::eventually,
};

type Any = Result<Value, Failed>;

async fn fail((): (), context: Context) -> Any {
    Err(Failed::new("broken", format!("attempt {}", context.attempt())))
}

/// Trap 20: its own map with the attempt raised, due within the back-off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_background_job_is_tried_again_later() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().on_job("fail", fail));
    let before_ms = cluster.broker.now_ms();
    cluster.server.run(&["RPUSH", "tempest:{q}", r#"{"action":"fail","own":[ 1.0 ],"args":null}"#]);
    eventually("it is put off", || cluster.server.cli("ZCARD tempest:{q}:later").integer() == 1);
    let member = cluster.server.cli("ZRANGE tempest:{q}:later 0 -1").list();
    assert_eq!(
        String::from_utf8_lossy(&member[0]),
        r#"{"attempt":2,"action":"fail","own":[ 1.0 ],"args":null}"#
    );
    let score = cluster.server.run(&[b"ZSCORE", &b"tempest:{q}:later"[..], &member[0]]).text();
    let due_ms: u64 = score.parse().expect("milliseconds");
    // The worker reads the clock of Redis over a connection of its own, as exactly as that is quick.
    assert!((before_ms - 1_000..=cluster.broker.now_ms() + 1_000).contains(&due_ms), "{due_ms}");
    cluster.settled();
    assert_eq!(worker.stop().await.failed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_last_attempt_goes_to_dead() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().on_job("fail", fail));
    let mut envelope = background("fail");
    (envelope.id, envelope.attempt) = (Some(new_id()), 3);
    cluster.push(&envelope, &no_args()).await;
    eventually("it is dead", || cluster.server.cli("ZCARD tempest:{q}:dead").integer() == 1);
    let dead = &cluster.set("tempest:{q}:dead")[0];
    assert_eq!(dead["error"], json!({"code": "broken", "message": "attempt 3"}));
    assert_eq!((&dead["attempt"], &dead["id"]), (&json!(3), &json!(envelope.id.map(|id| id.to_string()))));
    assert!(dead["died_at"].as_u64().is_some_and(|at| at.abs_diff(cluster.broker.now_ms()) < 10_000));
    assert_eq!(cluster.server.cli("ZCARD tempest:{q}:later").integer(), 0);
    worker.stop().await;
}

/// Trap 19: bytes that are no job, and jobs nobody has a handler for, leave the queue at once and stop nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_job_goes_to_dead_and_the_worker_goes_on() {
    let cluster = Cluster::start().await;
    let echo = |args: Value, _: Context| async move { Any::Ok(args) };
    let worker = Running::start(cluster.worker().on_job("echo", echo));
    let junk: [&[u8]; 6] = [b"hello", b"{", b"\xff\x00", b"", br#"{"args":1}"#, br#"{"action":"unknown"}"#];
    for junk in junk {
        cluster.server.run(&[b"RPUSH", &b"tempest:{q}"[..], junk]);
    }
    cluster.settled();
    let mut codes: Vec<String> = Vec::new();
    for dead in cluster.set("tempest:{q}:dead") {
        codes.push(dead["error"]["code"].as_str().expect("a code").to_owned());
        assert_eq!(
            dead.get("raw_base64").is_some(),
            codes.last().is_some_and(|code| code == "bad_job"),
            "{dead}"
        );
    }
    codes.sort();
    assert_eq!(codes, ["bad_job", "bad_job", "bad_job", "bad_job", "bad_job", "no_handler"]);
    let raw = cluster.set("tempest:{q}:dead").into_iter().find(|dead| dead["raw_base64"] == "/wA=");
    assert!(raw.is_some(), "the bytes are kept");
    assert_eq!(crate::cluster::result(&cluster.call("echo", json!("alive")).await), "alive");
    assert_eq!(worker.stop().await.failed, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_cannot_be_read_are_not_tried_again() {
    let cluster = Cluster::start().await;
    let double = |number: u64, _: Context| async move { Ok::<_, Failed>(number * 2) };
    let worker = Running::start(cluster.worker().on_job("double", double));
    cluster.push(&background("double"), &arguments(&json!("two"))).await;
    eventually("it is dead", || cluster.server.cli("ZCARD tempest:{q}:dead").integer() == 1);
    assert_eq!(cluster.set("tempest:{q}:dead")[0]["error"]["code"], "bad_job");
    worker.stop().await;
}

/// Traps 15 and 16: while the memory is full replies are refused and acks are not. The reply is kept and comes as
/// soon as there is room; the worker lives on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_reply_is_kept_and_delivered_later() {
    let cluster = Cluster::start().await;
    let port = cluster.server.port();
    let fill = move |(): (), _: Context| async move {
        let mut admin = crate::server::Client::connect(port).expect("connected");
        admin.run(&["CONFIG", "SET", "maxmemory", "1"]);
        Any::Ok(json!("kept"))
    };
    let worker = Running::start(cluster.worker().on_job("fill", fill));
    let waiter = cluster.push(&cluster.envelope("fill"), &no_args()).await;
    cluster.settled();
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.server.cli("CONFIG SET maxmemory 0");
    let content = crate::cluster::reply(waiter).await.content;
    assert_eq!(crate::cluster::result(&content), "kept");
    assert_eq!(worker.stop().await.done, 1);
}

/// A restart of Redis without its last moments: the move is undone, the job is there again, and its worker knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_redis_forgot_is_made_again() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().on_job("fail", fail));
    for (attempt, place) in [(1, "tempest:{q}:later"), (2, "tempest:{q}:dead")] {
        let frame = format!(r#"{{"id":"b{attempt}","action":"fail","attempt":{attempt},"attempts":2}}"#);
        for _ in 0..2 {
            cluster.server.run(&["RPUSH", "tempest:{q}", &frame]);
            eventually("it is moved", || cluster.server.run(&["ZCARD", place]).integer() == 1);
            cluster.settled();
            cluster.server.run(&["DEL", place]);
        }
    }
    let report = worker.stop().await;
    assert_eq!((report.failed, report.repeated), (4, 0));
}
