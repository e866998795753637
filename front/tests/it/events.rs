//! EventSource streams, both as this front's own server writes them and as a response body in somebody's axum.

use std::time::Duration;

use tempest_front::FrontConfig;

use crate::{
    scene::{Running, Scene, config},
    server::eventually,
};

/// Both ways of serving.
fn each(config: &FrontConfig, mut run: impl FnMut(&Scene, &Running)) {
    let scene = Scene::new();
    run(&scene, &scene.front_with(config.clone()));
    let scene = Scene::new();
    run(&scene, &scene.embedded(config.clone()));
}

#[test]
fn the_headers_come_at_once_and_what_is_published_then_follows() {
    each(&config(), |scene, front| {
        let mut events = front.events("/sub/test");
        let head = &events.head;
        assert_eq!(head.header("content-type").as_deref(), Some("text/event-stream"));
        assert_eq!(head.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(head.header("x-accel-buffering").as_deref(), Some("no"));
        assert_eq!(head.header("content-length"), None);
        assert_eq!(scene.redis.run(&["PUBLISH", "test", r#"["Bob"]"#]).integer(), 1);
        assert_eq!(events.event().as_deref(), Some("data: Bob"));
        scene.redis.run(&["PUBLISH", "test", r#"{"event":"greet","id":"7","data":"two\nlines"}"#]);
        let block = events.event().expect("an event");
        let mut lines: Vec<_> = block.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["data: lines", "data: two", "event: greet", "id: 7"].map(|line| line.to_owned()));
    });
}

#[test]
fn a_stream_begins_with_a_time_to_come_back() {
    each(&config(), |_, front| {
        let hint = front.events("/sub/test").block().expect("a hint");
        let ms: u32 = hint.strip_prefix("retry: ").expect("a hint").parse().expect("digits");
        assert!((500..60_000).contains(&ms), "{ms}");
    });
}

#[test]
fn several_topics_are_one_stream() {
    each(&config(), |scene, front| {
        let mut events = front.events("/sub/a,b/c,d:e");
        for (n, topic) in ["a", "b/c", "d:e", "a"].into_iter().enumerate() {
            assert_eq!(scene.redis.run(&["PUBLISH", topic, &n.to_string()]).integer(), 1);
            assert_eq!(events.event(), Some(format!("data: {n}")));
        }
        scene.redis.run(&["PUBLISH", "a", r#"["$unsubscribe"]"#]);
        assert!(events.event().is_some_and(|block| block.starts_with("event: end")));
        scene.redis.run(&["PUBLISH", "b/c", "still"]);
        assert_eq!(events.event().as_deref(), Some("data: still"));
        scene.redis.run(&["PUBLISH", "b/c", r#"["$unsubscribe"]"#]);
        scene.redis.run(&["PUBLISH", "d:e", r#"["$unsubscribe"]"#]);
        assert_eq!(events.rest().len(), 2, "it ends with its last topic");
    });
}

#[test]
fn heartbeats_come_while_nothing_is_published() {
    each(&FrontConfig { heartbeat_ms: 100, ..config() }, |scene, front| {
        let mut events = front.events("/sub/t");
        events.block();
        for _ in 0..5 {
            assert_eq!(events.block().as_deref(), Some(":"));
        }
        scene.redis.run(&["PUBLISH", "t", "x"]);
        assert_eq!(events.event().as_deref(), Some("data: x"));
    });
}

#[test]
fn a_thousand_kinds_of_garbage_do_not_end_a_stream() {
    each(&config(), |scene, front| {
        let mut events = front.events("/sub/t");
        let mut redis = scene.redis.client();
        let mut random = fastrand::Rng::with_seed(11);
        for n in 0..1_000 {
            let mut payload: Vec<u8> = (0..random.usize(0..60)).map(|_| random.u8(..)).collect();
            if n % 4 == 0 {
                payload.splice(0..0, *b"{\"data\":[");
            }
            redis.run(&[b"PUBLISH".as_slice(), b"t", &payload]);
            assert!(events.event().is_some(), "ended by {}", payload.escape_ascii());
        }
        redis.run(&["PUBLISH", "t", "alive"]);
        assert_eq!(events.event().as_deref(), Some("data: alive"));
    });
}

/// A published text cannot smuggle fields or blocks into a stream.
#[test]
fn a_payload_stays_inside_its_event() {
    each(&config(), |scene, front| {
        let mut events = front.events("/sub/t");
        scene.redis.run(&["PUBLISH", "t", "a\n\nevent: evil\rdata: x\r\n\r\nid: 1"]);
        let block = events.event().expect("an event");
        assert!(block.lines().all(|line| line == "data:" || line.starts_with("data: ")), "{block}");
        scene.redis.run(&["PUBLISH", "t", "next"]);
        assert_eq!(events.event().as_deref(), Some("data: next"));
    });
}

#[test]
fn a_slow_reader_is_cut_and_delays_nobody() {
    each(&config(), |scene, front| {
        let mut slow = front.events("/sub/t");
        let mut fast = front.events("/sub/t");
        let large = "x".repeat(64_000);
        let mut redis = scene.redis.client();
        for n in 0..400 {
            redis.run(&["PUBLISH", "t", &format!("{n} {large}")]);
            let block = fast.event().expect("the fast one hears all");
            assert!(block.starts_with(&format!("data: {n} ")), "{n}");
        }
        let blocks = slow.rest();
        assert!(blocks.len() < 400, "the slow one has lost some");
        let last = blocks.last().expect("a last word");
        assert!(last.starts_with(':') || last.starts_with("retry:"), "it is told why: {last:?}");
        let heard = blocks.iter().filter(|block| block.starts_with("data:"));
        for (expected, block) in heard.enumerate() {
            assert!(block.starts_with(&format!("data: {expected} ")), "in order, up to the cut");
        }
        eventually("its place is free", || front.cluster.streams() == 1);
    });
}

#[test]
fn streams_are_bounded() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { streams_max: 2, ..config() });
    let one = front.events("/sub/t");
    let _two = front.events("/sub/t");
    let refused = front.get("/sub/t");
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    drop(one);
    eventually("a place is free", || front.cluster.streams() == 1);
    front.events("/sub/t");
}

#[test]
fn a_stream_outlives_the_time_limit_of_requests() {
    each(&FrontConfig { timeout_ms: 300, ..config() }, |scene, front| {
        let mut events = front.events("/sub/t");
        std::thread::sleep(Duration::from_millis(900));
        scene.redis.run(&["PUBLISH", "t", "later"]);
        assert_eq!(events.event().as_deref(), Some("data: later"));
    });
}

#[test]
fn a_stream_hears_again_after_its_redis_connection_was_killed() {
    each(&config(), |scene, front| {
        let mut events = front.events("/sub/t");
        scene.redis.cli("CLIENT KILL TYPE pubsub");
        eventually("it listens again", || scene.redis.run(&["PUBLISH", "t", "back"]).integer() == 1);
        assert_eq!(events.event().as_deref(), Some("data: back"));
    });
}
