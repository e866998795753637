//! The end of a worker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempest_protocol::Lane;
use tempest_worker::{Context, Failed};
use tokio::sync::Notify;

use crate::{
    cluster::{Cluster, Running, background, error, in_lane, no_args, numbered, queue, reply, result},
    server::eventually,
};

type Any = Result<Value, Failed>;

fn gone(cluster: &Cluster) -> bool {
    let leases = cluster.server.run(&["KEYS", "tempest:{q}:lease:*"]).list();
    leases.is_empty() && cluster.server.cli("SCARD tempest:{q}:workers").integer() == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_leaves_at_once_and_without_a_trace() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().lanes(Lane::ALL).concurrency(4));
    cluster.idle(3);
    assert_eq!(cluster.server.cli("SCARD tempest:{q}:workers").integer(), 7);
    let began = Instant::now();
    let report = worker.stop().await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(gone(&cluster));
    assert!(report.to_string().starts_with("ended after "), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_finished_and_what_waits_is_left() {
    let cluster = Cluster::start().await;
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, gone_on) = (began.clone(), go.clone());
    let wait = move |number: u64, _: Context| {
        let (began, go) = (begun.clone(), gone_on.clone());
        async move {
            began.notify_one();
            go.notified().await;
            Ok::<_, Failed>(number)
        }
    };
    let worker = Running::start(cluster.worker().on_job("wait", wait));
    let waiter = cluster.push(&cluster.envelope("wait"), &numbered(1)).await;
    began.notified().await;
    cluster.push(&background("wait"), &numbered(2)).await;
    worker.tell();
    eventually("it says that it drains", || {
        let leases = cluster.server.run(&["KEYS", "tempest:{q}:lease:*"]).list();
        leases.iter().any(|lease| cluster.server.run(&[b"GET", &lease[..]]).text().contains("draining"))
    });
    go.notify_one();
    assert_eq!(result(&reply(waiter).await.content), json!(1));
    let report = worker.ended().await;
    assert_eq!((report.done, report.given_back, report.left_behind), (1, 0, 0));
    assert_eq!(cluster.list("tempest:{q}").len(), 1);
    assert!(gone(&cluster) && cluster.held().is_empty());
}

/// Trap 28: jobs that come while the worker ends go back unchanged; none is lost, none is started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_during_the_drain_is_given_back() {
    let cluster = Cluster::start().await;
    let echo = |args: Value, _: Context| async move { Any::Ok(args) };
    let mut client = cluster.server.client();
    let mut done = 0;
    for round in 0..10u64 {
        let worker = Running::start(cluster.worker().lanes(Lane::ALL).on_job("echo", echo));
        cluster.idle(3);
        let frame = in_lane(background("echo"), Lane::High).encode(&numbered(round));
        worker.tell();
        client.run(&[b"RPUSH", &b"tempest:{q}:high"[..], &frame]);
        done += worker.ended().await.done;
        assert!(gone(&cluster) && cluster.held().is_empty());
        let left = cluster.list("tempest:{q}:high");
        assert_eq!(u64::try_from(left.len()).expect("few") + done, round + 1);
        assert!(left.iter().all(|frame| !frame.contains("attempt")), "not an attempt: {left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_finish_in_time_gets_its_next_attempt_or_an_error() {
    let cluster = Cluster::start().await;
    let hang = |(): (), _: Context| std::future::pending::<Any>();
    let worker = cluster.worker().grace(Duration::from_millis(100)).concurrency(3).on_job("hang", hang);
    let worker = Running::start(worker);
    let once = cluster.push(&cluster.envelope("hang"), &no_args()).await;
    let mut safe = cluster.envelope("hang");
    safe.attempts = Some(2);
    let _twice = cluster.push(&safe, &no_args()).await;
    let mut last = background("hang");
    last.attempt = 3;
    cluster.push(&last, &no_args()).await;
    eventually("all run", || cluster.held().len() == 3);
    let report = worker.stop().await;
    assert_eq!((report.cut_short, report.done), (3, 0));
    assert_eq!(error(&reply(once).await.content).0, "worker_lost");
    let waiting = cluster.list("tempest:{q}");
    assert_eq!(waiting.len(), 1);
    let waiting: Value = serde_json::from_str(&waiting[0]).expect("JSON");
    assert_eq!((&waiting["attempt"], &waiting["attempts"]), (&json!(2), &json!(2)));
    assert_eq!(cluster.set("tempest:{q}:dead")[0]["error"]["code"], "worker_lost");
    assert!(gone(&cluster) && cluster.held().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_channel_can_drain_one_worker_or_all() {
    let cluster = Cluster::start().await;
    let (first, second) = (Running::start(cluster.worker()), Running::start(cluster.worker()));
    cluster.idle(2);
    cluster.broker.control(&queue(), "drain somebody-else").await.expect("said");
    let entries = cluster.server.run(&["SMEMBERS", "tempest:{q}:workers"]).list();
    assert_eq!(entries.len(), 2);
    let entry = String::from_utf8(entries[0].clone()).expect("text");
    let worker = entry.rsplit_once('.').expect("a slot").0;
    cluster.broker.control(&queue(), &format!("drain {worker}")).await.expect("said");
    eventually("one is gone", || cluster.server.cli("SCARD tempest:{q}:workers").integer() == 1);
    cluster.broker.control(&queue(), "drain").await.expect("said");
    first.ended().await;
    second.ended().await;
    assert!(gone(&cluster));
}

/// Trap 28 without the right to wake: the worker waits out the block and gives back what came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_wake_the_block_is_waited_out() {
    let cluster = Cluster::start().await;
    cluster.server.run(&["ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all", "-client|unblock"]);
    let url = format!("redis://w:pw@127.0.0.1:{}", cluster.server.port());
    let worker = Running::start(cluster.worker().connect(url));
    cluster.idle(1);
    let began = Instant::now();
    worker.stop().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(gone(&cluster));
}

/// A Redis that is gone does not keep a worker from ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_ends_also_without_redis() {
    let mut cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().grace(Duration::from_millis(100)));
    cluster.idle(1);
    cluster.server.kill();
    let began = Instant::now();
    worker.stop().await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
