//! Trap 6: two recoverers and a waking worker want the same job; exactly one gets it.

use std::{sync::Arc, time::Duration};

use tempest_broker::Mode;
use tokio::sync::Barrier;

use crate::{
    proxy::Proxy,
    scene::{broker, hold, register},
    server::Server,
};

const ROUNDS: usize = 400;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_recoverers_and_a_waking_worker_one_gets_the_job() {
    let server = Server::start();
    let brokers = [broker(server.url()).await, broker(server.url()).await];
    register(&server, "h-1-abc.0", true);
    let (mut acked, mut requeued) = (0, 0);
    for round in 0..ROUNDS {
        let frame = format!(r#"{{"action":"a","args":{round}}}"#);
        hold(&server, "h-1-abc.0", frame.as_bytes());
        let start = Arc::new(Barrier::new(3));
        let recoveries = brokers.iter().map(|broker| {
            let (broker, start) = (broker.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                broker.recover_tag("abc", "killed", Mode::Requeue).await.unwrap().requeued
            })
        });
        let recoveries: Vec<_> = recoveries.collect();
        // The worker wakes a little later each round: before, between and after their steps.
        let mut worker = server.client();
        let delay = Duration::from_micros(u64::try_from(round % 40).unwrap() * 20);
        start.wait().await;
        tokio::time::sleep(delay).await;
        let ack = worker.run(&["LREM", "tempest:{q}:run:h-1-abc.0", "1", &frame]).integer();
        let mut returned = 0;
        for recovery in recoveries {
            returned += recovery.await.unwrap();
        }
        assert_eq!(
            ack + i64::try_from(returned).unwrap(),
            1,
            "round {round}: acked {ack}, requeued {returned}"
        );
        let waiting = server.cli("LLEN tempest:{q}").integer();
        assert_eq!(waiting, i64::try_from(returned).unwrap());
        server.cli("DEL tempest:{q}");
        (acked, requeued) = (acked + ack, requeued + returned);
    }
    println!("{ROUNDS} rounds: {acked} acked, {requeued} requeued");
    assert!(acked > 0 && requeued > 0, "both sides must win some rounds: {acked}, {requeued}");
}

/// The connection of a recoverer is cut at any byte of its script's answer: the job is neither lost nor doubled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recoverer_that_is_cut_loses_nothing() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(proxy.url()).await;
    register(&server, "h-1-abc.0", true);
    proxy.chaos(6);
    for round in 0..300 {
        hold(&server, "h-1-abc.0", format!(r#"{{"action":"a","args":{round}}}"#).as_bytes());
        while broker.recover_tag("abc", "killed", Mode::Requeue).await.is_err() {
            broker.up().await;
        }
    }
    assert_eq!(server.cli("LLEN tempest:{q}:run:h-1-abc.0").integer(), 0);
    let mut jobs = server.cli("LRANGE tempest:{q} 0 -1").list();
    assert_eq!(jobs.len(), 300);
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 300, "none twice");
}
