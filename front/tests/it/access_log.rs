//! The line each request has in the log.

use std::{
    io,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use serde_json::Value;
use tempest_front::{AccessLog, FrontConfig, Route};
use tracing::Level;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, prelude::*};

use crate::{
    event_source::EventSource,
    scene::{Scene, config, routes},
    server::eventually,
};

/// Everything that was logged in this process; tests run side by side, so each looks for a host of its own.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static LISTENING: Once = Once::new();

struct Logged;

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        logged().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

fn logged() -> MutexGuard<'static, Vec<u8>> {
    LOGGED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen() {
    LISTENING.call_once(|| {
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(|| Logged);
        let only = Targets::new().with_target("tempest::access", Level::DEBUG);
        tracing_subscriber::registry().with(lines.with_filter(only)).init();
    });
}

/// The lines of requests for a host.
fn lines(host: &str) -> Vec<Value> {
    let text = String::from_utf8(logged().clone()).expect("UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("one value a line"));
    lines.filter(|line| line["host"] == host).collect()
}

/// The first line of a host, once there is one.
#[track_caller]
fn line(host: &str) -> Value {
    eventually(host, || !lines(host).is_empty());
    lines(host).remove(0)
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

#[test]
fn an_answered_request_has_one_line() {
    listen();
    let scene = Scene::new();
    let front = scene.front();
    let (claim, _) = scene.exchange(&front, get("/a/b?token=secret", "answered.example"));
    let line = line("answered.example");
    let is = |name: &str, value: Value| assert_eq!(line[name], value, "{name}: {line}");
    is("message", "answered".into());
    is("level", "INFO".into());
    is("target", "tempest::access".into());
    is("client", "127.0.0.1".into());
    is("method", "GET".into());
    is("url", "/a/b".into());
    is("status", 200.into());
    is("bytes", 4.into());
    is("route", "/{*rest}".into());
    is("to", "queue".into());
    is("queue", "default".into());
    is("request", claim.id().into());
    is("code", Value::Null);
    assert!(line["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    assert_eq!(lines("answered.example").len(), 1);
    assert!(!line.to_string().contains("secret"));
}

#[test]
fn refusals_have_their_code_and_a_level_by_consequence() {
    listen();
    let scene = Scene::without_worker(crate::server::Server::start());
    let route =
        |path: &str, queue: &str| Route { queue: Some(queue.into()), path: path.into(), ..Route::default() };
    let front = scene.front_with(FrontConfig { routes: vec![route("/known", "default")], ..config() });
    for (path, host, status, code, level) in [
        ("/unknown", "unknown.example", 404, "not_found", "INFO"),
        ("/known", "nobody.example", 503, "no_worker", "WARN"),
    ] {
        let mut client = front.client();
        client.send(get(path, host));
        assert_eq!(client.response().status, status);
        let line = line(host);
        assert_eq!(
            (&line["status"], &line["code"], &line["level"]),
            (&status.into(), &code.into(), &level.into())
        );
    }
}

#[test]
fn a_worker_that_fails_is_a_warning() {
    listen();
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send(get("/", "failing.example"));
    scene.answer(&scene.claim(), 500, &[], b"oh");
    assert_eq!(client.response().status, 500);
    let line = line("failing.example");
    assert_eq!((&line["level"], &line["status"]), (&"WARN".into(), &500.into()));
    assert_eq!(line["code"], Value::Null, "the response is the worker's own");
}

#[test]
fn a_client_that_leaves_has_a_line_too() {
    listen();
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send(get("/", "left.example"));
    scene.claim();
    drop(client);
    let line = line("left.example");
    assert_eq!((&line["message"], &line["status"]), (&"client left".into(), &499.into()));
    assert_eq!((&line["bytes"], &line["level"]), (&0.into(), &"INFO".into()));
}

#[test]
fn an_event_stream_has_a_line_when_it_opens_and_one_when_it_ends() {
    listen();
    let scene = Scene::new();
    let front = scene.front();
    let host = "stream.example";
    let mut client = front.client();
    client.send(get("/sub/news?key=secret", host));
    let mut events = EventSource::of(client);
    let opened = line(host);
    assert_eq!((&opened["message"], &opened["level"]), (&"stream opened".into(), &"DEBUG".into()));
    for event in ["a", "b", "c"] {
        scene.redis.run(&["PUBLISH", "news", event]);
        assert!(events.event().is_some());
    }
    drop(events);
    eventually("it has ended", || lines(host).len() == 2);
    let ended = lines(host).remove(1);
    assert_eq!((&ended["message"], &ended["level"]), (&"stream ended".into(), &"INFO".into()));
    assert_eq!((&ended["events"], &ended["url"]), (&3.into(), &"/sub/news".into()));
    assert_eq!((&ended["request"], &ended["to"]), (&opened["request"], &"topic".into()));
}

#[test]
fn a_stream_that_is_a_response_body_has_the_same_lines() {
    listen();
    let scene = Scene::new();
    let route = Route { compress_events: true, ..Route::defaults().remove(0) };
    let front = scene.front_with(routes(vec![route]));
    let host = "packed.example";
    let mut client = front.client();
    client.send(format!("GET /sub/news HTTP/1.1\r\nhost: {host}\r\naccept-encoding: gzip\r\n\r\n"));
    let stream = EventSource::of(client);
    assert_eq!(stream.head.header("content-encoding").as_deref(), Some("gzip"));
    drop(stream);
    eventually("it has ended", || lines(host).iter().any(|line| line["message"] == "stream ended"));
    drop(front);
    let lines = lines(host);
    let said: Vec<_> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(said, ["stream opened", "stream ended"]);
}

#[test]
fn what_is_sent_by_clients_cannot_make_lines_of_its_own() {
    listen();
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send(b"GET /%0a{\"x\":1}\xc3\xa9 HTTP/1.1\r\nhost: evil.example\t\x85\xe2\x80\xa8\r\n\r\n");
    client.response();
    eventually("its line", || String::from_utf8_lossy(&logged()).contains("evil.example"));
    // All lines are JSON: `lines` would fail else.
    assert!(lines("nobody.example.invalid").is_empty());
    let text = String::from_utf8(logged().clone()).expect("UTF-8");
    let evil: Vec<_> = text.lines().filter(|line| line.contains("evil.example")).collect();
    assert_eq!(evil.len(), 1, "{evil:?}");
}

#[test]
fn it_can_be_off_and_it_can_have_queries_and_both_follow_a_reload() {
    listen();
    let scene = Scene::new();
    let with = |access_log| FrontConfig { access_log, ..config() };
    let front = scene.front_with(with(AccessLog::Off));
    scene.exchange(&front, get("/?a=1", "off.example"));
    front.handle().reload(with(AccessLog::Query)).expect("a good configuration");
    scene.exchange(&front, get("/?a=2", "query.example"));
    assert_eq!(line("query.example")["url"], "/?a=2");
    assert!(lines("off.example").is_empty());
}

#[test]
fn what_is_no_request_has_a_line_without_one() {
    listen();
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("\x01\x02\x03 nonsense\r\n\r\n");
    assert_eq!(client.response().status, 400);
    eventually("a line", || {
        let text = String::from_utf8(logged().clone()).expect("UTF-8");
        text.lines().any(|line| line.contains("not a request") && line.contains("bad_http"))
    });
}
