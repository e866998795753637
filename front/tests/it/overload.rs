//! Overload is told at once: 503 with a time to come back, never a silent hang.

use std::time::Duration;

use tempest_front::{FrontConfig, HttpConfig, Route};

use crate::{
    client::Response,
    scene::{Claim, Running, Scene, config, limited, routes, timed},
    server::{Server, eventually},
};

#[track_caller]
fn assert_come_back(response: &Response) {
    assert_eq!(response.status, 503, "{}", response.text());
    let seconds: u32 = response.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[test]
fn where_nobody_works_a_request_is_refused_after_a_moment() {
    let scene = Scene::without_worker(Server::start());
    let front = scene.front();
    let (response, took) = timed(|| front.get("/"));
    assert_come_back(&response);
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0, "the job is taken back");
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
    assert_come_back(&client.response());
}

/// A request that waits in the lane.
fn waiting(scene: &Scene, front: &Running, depth: i64) -> crate::client::Client {
    let mut client = front.client();
    client.send("GET /waits HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it waits", || scene.redis.cli("LLEN tempest:{default}").integer() == depth);
    client
}

#[test]
fn a_full_lane_is_told_and_those_who_wait_are_served() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { lane_jobs_max: 2, ..config() });
    let mut served = vec![waiting(&scene, &front, 1), waiting(&scene, &front, 2)];
    assert_come_back(&front.get("/one-too-many"));
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 2);
    for client in &mut served {
        let job = scene.claim();
        assert_eq!(job.request().url, "/waits");
        scene.answer(&job, 200, &[], b"served");
        assert_eq!(client.response().text(), "served");
    }
}

#[test]
fn a_full_lane_leaves_the_others_alone() {
    let scene = Scene::new();
    let route = |path: &str, lane: &str| Route {
        path: path.into(),
        queue: Some("default".into()),
        lane: Some(lane.into()),
        ..Route::default()
    };
    let table = vec![route("/waits", "normal"), route("/high", "high"), route("/low", "low")];
    let front = scene.front_with(FrontConfig { lane_jobs_max: 1, ..routes(table) });
    let _waits = waiting(&scene, &front, 1);
    assert_come_back(&front.get("/waits"));
    for (path, lane) in [("/high", "tempest:{default}:high"), ("/low", "tempest:{default}:low")] {
        let mut client = front.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let job = scene.claim_from(&[lane]);
        assert_eq!(job.lane, lane);
        scene.answer(&job, 200, &[], b"");
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn a_lane_that_is_full_in_bytes_is_told() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { lane_bytes_max: 100_000, timeout_ms: 500, ..config() });
    let filler = "x".repeat(300_000);
    scene.redis.run(&["RPUSH", "tempest:{default}", &filler]);
    eventually("the front sees it", || front.get("/").status == 503);
    assert_come_back(&front.get("/"));
    scene.redis.cli("DEL tempest:{default}");
}

#[test]
fn a_redis_that_is_nearly_full_sheds_requests() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 500, ..config() });
    let used: u64 = scene
        .redis
        .cli("INFO memory")
        .text()
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok())
        .expect("used_memory");
    let maxmemory = (used * 100 / 90).to_string();
    scene.redis.run(&["CONFIG", "SET", "maxmemory", &maxmemory]);
    eventually("the front sees it", || front.get("/").status == 503);
    assert_come_back(&front.get("/"));
    scene.redis.run(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("the front takes requests again", || {
        let mut client = front.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.response().status == 504
    });
}

#[test]
fn a_redis_that_refuses_is_503_without_its_words() {
    let scene = Scene::new();
    let front = scene.front_at(&scene.redis.url(), config());
    scene.redis.run(&["ACL", "SETUSER", "default", "-rpush"]);
    let response = front.get("/");
    assert_come_back(&response);
    assert!(!response.text().contains("NOPERM"), "{}", response.text());
}

#[test]
fn a_redis_that_is_away_is_503_soon() {
    let mut scene = Scene::new();
    let front = scene.front();
    scene.redis.kill();
    let (response, took) = timed(|| front.get("/"));
    assert_come_back(&response);
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A front whose workers are too slow for what comes in says so before the deadline does.
#[test]
fn a_wait_that_would_exceed_the_deadline_is_refused_at_once() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 4_000, ..config() });
    let mut clients: Vec<_> = (0..400).map(|_| front.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    eventually("all wait", || scene.redis.cli("LLEN tempest:{default}").integer() >= 390);
    // One reply each 20 ms: 400 would take 8 s.
    for _ in 0..40 {
        let job = scene.claim();
        scene.answer(&job, 200, &[], b"");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut late = Vec::new();
    let (_, took) = timed(|| late.push(front.get("/late")));
    assert_come_back(&late[0]);
    assert!(took < Duration::from_secs(3), "at once, not at the deadline: {took:?}");
}

/// Uploads that trickle in have no job yet: they take nobody's turn.
#[test]
fn who_is_still_sending_is_not_before_anybody() {
    let scene = Scene::new();
    let http = HttpConfig { body_timeout_ms: 60_000, ..HttpConfig::default() };
    let front = scene.front_with(FrontConfig { timeout_ms: 30_000, ..limited(http) });
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    scene.send(&job, tells(&job, 2_000_000).as_bytes()); // a hundred of these take longer than the deadline
    assert_eq!(client.response().status, 200);
    let mut uploads: Vec<_> = (0..100).map(|_| front.client()).collect();
    for client in &mut uploads {
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\nexpect: 100-continue\r\n\r\n");
        let (_, status, _) = client.head();
        assert_eq!(status, 100, "its body is being read");
    }
    let (_, response) = scene.exchange(&front, "GET /now HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Jobs of another route that take longer than this one's deadline say nothing about its own while somebody is free.
#[test]
fn where_a_slot_is_free_nobody_is_refused() {
    let scene = Scene::new();
    let route = |path: &str, timeout_ms| Route {
        path: path.into(),
        queue: Some("default".into()),
        timeout_ms: Some(timeout_ms),
        ..Route::default()
    };
    let front = scene.front_with(routes(vec![route("/reports", 60_000), route("/quick", 15_000)]));
    let mut client = front.client();
    client.send("GET /reports HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    scene.send(&job, tells(&job, 40_000_000).as_bytes());
    assert_eq!(client.response().status, 200);
    let (_, response) = scene.exchange(&front, "GET /quick HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(response.status, 200, "{}", response.text());
}

/// A reply whose worker says that it took this time.
fn tells(job: &Claim, work_us: u64) -> String {
    format!(r#"{{"id":"{}","work_us":{work_us},"status":200,"body":"done"}}"#, job.id())
}
