//! A new configuration for a front that runs: all of it or nothing, and nobody who is being served notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tempest_front::{Error, FrontConfig, Reloaded, Route};

use crate::{
    restart::serve,
    scene::{Running, Scene, config, routes},
    server::eventually,
};

fn to_queue(path: &str) -> Route {
    Route { path: path.into(), queue: Some("default".into()), ..Route::default() }
}

fn to_topic(path: &str) -> Route {
    Route { path: path.into(), topic: Some("t".into()), ..Route::default() }
}

fn post(front: &Running, bytes: usize) -> u16 {
    let mut client = front.client();
    let body = "x".repeat(bytes);
    client.try_send(format!("POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: {bytes}\r\n\r\n{body}"));
    client.response().status
}

#[test]
fn routes_come_and_go() {
    let scene = Scene::new();
    let front = scene.front_with(routes(vec![to_queue("/a"), to_queue("/b")]));
    serve(scene.redis.client());
    assert_eq!([front.get("/a").status, front.get("/b").status, front.get("/c").status], [200, 200, 404]);
    let reloaded = front.handle().reload(routes(vec![to_queue("/b"), to_queue("/c")])).expect("a good table");
    let expected = Reloaded { added: vec!["/c".into()], removed: vec!["/a".into()], changed: Vec::new() };
    assert_eq!(reloaded, expected);
    assert_eq!([front.get("/a").status, front.get("/b").status, front.get("/c").status], [404, 200, 200]);
}

#[test]
fn queues_of_new_routes_are_announced() {
    let scene = Scene::new();
    let front = scene.front();
    let known = |queue: &str| scene.redis.run(&["SISMEMBER", "tempest:queues", queue]).integer() == 1;
    assert!(!known("mail"));
    let route = Route { queue: Some("mail".into()), ..to_queue("/mail") };
    front.handle().reload(routes(vec![route])).expect("a good table");
    eventually("the queue is known", || known("mail"));
}

#[test]
fn limits_change_for_what_comes_next() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { body_bytes_max: 5, ..config() });
    serve(scene.redis.client());
    assert_eq!((post(&front, 5), post(&front, 6)), (200, 413));
    front.handle().reload(FrontConfig { body_bytes_max: 50, ..config() }).expect("good limits");
    assert_eq!((post(&front, 6), post(&front, 51)), (200, 413));
}

#[test]
fn a_mistake_changes_nothing() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { body_bytes_max: 5, ..routes(vec![to_queue("/a")]) });
    serve(scene.redis.client());
    let twice = vec![to_queue("/a"), to_queue("/b"), to_queue("/b")];
    let error =
        front.handle().reload(FrontConfig { body_bytes_max: 50, ..routes(twice) }).expect_err("twice");
    assert!(matches!(&error, Error::Routes(lines) if lines.len() == 1), "{error}");
    let senseless = vec![to_queue("/b"), Route { lane: Some("fast".into()), ..to_queue("no-slash") }];
    let error = front.handle().reload(routes(senseless)).expect_err("senseless");
    assert!(matches!(&error, Error::Routes(lines) if lines.len() >= 2), "every mistake is said: {error}");
    assert_eq!((post(&front, 5), post(&front, 6), front.get("/b").status), (200, 413, 404));
}

#[test]
fn a_request_in_flight_keeps_the_table_it_began_with() {
    let scene = Scene::new();
    let front = scene.front_with(routes(vec![to_queue("/a")]));
    let mut client = front.client();
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    front.handle().reload(routes(vec![to_queue("/b")])).expect("a good table");
    scene.answer(&job, 200, &[], b"still");
    assert_eq!(client.response().text(), "still");
    client.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().status, 404, "the next on the same connection has the new one");
}

#[test]
fn streams_of_a_route_that_is_gone_go_on_and_count_under_the_new_limit() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { streams_max: 2, ..routes(vec![to_topic("/old")]) });
    let mut open: Vec<_> = (0..2).map(|_| front.events("/old")).collect();
    let narrow = FrontConfig { streams_max: 1, ..routes(vec![to_topic("/new")]) };
    front.handle().reload(narrow).expect("a good table");
    assert_eq!((front.cluster.streams(), front.get("/old").status, front.get("/new").status), (2, 404, 503));
    scene.redis.run(&["PUBLISH", "t", "hello"]);
    assert!(open.iter_mut().all(|stream| stream.event().as_deref() == Some("data: hello")));
    drop(open);
    eventually("they are gone", || front.cluster.streams() == 0);
    let _one = front.events("/new");
    assert_eq!(front.get("/new").status, 503);
    front.handle().reload(FrontConfig { streams_max: 2, ..routes(vec![to_topic("/new")]) }).expect("good");
    let _two = front.events("/new");
}

#[test]
fn where_it_listens_stays() {
    let scene = Scene::new();
    let front = scene.front();
    let elsewhere = FrontConfig { listen: vec!["127.0.0.1:1".into()], ..config() };
    front.handle().reload(elsewhere).expect("not looked at");
    scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(front.handle().sockets().expect("descriptors").len(), 1);
}

/// Tables that differ in everything but the path that is asked for.
fn table(n: usize) -> FrontConfig {
    let mut table = vec![Route { timeout_ms: Some(20_000 + n as u64), ..to_queue("/always/{n}") }];
    table.extend((0..n % 7).map(|k| to_queue(&format!("/{n}/{k}"))));
    FrontConfig { streams_max: 10 + n, heartbeat_ms: 1_000 + n as u64, ..routes(table) }
}

#[test]
fn no_request_fails_while_tables_come_and_go() {
    let scene = Scene::new();
    let front = scene.front_with(table(0));
    (0..2).for_each(|_| serve(scene.redis.client()));
    let done = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..4)
        .map(|n| {
            let (mut client, done) = (front.client(), done.clone());
            thread::spawn(move || {
                let mut answered = 0;
                while !done.load(Ordering::Relaxed) {
                    client.send(format!("GET /always/{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
                    let response = client.response();
                    assert_eq!((response.status, response.text().as_str()), (200, "served"));
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    for n in 1..=400 {
        let reloaded = front.handle().reload(table(n)).expect("a good table");
        assert!(reloaded.changed.contains(&"/always/{n}".to_owned()), "{reloaded:?}");
        let missing = Route { queue: None, ..to_queue("/missing") };
        front.handle().reload(routes(vec![missing])).expect_err("it leads nowhere");
        thread::yield_now();
    }
    done.store(true, Ordering::Relaxed);
    let answered: Vec<u32> = asking.into_iter().map(|it| it.join().expect("none failed")).collect();
    assert!(answered.iter().all(|count| *count > 0), "{answered:?}");
}
