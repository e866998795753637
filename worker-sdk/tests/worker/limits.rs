//! What limits a queue: pause, concurrency, rate, jobs that exclude each other.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempest_worker::{Client, Context, Failed, Push, Worker};

use crate::{
    cluster::{Cluster, Running},
    server::eventually,
};

/// How many handlers run at a time, by what their jobs say, and at most.
#[derive(Clone, Default)]
struct Crowd(Arc<Mutex<HashMap<String, (usize, usize)>>>);

impl Crowd {
    fn on(&self, worker: Worker) -> Worker {
        let crowd = self.clone();
        worker.on_job("work", move |who: String, _: Context| {
            let crowd = crowd.clone();
            async move {
                crowd.change(&who, |(now, most)| (now + 1, most.max(now + 1)));
                tokio::time::sleep(Duration::from_millis(10)).await;
                crowd.change(&who, |(now, most)| (now - 1, most));
                Ok::<_, Failed>(())
            }
        })
    }

    fn change(&self, who: &str, change: impl FnOnce((usize, usize)) -> (usize, usize)) {
        let mut crowd = self.0.lock().expect("no panic");
        let counts = crowd.entry(who.to_owned()).or_default();
        *counts = change(*counts);
    }

    fn most(&self, who: &str) -> usize {
        self.0.lock().expect("no panic").get(who).map_or(0, |(_, most)| *most)
    }
}

fn limit(cluster: &Cluster, field: &str, value: &str) {
    cluster.server.run(&["HSET", "tempest:{q}:limits", field, value]);
    cluster.server.run(&["PUBLISH", "tempest:{q}:control", "limits"]);
}

async fn push(cluster: &Cluster, jobs: impl IntoIterator<Item = Push>) {
    let client = Client::new(cluster.broker.clone());
    client.push_many(jobs.into_iter().collect()).await.expect("pushed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_jobs_of_a_queue_run_than_may() {
    let cluster = Cluster::start().await;
    limit(&cluster, "concurrency", "3");
    let crowd = Crowd::default();
    let workers: Vec<_> = (0..3).map(|_| Running::start(crowd.on(cluster.worker()).concurrency(4))).collect();
    push(&cluster, (0..60).map(|_| Push::new("q", "work", &"all"))).await;
    cluster.settled();
    let mut done = 0;
    for worker in workers {
        done += worker.stop().await.done;
    }
    assert_eq!(done, 60);
    assert_eq!(crowd.most("all"), 3);
}

/// A slot that ends its job is known to be free: nobody looks through all of them, also with the look of others pending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_ends_its_job_takes_the_next_one_without_a_sweep() {
    let cluster = Cluster::start().await;
    limit(&cluster, "concurrency", "2");
    cluster.server.cli("SET tempest:{q}:swept 1 PX 600000");
    let looks = || {
        let stats = cluster.server.cli("INFO commandstats").text();
        stats
            .lines()
            .filter(|line| line.starts_with("cmdstat_smembers:"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let crowd = Crowd::default();
    let workers: Vec<_> = (0..2).map(|_| Running::start(crowd.on(cluster.worker()).concurrency(4))).collect();
    let before = looks();
    push(&cluster, (0..60).map(|_| Push::new("q", "work", &"all"))).await;
    cluster.settled();
    assert_eq!(looks(), before);
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(crowd.most("all"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_queue_rests_until_it_is_resumed() {
    let cluster = Cluster::start().await;
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    let worker = Running::start(cluster.worker().on_job("count", move |(): (), _: Context| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Failed>(()) }
    }));
    push(&cluster, [Push::new("q", "count", &())]).await;
    cluster.settled();
    // The claim that blocks now heeds nothing; it is called back.
    cluster.idle(1);
    limit(&cluster, "paused", "1");
    eventually("the claim is called back", || {
        cluster.server.cli("CLIENT LIST").text().matches("flags=b").count() <= 1 // that of the inbox
    });
    push(&cluster, (0..5).map(|_| Push::new("q", "count", &()))).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // as long as nothing happens
    assert_eq!((done.load(Ordering::SeqCst), cluster.list("tempest:{q}").len()), (1, 5));
    cluster.server.run(&["HDEL", "tempest:{q}:limits", "paused"]);
    cluster.server.run(&["PUBLISH", "tempest:{q}:control", "limits"]);
    cluster.settled();
    assert_eq!(worker.stop().await.done, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_start_no_faster_than_their_rate() {
    let cluster = Cluster::start().await;
    limit(&cluster, "rate", "50");
    push(&cluster, (0..30).map(|_| Push::new("q", "work", &"all"))).await;
    let crowd = Crowd::default();
    let begun = std::time::Instant::now();
    let worker = Running::start(crowd.on(cluster.worker()).concurrency(30));
    cluster.settled();
    // 5 at once, the other 25 each 20 ms after the one before.
    assert!(begun.elapsed() >= Duration::from_millis(25 * 20), "{:?}", begun.elapsed());
    assert_eq!(worker.stop().await.done, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_key_run_one_after_the_other_and_hold_up_no_others() {
    let cluster = Cluster::start().await;
    let crowd = Crowd::default();
    let workers: Vec<_> = (0..2).map(|_| Running::start(crowd.on(cluster.worker()).concurrency(4))).collect();
    let keyed = |who: &'static str| move |_| Push::new("q", "work", &who).key(who);
    push(&cluster, (0..12).map(keyed("bob")).chain((0..12).map(keyed("ann")))).await;
    push(&cluster, (0..12).map(|_| Push::new("q", "work", &"free"))).await;
    let nothing_left = || {
        let keys = ["tempest:{q}:aside:bob", "tempest:{q}:aside:ann", "tempest:{q}", "tempest:{q}:asides"];
        keys.iter().all(|key| cluster.server.run(&["EXISTS", key]).integer() == 0)
    };
    eventually("all are under way", nothing_left);
    cluster.settled();
    let mut done = 0;
    for worker in workers {
        done += worker.stop().await.done;
    }
    assert_eq!(done, 36);
    assert_eq!((crowd.most("bob"), crowd.most("ann")), (1, 1));
    assert_eq!(cluster.server.run(&["SCARD", "tempest:{q}:key:bob"]).integer(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_died_with_a_key_does_not_hold_it() {
    let cluster = Cluster::start().await;
    cluster.server.run(&["SADD", "tempest:{q}:key:bob", "host-1-dead.0"]);
    let crowd = Crowd::default();
    let worker = Running::start(crowd.on(cluster.worker()));
    push(&cluster, [Push::new("q", "work", &"bob").key("bob")]).await;
    cluster.settled();
    assert_eq!(worker.stop().await.done, 1);
}

/// Found by review: the wait of a rate outlived the rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_that_is_lifted_holds_nobody_up() {
    let cluster = Cluster::start().await;
    limit(&cluster, "per", "86400000");
    limit(&cluster, "rate", "1");
    push(&cluster, (0..2).map(|_| Push::new("q", "work", &"all"))).await;
    let crowd = Crowd::default();
    let worker = Running::start(crowd.on(cluster.worker()));
    eventually("the first has begun", || crowd.most("all") == 1);
    cluster.server.run(&["DEL", "tempest:{q}:limits"]);
    cluster.settled();
    assert_eq!(worker.stop().await.done, 2);
}
