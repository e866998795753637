//! The order of stopping: no new connections, streams end with a hint, replies in flight are waited for, the rest is cut.

use std::{net::TcpStream, time::Duration};

use tempest_front::{FrontConfig, Report};

use crate::{
    restart::serve,
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
    assert_eq!((report.cut, report.unanswered), (1, 1));
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
fn it_serves_on_for_a_while_after_it_is_no_longer_ready() {
    let scene = Scene::new();
    let mut front = scene.front_with(FrontConfig { stop_delay_ms: 1_500, ..config() });
    assert!(!front.cluster.is_draining());
    front.stop();
    eventually("it is not ready", || front.cluster.is_draining());
    scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("no new connection is taken", || TcpStream::connect(front.address).is_err());
    assert_eq!(front.ended(), Report::default());
}

#[test]
fn a_client_that_goes_on_asking_is_told_with_a_response_that_it_was_the_last() {
    let scene = Scene::new();
    let mut front = scene.front();
    serve(scene.redis.client());
    let mut client = front.client();
    let mut answered = 0;
    loop {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "served"));
        answered += 1;
        if response.header("connection").as_deref() == Some("close") {
            break;
        }
        if answered == 5 {
            front.stop();
        }
    }
    assert!(answered > 5, "not before it was told to stop");
    assert_eq!(client.rest(), b"");
    assert_eq!(front.ended(), Report::default());
}

#[test]
fn a_client_that_sends_half_a_head_delays_nothing() {
    let scene = Scene::new();
    let mut front = scene.front_with(FrontConfig { drain_ms: 60_000, ..config() });
    let mut half = front.client();
    half.send("GET / HTTP/1.1\r\nhos");
    let mut silent = front.client();
    scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    front.stop();
    let (report, took) = timed(|| front.ended());
    assert_eq!(report, Report::default());
    assert!(took < Duration::from_secs(10), "{took:?}");
    half.rest_of_broken();
    assert_eq!(silent.rest(), b"");
}

#[test]
fn a_response_on_its_way_to_a_slow_client_is_waited_for() {
    let scene = Scene::new();
    let mut front = scene.front_with(FrontConfig { drain_ms: 60_000, ..config() });
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let (job, body) = (scene.claim(), vec![b'x'; 8 << 20]);
    scene.answer(&job, 200, &[], &body);
    let (_, status, _) = client.head();
    let mut idle = front.client();
    front.stop();
    assert_eq!(idle.rest(), b"", "idle ones are closed by now");
    assert_eq!((status, client.rest().len()), (200, body.len()));
    assert_eq!(front.ended(), Report::default());
}

#[test]
fn what_was_left_is_said_by_its_kind() {
    let report = Report { cut: 3, unanswered: 2, streams: 0 };
    assert_eq!(report.to_string(), "front: stopped, 3 connections were cut, 2 jobs were cancelled");
    assert_eq!(Report::default().to_string(), "front: stopped, nothing was left");
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
