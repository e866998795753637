//! Redis dies and comes back: the same front serves again, and nobody waits beyond a deadline.

use std::time::{Duration, Instant};

use tempest_broker::{Broker, Settings};
use tempest_front::{Front, FrontConfig};
use tokio::{runtime::Runtime, time::timeout};

use crate::{
    scene::{Running, Scene, config, timed},
    server::{Answer, Client, Server, eventually},
};

/// Answers every job with `served`, for as long as Redis lives.
pub(crate) fn serve(mut redis: Client) {
    std::thread::spawn(move || {
        while let Answer::List(taken) = redis.run(&["BLPOP", "tempest:{default}", "19"]) {
            let job: serde_json::Value = serde_json::from_slice(&taken[1].bytes()).expect("a job");
            let reply = serde_json::json!({"id": job["id"], "status": 200, "body": "served"});
            redis.run(&["RPUSH", job["reply_to"].as_str().expect("a mailbox"), &reply.to_string()]);
        }
    });
}

fn serves_again(front: &Running) {
    eventually("the front serves", || front.get("/").text() == "served");
}

#[test]
fn the_same_front_serves_again_after_kill_9_and_restart() {
    let mut scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 5_000, ..config() });
    let mut stream = front.events("/sub/t");
    serve(scene.redis.client());
    serves_again(&front);
    for _ in 0..2 {
        scene.redis.restart();
        let back = Instant::now();
        serve(scene.redis.client());
        serves_again(&front);
        assert!(back.elapsed() < Duration::from_secs(10), "only after {:?}", back.elapsed());
        eventually("the stream hears again", || scene.redis.run(&["PUBLISH", "t", "back"]).integer() == 1);
        assert_eq!(stream.event().as_deref(), Some("data: back"));
    }
}

#[test]
fn a_redis_that_dies_while_a_front_starts_is_waited_for() {
    let (mut redis, runtime) = (Server::start(), Runtime::new().expect("a runtime"));
    let broker =
        runtime.block_on(Broker::connect(Settings::new(redis.url(), "front"))).expect("Redis is there");
    redis.kill();
    let mut opening = runtime.spawn(Front::bind(broker, config()));
    let early = runtime.block_on(async { timeout(Duration::from_millis(300), &mut opening).await });
    assert!(early.is_err(), "a front that listens gave up at once");
    redis.restart();
    let opened = runtime.block_on(async { timeout(Duration::from_secs(20), opening).await });
    let front = opened.expect("it goes on soon").expect("it ends well").expect("it opens");
    assert_eq!(front.addresses().len(), 1);
}

#[test]
fn requests_that_were_in_flight_end_by_their_deadline() {
    let mut scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 3_000, ..config() });
    let mut clients: Vec<_> = (0..20).map(|_| front.client()).collect();
    let start = Instant::now();
    for (n, client) in clients.iter_mut().enumerate() {
        let method = if n % 2 == 0 { "GET" } else { "POST" };
        client.send(format!("{method} /{n} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"));
    }
    eventually("all wait", || scene.redis.cli("LLEN tempest:{default}").integer() == 20);
    scene.redis.kill();
    for client in &mut clients {
        let status = client.response().status;
        assert!(status == 504 || status == 503, "{status}");
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(front.cluster.waiting(), 0);
}

#[test]
fn requests_that_come_while_redis_is_away_for_a_moment_are_served_when_it_is_back() {
    let mut scene = Scene::new();
    let front = scene.front();
    serve(scene.redis.client());
    serves_again(&front);
    scene.redis.kill();
    let refused = front.get("/");
    assert_eq!(refused.status, 503);
    scene.redis.restart();
    serve(scene.redis.client());
    serves_again(&front);
}

#[test]
fn a_stalled_redis_costs_a_request_its_deadline_and_no_more() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 2_500, ..config() });
    scene.redis.pause();
    let (response, took) = timed(|| front.get("/"));
    assert!(response.status == 504 || response.status == 503, "{}", response.status);
    assert!(took < Duration::from_secs(8), "{took:?}");
    scene.redis.resume();
    serve(scene.redis.client());
    serves_again(&front);
}

#[test]
fn what_redis_kept_is_served_after_it_came_back() {
    let mut scene = Scene::without_worker(Server::start_with(&[
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]));
    scene.attend("default");
    let front = scene.front_with(FrontConfig { timeout_ms: 15_000, ..config() });
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it waits", || scene.redis.cli("LLEN tempest:{default}").integer() == 1);
    scene.redis.restart();
    serve(scene.redis.client());
    assert_eq!(client.response().text(), "served");
}
