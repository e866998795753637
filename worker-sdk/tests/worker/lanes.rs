//! Lanes: high before normal before low, nothing starves, nobody hoards.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use tempest_protocol::Lane;
use tempest_worker::{Context, Failed, Worker};

use crate::cluster::{Cluster, Running, background, in_lane, numbered, reply, result};

/// Writes down in which order jobs were run.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<u64>>>);

impl Order {
    fn on(&self, worker: Worker) -> Worker {
        let order = self.clone();
        worker.on_job("note", move |number: u64, _: Context| {
            order.0.lock().expect("no panic").push(number);
            async { Ok::<_, Failed>(()) }
        })
    }

    fn seen(&self) -> Vec<u64> {
        self.0.lock().expect("no panic").clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn high_comes_before_normal_before_low() {
    let cluster = Cluster::start().await;
    for (number, lane) in
        [(5, Lane::Low), (3, Lane::Normal), (1, Lane::High), (4, Lane::Normal), (2, Lane::High)]
    {
        cluster.push(&in_lane(background("note"), lane), &numbered(number)).await;
    }
    let order = Order::default();
    let worker = Running::start(order.on(cluster.worker()).lanes(Lane::ALL));
    cluster.settled();
    assert_eq!(order.seen(), [1, 2, 3, 4, 5]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_never_starves() {
    let cluster = Cluster::start().await;
    for number in 0..40 {
        cluster.push(&in_lane(background("note"), Lane::High), &numbered(number)).await;
    }
    cluster.push(&in_lane(background("note"), Lane::Low), &numbered(99)).await;
    let order = Order::default();
    let worker = Running::start(order.on(cluster.worker()).lanes(Lane::ALL));
    cluster.settled();
    let place = order.seen().iter().position(|number| *number == 99);
    assert!(place.is_some_and(|place| place < 20), "{place:?}");
    worker.stop().await;
}

/// Trap 38: a busy worker leaves no claim behind that would take an urgent job from an idle one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_worker_does_not_take_urgent_jobs_from_an_idle_one() {
    let cluster = Cluster::start().await;
    let wait = |ms: u64, _: Context| async move {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        Ok::<_, Failed>(ms)
    };
    let worker = || cluster.worker().lanes(Lane::ALL).on_job("wait", wait);
    let busy = Running::start(worker());
    cluster.idle(3);
    let slow = cluster.push(&in_lane(cluster.envelope("wait"), Lane::Low), &numbered(1_500)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let idle = Running::start(worker());
    cluster.idle(3);
    for _ in 0..5 {
        let began = Instant::now();
        let urgent = cluster.push(&in_lane(cluster.envelope("wait"), Lane::High), &numbered(0)).await;
        assert_eq!(result(&reply(urgent).await.content), json!(0));
        assert!(began.elapsed() < Duration::from_millis(250), "{:?}", began.elapsed());
    }
    assert_eq!(result(&reply(slow).await.content), json!(1_500));
    let report = busy.stop().await;
    assert_eq!((report.done, report.given_back), (1, 0), "nothing urgent came to it at all");
    assert_eq!(idle.stop().await.done, 5);
}

/// Both urgent jobs come at once to a worker with one slot and a claim on each lane: one runs, the other goes back to
/// its lane unchanged and is the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_without_a_slot_goes_back_to_its_lane() {
    let cluster = Cluster::start().await;
    let order = Order::default();
    let worker = Running::start(order.on(cluster.worker()).lanes(Lane::ALL));
    let mut client = cluster.server.client();
    for round in 0..20u64 {
        cluster.idle(3);
        let (high, low) = (in_lane(background("note"), Lane::High), in_lane(background("note"), Lane::Low));
        let (high, low) = (high.encode(&numbered(round * 2)), low.encode(&numbered(round * 2 + 1)));
        client.send(&["MULTI"]).expect("sent");
        client.send(&[b"RPUSH", &b"tempest:{q}:high"[..], &high]).expect("sent");
        client.send(&[b"RPUSH", &b"tempest:{q}:low"[..], &low]).expect("sent");
        client.send(&["EXEC"]).expect("sent");
        for _ in 0..4 {
            client.receive().expect("answered");
        }
        cluster.settled();
    }
    let mut seen = order.seen();
    seen.sort_unstable();
    assert_eq!(seen, (0..40).collect::<Vec<_>>(), "each ran exactly once");
    let report = worker.stop().await;
    assert_eq!(report.done, 40);
}

/// Trap 39: a burst is shared, not taken by whoever looks first. Looks double from 1 to 16; one that took all it has
/// slots for would leave one worker with 94 of 96 every time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_shared_among_workers() {
    let mut largest = Vec::new();
    for _ in 0..5 {
        let shares = shares_of_a_burst().await;
        assert_eq!(shares.iter().sum::<u64>(), 96);
        largest.extend(shares.into_iter().max());
    }
    assert!(largest.iter().any(|share| *share <= 64), "{largest:?}");
}

async fn shares_of_a_burst() -> Vec<u64> {
    let cluster = Cluster::start().await;
    let slow = |_: u64, _: Context| async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok::<_, Failed>(())
    };
    let worker = || Running::start(cluster.worker().concurrency(96).on_job("slow", slow));
    let workers = [worker(), worker(), worker()];
    cluster.idle(3);
    let mut burst = vec![b"RPUSH".to_vec(), b"tempest:{q}".to_vec()];
    burst.extend((0..96).map(|number| background("slow").encode(&numbered(number)).to_vec()));
    cluster.server.run(&burst);
    cluster.settled();
    let mut shares = Vec::new();
    for worker in workers {
        shares.push(worker.stop().await.done);
    }
    shares
}
