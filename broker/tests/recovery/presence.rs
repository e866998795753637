//! What the keeper shows without I/O, and what inspection reads.

use std::time::Duration;

use tempest_protocol::{Lane, Queue};

use crate::{
    scene::{broker, hasty_keeper, hold, queue, register},
    server::{Server, eventually},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_follows_leases_and_lanes() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    assert!(broker.presence().seen().is_none());
    assert!(!broker.presence().is_served(&queue()));
    register(&server, "w1.0", true);
    register(&server, "w1.1", true);
    register(&server, "w2.0", false);
    let body = "x".repeat(100_000);
    server.run(&["RPUSH", "tempest:{q}", &body]);
    server.run(&["RPUSH", "tempest:{q}:high", "1", "2"]);
    broker.keep(hasty_keeper()).looked(2).await;
    let presence = broker.presence();
    assert!(presence.is_served(&queue()));
    assert_eq!(presence.workers(&queue()), 1, "two slots, one worker; the other has no lease");
    assert_eq!(presence.depth(&queue(), Lane::High), 2);
    assert_eq!(presence.depth(&queue(), Lane::Normal), 1);
    assert!(presence.bytes(&queue(), Lane::Normal) >= 100_000);
    assert!(!presence.is_served(&Queue::new("other").unwrap()));
    assert!(!presence.memory_full());
    server.cli("DEL tempest:{q}:lease:w1");
    tokio::task::block_in_place(|| eventually("it is seen", || !broker.presence().is_served(&queue())));
}

/// Trap 16: above 80 % of `maxmemory` fronts shed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_is_seen() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    broker.keep(hasty_keeper());
    server.cli("CONFIG SET maxmemory 1100000");
    tokio::task::block_in_place(|| eventually("it is full", || broker.presence().memory_full()));
    server.cli("CONFIG SET maxmemory 1000000000");
    tokio::task::block_in_place(|| eventually("it is not", || !broker.presence().memory_full()));
}

#[tokio::test]
async fn a_second_keeper_of_a_process_is_the_first() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let slow = tempest_broker::KeeperOptions { every: Duration::from_secs(3_600), ..hasty_keeper() };
    let mut first = broker.keep(slow);
    first.looked(1).await;
    let mut second = broker.clone().keep(hasty_keeper());
    second.looked(1).await;
    assert!(tokio::time::timeout(Duration::from_millis(500), second.looked(2)).await.is_err());
}

#[tokio::test]
async fn inspection_tells_queues_and_workers_in_order() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("SADD tempest:queues zz aa");
    register(&server, "w2.0", true);
    register(&server, "w1.0", false);
    register(&server, "w1.1", false);
    hold(&server, "w1.1", b"x");
    server.cli("RPUSH tempest:{q}:low 1 2 3");
    server.cli("ZADD tempest:{q}:later 9999999999999 j");
    server.cli("ZADD tempest:{q}:dead 1 j 2 k");
    let queues = broker.queue_states().await.unwrap();
    let names: Vec<_> = queues.iter().map(|state| state.queue.as_str()).collect();
    assert_eq!(names, ["aa", "q", "zz"]);
    let state = &queues[1];
    assert_eq!(state.waiting.map(|load| load.jobs), [0, 0, 3]);
    assert_eq!((state.running, state.later, state.dead, state.workers), (1, 1, 2, 1));
    let workers = broker.worker_states().await.unwrap();
    let shown: Vec<_> =
        workers.iter().map(|it| (it.worker.as_str(), it.slots, it.running, it.is_alive())).collect();
    assert_eq!(shown, [("w1", 2, 1, false), ("w2", 1, 0, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_was_served_stays_so_until_its_workers_had_time_to_beat_after_a_trouble() {
    let mut server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "w.0", true);
    broker.keep(hasty_keeper()).looked(2).await;
    assert!(broker.presence().is_served(&queue()));
    let seen = broker.presence().seen();
    server.restart(); // it forgets all
    eventually("a look after it", || {
        broker.presence().seen() > seen && broker.presence().workers(&queue()) == 0
    });
    assert!(broker.presence().is_served(&queue()), "its workers may only have had no time");
    eventually("they are gone", || !broker.presence().is_served(&queue()));
    assert!(broker.up_since().is_some_and(|since| since.elapsed() > Duration::from_secs(3)), "a lease later");
}
