//! Deaths nobody saw: a lease that is missing (traps 9 and 10).

use std::time::{Duration, Instant};

use tempest_broker::{Patience, Recoverer};

use crate::{
    proxy::Proxy,
    scene::{HASTY, broker, hasty_keeper, held, hold, list, register},
    server::{Server, eventually},
};

/// Looks again and again for a while. Gives how many jobs were recovered in all.
async fn look_for(recoverer: &mut Recoverer, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut total = 0;
    while Instant::now() < until {
        total += recoverer.look().await.map(|recovered| recovered.total()).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    total
}

#[tokio::test]
async fn two_looks_apart_over_a_settled_connection_are_needed() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    let mut recoverer = Recoverer::new(broker.clone(), HASTY);
    let begun = Instant::now();
    while held(&server, "w.0") > 0 {
        recoverer.look().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        begun.elapsed() >= HASTY.settled + HASTY.apart - Duration::from_millis(20),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(list(&server, "tempest:{q}"), [r#"{"attempt":2,"action":"a"}"#]);
}

#[tokio::test]
async fn a_lease_seen_once_starts_the_count_anew() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    let mut recoverer = Recoverer::new(broker.clone(), HASTY);
    for _ in 0..4 {
        assert_eq!(look_for(&mut recoverer, Duration::from_millis(200)).await, 0);
        server.cli("SET tempest:{q}:lease:w {} PX 10000");
        recoverer.look().await.unwrap();
        server.cli("DEL tempest:{q}:lease:w");
    }
    assert_eq!(held(&server, "w.0"), 1);
    assert_eq!(look_for(&mut recoverer, Duration::from_millis(600)).await, 1);
}

/// The lease comes back between the look and the script: the script looks again.
#[tokio::test]
async fn a_worker_that_wakes_in_the_last_moment_keeps_its_job() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    server.cli("SET tempest:{q}:lease:w {} PX 60000");
    let script = tempest_protocol::scripts::RECOVER;
    let run = "tempest:{q}:run:w.0";
    let keys = [run, "tempest:{q}", "tempest:{q}:lease:w", "tempest:{q}:dead", run, run];
    let job = r#"{"action":"a"}"#;
    let call = [&["EVAL", script, "6"][..], &keys[..], &["0", job, job, "", "0", "", ""][..]].concat();
    assert_eq!(server.run(&call).integer(), -1);
    assert_eq!(held(&server, "w.0"), 1);
    drop(broker);
}

#[tokio::test]
async fn an_error_or_a_new_connection_starts_the_count_anew() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(proxy.url()).await;
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    let mut recoverer = Recoverer::new(broker.clone(), HASTY);
    for _ in 0..5 {
        assert_eq!(look_for(&mut recoverer, Duration::from_millis(350)).await, 0);
        proxy.cut_all();
        recoverer.look().await.err();
        broker.up().await;
    }
    assert_eq!(held(&server, "w.0"), 1);
    assert_eq!(look_for(&mut recoverer, Duration::from_millis(1_000)).await, 1);
}

/// Under OOM no worker can renew its lease; that is not their death.
#[tokio::test]
async fn out_of_memory_kills_nobody() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    let mut recoverer = Recoverer::new(broker.clone(), HASTY);
    server.cli("CONFIG SET maxmemory 1");
    assert_eq!(look_for(&mut recoverer, Duration::from_millis(1_000)).await, 0);
    server.cli("CONFIG SET maxmemory 0");
    assert_eq!(held(&server, "w.0"), 1);
    assert_eq!(look_for(&mut recoverer, Duration::from_millis(600)).await, 1);
}

/// Trap 9: a registration leaves when it was seen gone and empty for long enough, and not before.
#[tokio::test]
async fn registrations_of_the_gone_are_removed() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "gone.0", false);
    register(&server, "alive.0", true);
    hold(&server, "gone.0", br#"{"action":"a"}"#);
    let mut recoverer = Recoverer::new(broker.clone(), HASTY);
    look_for(&mut recoverer, Duration::from_millis(700)).await;
    assert_eq!(held(&server, "gone.0"), 0);
    assert_eq!(server.cli("SCARD tempest:{q}:workers").integer(), 2, "it was not empty for long enough yet");
    look_for(&mut recoverer, Duration::from_millis(700)).await;
    assert_eq!(server.cli("SMEMBERS tempest:{q}:workers").list(), [b"alive.0"]);
}

/// Trap 10 with the real patience: Redis crashes and comes back, then stands still for longer than a lease. Workers
/// that beat each second, and reconnect within one, are not declared dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_live_worker_dies_of_a_pause_of_redis() {
    let mut server = Server::start_durable();
    let broker = broker(server.url()).await;
    let workers: Vec<_> = ["w1", "w2", "w3"].map(|worker| Beating::start(server.port(), worker)).into();
    for worker in &workers {
        hold(&server, &format!("{}.0", worker.name), br#"{"action":"a"}"#);
    }
    server.cli("SADD tempest:queues q");
    let mut keeper = broker.keep(tempest_broker::KeeperOptions::default());
    keeper.looked(2).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    server.restart();
    tokio::time::sleep(Duration::from_millis(6_500)).await;
    server.pause();
    tokio::time::sleep(Duration::from_millis(4_000)).await;
    server.resume();
    tokio::time::sleep(Duration::from_millis(8_000)).await;
    for worker in &workers {
        assert_eq!(held(&server, &format!("{}.0", worker.name)), 1, "{} was declared dead", worker.name);
    }
    // The same keeper still finds a real death.
    let dead = workers.into_iter().next().expect("three").stop();
    eventually("the dead worker is found", || held(&server, &format!("{dead}.0")) == 0);
    assert_eq!(list(&server, "tempest:{q}").len(), 1);
}

/// Without a supervisor a death is found within seven seconds of the last beat, over a connection that is settled.
#[tokio::test]
async fn a_silent_death_is_found_within_seven_seconds() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    assert_eq!(Patience::default().apart, Duration::from_secs(2));
    broker.keep(tempest_broker::KeeperOptions::default());
    tokio::time::sleep(Patience::default().settled).await;
    register(&server, "w.0", false);
    server.cli("SET tempest:{q}:lease:w {} PX 3000");
    hold(&server, "w.0", br#"{"action":"a"}"#);
    let begun = Instant::now();
    tokio::task::spawn_blocking(move || {
        eventually("it is found", || held(&server, "w.0") == 0);
        server
    })
    .await
    .unwrap();
    println!("found after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_outlives_redis() {
    let mut server = Server::start_durable();
    let broker = broker(server.url()).await;
    let mut keeper = broker.keep(hasty_keeper());
    keeper.looked(3).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.restart();
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    tokio::task::spawn_blocking(move || eventually("it works again", || held(&server, "w.0") == 0))
        .await
        .unwrap();
}

/// A worker that beats each second from a thread of its own, connecting again whenever it must.
struct Beating {
    name: &'static str,
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Beating {
    fn start(port: u16, name: &'static str) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let lease = format!("tempest:{{q}}:lease:{name}");
            let mut client = None;
            loop {
                let connection = client.take().or_else(|| crate::server::Client::connect(port).ok());
                client = connection.and_then(|mut connection: crate::server::Client| {
                    connection.run(&["SADD", "tempest:{q}:workers", &format!("{name}.0")]);
                    let beat = connection.run(&["SET", &lease, "{}", "PX", "3000"]);
                    matches!(beat, crate::server::Answer::Text(_)).then_some(connection)
                });
                let pause = if client.is_some() { 1_000 } else { 200 };
                if stopped.recv_timeout(Duration::from_millis(pause)).is_ok() {
                    return;
                }
            }
        });
        Self { name, stop, thread }
    }

    fn stop(self) -> &'static str {
        self.stop.send(()).expect("it beats");
        self.thread.join().expect("it ends");
        self.name
    }
}
