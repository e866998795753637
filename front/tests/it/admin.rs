//! What operators and probes are told.

use std::net::TcpListener;

use serde_json::Value;
use tempest_front::{AdminConfig, FrontConfig, Inherited};

use crate::{
    client::Client,
    scene::{Running, Scene, config},
    server::eventually,
};

/// A front with an admin listener on a free port.
pub(crate) fn seen() -> FrontConfig {
    let listen = vec!["127.0.0.1:0".into()];
    FrontConfig { admin: AdminConfig { listen, any_port: false, ..AdminConfig::default() }, ..config() }
}

/// The status of `/readyz` and the reasons it gives.
fn readiness(front: &Running) -> (u16, Vec<String>) {
    let response = front.asked("/readyz");
    let told: Value = serde_json::from_slice(&response.body).expect("JSON");
    let reasons = told["reasons"].as_array().expect("a list");
    assert_eq!(told["ready"], reasons.is_empty(), "{told}");
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let reason = |entry: &Value| {
        assert!(entry["detail"].as_str().is_some_and(|detail| detail.ends_with('.')), "{told}");
        entry["reason"].as_str().expect("a word").to_owned()
    };
    (response.status, reasons.iter().map(reason).collect())
}

fn is_ready(front: &Running) -> bool {
    readiness(front) == (200, Vec::new())
}

/// Whether it is not ready, for this reason among others.
fn is_unready(front: &Running, reason: &str) -> bool {
    let (status, reasons) = readiness(front);
    status == 503 && reasons.iter().any(|it| it == reason)
}

#[test]
fn a_front_that_works_is_healthy_and_ready() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let health = front.asked("/healthz");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    assert_eq!(health.header("cache-control").as_deref(), Some("no-store"));
    eventually("it is ready", || is_ready(&front));
    assert_eq!(front.asked("/healthz/x").status, 404);
    let mut client = Client::connect(front.admin.expect("it listens"));
    client.send("POST /readyz HTTP/1.1\r\nhost: admin\r\ncontent-length: 0\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD")));
}

#[test]
fn clients_do_not_find_what_is_for_operators() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let mut client = front.client();
    client.send("GET /readyz HTTP/1.1\r\nhost: example\r\n\r\n");
    assert_eq!(scene.claim().request().url, "/readyz", "a path like any other");
}

#[test]
fn without_redis_it_is_not_ready_and_says_so_until_it_works_again() {
    let mut scene = Scene::new();
    let front = scene.front_with(seen());
    eventually("it is ready", || is_ready(&front));
    scene.redis.kill();
    eventually("it says that Redis is away", || is_unready(&front, "redis_away"));
    assert_eq!(front.asked("/healthz").status, 200, "a restart of the front would not help");
    eventually("nothing published is heard", || is_unready(&front, "topics_silent"));
    scene.redis.restart();
    eventually("it is ready again", || is_ready(&front));
}

#[test]
fn connections_that_are_open_and_silent_are_noticed() {
    let scene = Scene::new();
    let proxy = scene.proxy();
    let front = scene.front_at(&proxy.url(), seen());
    eventually("it is ready", || is_ready(&front));
    proxy.stall(true);
    for reason in ["redis_away", "mailbox_unread", "queues_unseen", "topics_silent"] {
        eventually(reason, || is_unready(&front, reason));
    }
    proxy.stall(false);
    eventually("it is ready again", || is_ready(&front));
}

#[test]
fn a_redis_that_takes_no_writes_is_not_enough() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    eventually("it is ready", || is_ready(&front));
    scene.redis.cli("CONFIG SET maxmemory 1");
    eventually("it says that nothing can be written", || is_unready(&front, "redis_refuses"));
    scene.redis.cli("CONFIG SET maxmemory 0");
    eventually("it is ready again", || is_ready(&front));
}

#[test]
fn a_front_that_is_about_to_stop_serves_and_is_not_ready() {
    let scene = Scene::new();
    let mut front = scene.front_with(FrontConfig { stop_delay_ms: 1_500, ..seen() });
    eventually("it is ready", || is_ready(&front));
    front.stop();
    eventually("it says so", || is_unready(&front, "draining"));
    scene.exchange(&front, "GET / HTTP/1.1\r\nhost: example\r\n\r\n");
    front.ended();
    let admin = front.admin.expect("it listened");
    assert!(std::net::TcpStream::connect(admin).is_err(), "the listener has ended with it");
}

#[test]
fn a_port_that_is_taken_is_an_error_or_another_one_does() {
    let scene = Scene::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let with = |any_port| FrontConfig {
        admin: AdminConfig { listen: vec![address.to_string()], any_port, ..AdminConfig::default() },
        ..config()
    };
    let error = scene.try_front(&scene.redis.url(), with(false)).err().expect("it is taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let front = scene.front_with(with(true));
    assert_ne!(front.admin, Some(address));
    assert_eq!(front.asked("/healthz").status, 200);
}

#[test]
fn the_front_that_takes_over_answers_alone() {
    let scene = Scene::new();
    let mut old = scene.front_with(FrontConfig { stop_delay_ms: 600_000, ..seen() });
    let mut sockets = Inherited::default();
    for (spoken, socket) in old.handle().sockets().expect("descriptors") {
        sockets.add(spoken, socket.into());
    }
    let new = scene.try_front_on(&scene.redis.url(), seen(), sockets).expect("it starts");
    assert_eq!(new.admin, old.admin);
    old.handle().replaced();
    old.stop();
    eventually("the old one is gone", || old.cluster.is_draining());
    eventually("probes no longer meet the one that stops", || (0..20).all(|_| !is_unready(&new, "draining")));
    old.ended();
}

#[test]
fn half_a_question_costs_nobody_else_an_answer() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let halves: Vec<_> = (0..60)
        .map(|_| {
            let mut client = Client::connect(front.admin.expect("it listens"));
            client.send("GET /healthz HTTP/1.1\r\nhost:");
            client
        })
        .collect();
    assert_eq!(front.asked("/healthz").status, 200);
    drop(halves);
}
