//! The order of stopping: no new connections, streams end with a hint, replies in flight are waited for, the rest is cut.

use std::{net::TcpStream, time::Duration};

use tempest_front::FrontConfig;

use crate::{
    scene::{Scene, config, timed},
    server::eventually,
};

#[test]
fn a_request_in_flight_is_still_answered() {
    let scene = Scene::new();
    let mut front = scene.front();
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    front.stop();
    eventually("no new connection is taken", || TcpStream::connect(front.address).is_err());
    scene.answer(&job, 200, &[], b"in time");
    assert!(client.rest().ends_with(b"\r\n\r\nin time"), "answered, then closed");
    assert_eq!(front.ended().cut, 0);
    assert_eq!(scene.redis.cli("KEYS tempest:mailbox*").list().len(), 0, "its mailbox is given up");
}

#[test]
fn what_takes_longer_than_the_grace_is_cut_and_counted() {
    let scene = Scene::new();
    let mut front = scene.front_with(FrontConfig { drain_ms: 300, ..config() });
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    let mut control = scene.redis.client();
    control.run(&["SUBSCRIBE", "tempest:{default}:control"]);
    front.stop();
    let (report, took) = timed(|| front.ended());
    assert_eq!(report.cut, 1);
    assert!(report.to_string().contains('1'), "{report}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let (rest, waited) = timed(|| client.rest_of_broken());
    assert_eq!(rest, b"");
    assert!(waited < Duration::from_secs(5), "the client is not left waiting: {waited:?}");
    let told = control.receive().expect("told").list();
    assert_eq!(told[2], format!("cancel {}", job.id()).into_bytes(), "its job is cancelled");
}

#[test]
fn an_open_stream_ends_with_a_time_to_come_back_and_delays_nothing() {
    let scene = Scene::new();
    let mut front = scene.front();
    let mut streams: Vec<_> = (0..10).map(|_| front.events("/sub/t")).collect();
    front.stop();
    for stream in &mut streams {
        let blocks = stream.rest();
        assert!(blocks.last().is_some_and(|block| block.starts_with("retry: ")), "{blocks:?}");
    }
    let (report, took) = timed(|| front.ended());
    assert_eq!(report.cut, 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn streams_in_somebodys_axum_do_not_hold_it_up() {
    let scene = Scene::new();
    let mut front = scene.embedded(config());
    let mut stream = front.events("/sub/t");
    front.stop();
    assert!(stream.rest().last().is_some_and(|block| block.starts_with("retry: ")));
    front.ended();
}

#[test]
fn idle_connections_are_closed() {
    let scene = Scene::new();
    let mut front = scene.front();
    let (mut used, mut fresh) = (front.client(), front.client());
    used.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    scene.answer(&job, 200, &[], b"");
    assert_eq!(used.response().status, 200);
    front.stop();
    assert_eq!((used.rest(), fresh.rest()), (Vec::new(), Vec::new()));
    assert_eq!(front.ended().cut, 0);
}

#[test]
fn it_stops_although_redis_is_away() {
    let mut scene = Scene::new();
    let mut front = scene.front();
    let mut stream = front.events("/sub/t");
    scene.redis.kill();
    front.stop();
    stream.rest();
    let (_, took) = timed(|| front.ended());
    assert!(took < Duration::from_secs(10), "{took:?}");
}
