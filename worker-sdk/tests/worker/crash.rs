//! Lost answers, restarts, and a worker that others took for dead.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempest_protocol::limits;
use tempest_worker::{Context, Failed, Worker};

use crate::{
    cluster::{Cluster, Running, background, numbered, reply, result},
    proxy::{Act, Fault, Proxy, Way},
    server::eventually,
};

type Any = Result<Value, Failed>;

fn counting(worker: Worker) -> (Worker, Arc<AtomicUsize>) {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let count = move |args: Value, _: Context| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { Any::Ok(args) }
    };
    (worker.on_job("count", count), ran)
}

/// Trap 1: the answer to a claim is lost. The job is found in the run list and run, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_is_lost_is_run_all_the_same() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(cluster.server.port()).await;
    let (worker, ran) = counting(cluster.worker().connect(proxy.url()));
    let worker = Running::start(worker);
    for number in 1..=3 {
        proxy.prepare(Fault::lose_answer("BLMOVE"));
        let waiter = cluster.push(&cluster.envelope("count"), &numbered(number)).await;
        assert_eq!(result(&reply(waiter).await.content), json!(number));
    }
    proxy.happened(1).await;
    worker.stop().await;
    assert_eq!(ran.load(Ordering::SeqCst), 3);
    assert!(cluster.held().is_empty());
}

/// Trap 3: a claim that reached Redis late lies beside the one that runs; both are run, each is acked by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_the_own_run_list_is_the_next_job() {
    let cluster = Cluster::start().await;
    let (worker, ran) = counting(cluster.worker());
    let worker = Running::start(worker);
    cluster.idle(1);
    let entry = cluster.server.run(&["SMEMBERS", "tempest:{q}:workers"]).list().remove(0);
    let run = format!("tempest:{{q}}:run:{}", String::from_utf8(entry).expect("text"));
    let frame = background("count").encode(&numbered(1));
    cluster.server.run(&[b"RPUSH", run.as_bytes(), &frame, &frame]);
    let waiter = cluster.push(&cluster.envelope("count"), &numbered(2)).await;
    assert_eq!(result(&reply(waiter).await.content), json!(2));
    eventually("all are acked", || cluster.held().is_empty());
    assert_eq!(ran.load(Ordering::SeqCst), 3);
    assert_eq!(worker.stop().await.done, 3);
}

/// The answer to reply and ack is lost: both are done again; a duplicate, never a loss.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_whose_answer_is_lost_is_done_again() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(cluster.server.port()).await;
    let (worker, ran) = counting(cluster.worker().connect(proxy.url()));
    let worker = Running::start(worker);
    for after in ["LREM", "RPUSH"] {
        proxy.prepare(Fault::lose_answer(after));
        let waiter = cluster.push(&cluster.envelope("count"), &numbered(1)).await;
        assert_eq!(result(&reply(waiter).await.content), json!(1));
        cluster.settled();
    }
    proxy.prepare(Fault::cut_request("RPUSH", 10));
    let waiter = cluster.push(&cluster.envelope("count"), &numbered(2)).await;
    assert_eq!(result(&reply(waiter).await.content), json!(2));
    cluster.settled();
    proxy.happened(3).await;
    assert_eq!(ran.load(Ordering::SeqCst), 3);
    worker.stop().await;
}

/// Under load an ack takes the next job along. When that answer is lost, both jobs are still run and answered once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_came_with_a_lost_ack_is_run_once() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(cluster.server.port()).await;
    let mut waiters = Vec::new();
    for number in 0..60 {
        waiters.push(cluster.push(&cluster.envelope("count"), &numbered(number)).await);
    }
    for bytes in [0, 4, 8] {
        proxy.prepare(Fault { way: Way::Answer, after: b"LREM".to_vec(), bytes, act: Act::Cut });
    }
    let (worker, ran) = counting(cluster.worker().connect(proxy.url()));
    let worker = Running::start(worker);
    for (number, waiter) in (0..).zip(waiters) {
        assert_eq!(result(&reply(waiter).await.content), json!(number));
    }
    proxy.happened(3).await;
    cluster.settled();
    assert_eq!(ran.load(Ordering::SeqCst), 60);
    assert_eq!(worker.stop().await.done, 60);
}

/// Trap 11: stopped while a claim blocked, longer than a lease; meanwhile the job was recovered. It must not be run
/// from what the socket still holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_was_taken_for_dead_starts_only_what_is_still_its_own() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(cluster.server.port()).await;
    let (worker, ran) = counting(cluster.worker().connect(proxy.url()));
    let worker = Running::start(worker);
    cluster.idle(1);
    proxy.stall(true);
    let (taken, kept) = (background("count").encode(&numbered(1)), background("count").encode(&numbered(2)));
    cluster.server.run(&[b"RPUSH", &b"tempest:{q}"[..], &taken]);
    eventually("the claim took it", || cluster.held().len() == 1);
    tokio::time::sleep(limits::LEASE + Duration::from_millis(300)).await;
    let key =
        String::from_utf8(cluster.server.run(&["KEYS", "tempest:{q}:run:*"]).list().remove(0)).expect("text");
    assert_eq!(cluster.server.run(&[b"LREM", key.as_bytes(), b"1", &taken]).integer(), 1);
    cluster.server.run(&[b"RPUSH", key.as_bytes(), &kept]);
    proxy.stall(false);
    eventually("what was its own is run", || ran.load(Ordering::SeqCst) == 1 && cluster.held().is_empty());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ran.load(Ordering::SeqCst), 1, "what was taken away is not run");
    assert_eq!(worker.stop().await.done, 1);
}

/// Trap 30, and the promise of two seconds: Redis is killed and comes back with its data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_serves_again_within_two_seconds_of_redis_coming_back() {
    let mut cluster = Cluster::with(crate::server::Server::start_durable()).await;
    let (worker, _) = counting(cluster.worker().concurrency(2));
    let worker = Running::start(worker);
    cluster.idle(1);
    cluster.server.kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    cluster.server.restart();
    let back = Instant::now();
    cluster.broker.up().await;
    let content = cluster.call("count", json!(7)).await;
    assert_eq!(result(&content), json!(7));
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    worker.stop().await;
}

/// Finding 0 in small: many cuts, every job is done at least once, nothing is left in a run list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_job_is_lost_under_many_cuts() {
    const JOBS: u64 = 2_000;
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(cluster.server.port()).await;
    let note = |number: u64, context: Context| async move {
        context.publish("ignored", number.to_string()).await.ok();
        Ok::<_, Failed>(number)
    };
    let worker =
        |slots| Running::start(cluster.worker().connect(proxy.url()).concurrency(slots).on_job("note", note));
    let workers = [worker(1), worker(8)];
    cluster.idle(2);
    proxy.chaos(60);
    let mut waiters = Vec::new();
    for number in 0..JOBS {
        waiters.push(cluster.push(&cluster.envelope("note"), &numbered(number)).await);
    }
    for (number, waiter) in (0..).zip(waiters) {
        assert_eq!(result(&reply(waiter).await.content), json!(number));
    }
    proxy.chaos(0);
    cluster.settled();
    for worker in workers {
        worker.stop().await;
    }
    assert!(cluster.held().is_empty());
}

/// A connection that falls silent without closing: nothing hangs for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_connection_is_noticed() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::start(cluster.server.port()).await;
    let (worker, _) = counting(cluster.worker().connect(proxy.url()));
    let worker = Running::start(worker);
    cluster.idle(1);
    let (after, act) = (b"BLMOVE".to_vec(), Act::Stall);
    proxy.prepare(Fault { way: Way::Answer, after, bytes: 0, act });
    tokio::time::sleep(limits::BLOCK).await;
    let waiter = cluster.push(&cluster.envelope("count"), &numbered(3)).await;
    assert_eq!(result(&reply(waiter).await.content), json!(3));
    worker.stop().await;
}
