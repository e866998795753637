//! What the first page shows: `/api/state` of the admin listener.

use serde_json::{Value, json};

use crate::{
    admin::seen,
    scene::{Running, Scene},
    server::eventually,
};

fn state(front: &Running) -> Value {
    let response = front.asked("/api/state");
    assert_eq!((response.status, response.header("cache-control").as_deref()), (200, Some("no-store")));
    serde_json::from_slice(&response.body).expect("JSON")
}

/// Waits until the state fulfils this, and gives it.
fn until(front: &Running, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || holds(&state(front)));
    state(front)
}

#[test]
fn queues_are_shown_with_their_depth_and_age() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let state = until(&front, "the job waits", |state| state["queues"][0]["lanes"][1]["jobs"] == 1);
    let queue = &state["queues"][0];
    assert_eq!(
        (&queue["queue"], &queue["workers"], &queue["dead"]),
        (&json!("default"), &json!(1), &json!(0))
    );
    assert_eq!(
        (&queue["lanes"][1]["lane"], &queue["lanes"][0]["oldest_ms"]),
        (&json!("normal"), &Value::Null)
    );
    assert!(queue["lanes"][1]["oldest_ms"].as_u64().is_some_and(|age| age < 60_000), "{queue}");
    assert_eq!(state["front"]["waiting"], 1);
    scene.answer(&scene.claim(), 200, &[], b"done");
    client.response();
    until(&front, "it is done", |state| state["queues"][0]["lanes"][1]["jobs"] == 0);
}

#[test]
fn workers_are_shown_with_what_they_tell_and_nothing_else() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let lease = json!({
        "lang": "x".repeat(1_000), "host": {"no": "text"}, "pid": "none", "slots": 2, "state": "running", "secret": "hunter2",
        "jobs": [{"id": "<script>", "action": "url\u{7}", "since": 5, "secret": "hunter2"}, 7, {"since": -1}],
    });
    scene.redis.run(&["SET", "tempest:{default}:lease:hand-1-a", &lease.to_string(), "PX", "600000"]);
    let state = until(&front, "it is shown", |state| state["workers"][0]["slots"] == 2);
    let worker = &state["workers"][0];
    assert_eq!(
        (&worker["worker"], &worker["alive"], &worker["queues"]),
        (&json!("hand-1-a"), &json!(true), &json!(["default"]))
    );
    assert_eq!(worker["lang"].as_str().map(str::len), Some(100));
    assert_eq!((&worker["host"], &worker["pid"]), (&Value::Null, &Value::Null));
    let jobs = json!([
        {"id": "<script>", "action": "url", "queue": null, "since": 5},
        {"id": null, "action": null, "queue": null, "since": null},
        {"id": null, "action": null, "queue": null, "since": null},
    ]);
    assert_eq!(worker["jobs"], jobs);
    assert!(!state.to_string().contains("hunter2"), "{state}");
}

/// A worker at a prompt tells nothing; what it has in hand lies in its run list.
#[test]
fn what_a_silent_worker_has_in_hand_is_shown_since_it_was_seen() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let mut client = front.client();
    client.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it waits", || scene.redis.run(&["LLEN", "tempest:{default}"]).integer() == 1);
    scene.redis.run(&["LMOVE", "tempest:{default}", "tempest:{default}:run:hand-1-a.0", "LEFT", "RIGHT"]);
    let first = until(&front, "it is in hand", |state| state["workers"][0]["jobs"][0]["seen"] == true);
    let job = &first["workers"][0]["jobs"][0];
    assert_eq!(job["action"], "url");
    assert!(job["id"].is_string(), "{job}");
    let since = job["since"].as_u64().expect("milliseconds");
    assert!(since <= first["now"].as_u64().expect("milliseconds"));
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(state(&front)["workers"][0]["jobs"][0]["since"], since, "and not since the last look");
}

#[test]
fn streams_and_refusals_are_shown() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let _streams = [front.events("/sub/a"), front.events("/sub/b"), front.events("/sub/b")];
    let mut client = front.client();
    client.send("BREW /pot?secret=hunter2 HTTP/1.1\r\nhost: a\r\nexpect-nothing: x\r\ncontent-length: 9999999\r\n\r\n");
    assert_eq!(client.response().status, 413);
    let mut unreadable = front.client();
    unreadable.send("\x01\r\n\r\n");
    assert_eq!(unreadable.response().status, 400);
    let state = until(&front, "both are seen", |state| {
        state["streams"]["open"] == 3 && state["refusals"].as_array().is_some_and(|all| all.len() == 2)
    });
    let topics = json!([{"topic": "b", "subscribers": 2}, {"topic": "a", "subscribers": 1}]);
    assert_eq!(state["streams"]["topics"], topics);
    let unread = &state["refusals"][0];
    assert_eq!(
        (&unread["code"], &unread["path"], &unread["client"]),
        (&json!("bad_http"), &Value::Null, &json!("127.0.0.1"))
    );
    let refusal = &state["refusals"][1];
    assert_eq!((&refusal["code"], &refusal["status"]), (&json!("too_large"), &json!(413)));
    assert_eq!(
        (&refusal["method"], &refusal["path"], &refusal["client"]),
        (&json!("BREW"), &json!("/pot"), &json!("127.0.0.1"))
    );
    assert!(
        refusal["request_id"].is_string() && refusal["at"].as_u64() > Some(1_600_000_000_000),
        "{refusal}"
    );
    assert!(!state.to_string().contains("hunter2"));
}

#[test]
fn the_page_stands_alone() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let page = front.asked("/");
    assert_eq!(
        (page.status, page.header("content-type").as_deref()),
        (200, Some("text/html; charset=utf-8"))
    );
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains('{') && !policy.contains("unsafe"),
        "{policy}"
    );
}

#[test]
fn a_redis_that_is_away_is_told_in_time() {
    let mut scene = Scene::new();
    let front = scene.front_with(seen());
    until(&front, "it is ready", |state| state["front"]["ready"] == true);
    scene.redis.kill();
    let is_away = |state: &Value| {
        let reasons = state["front"]["reasons"].as_array().expect("a list");
        reasons.iter().any(|it| it["reason"] == "redis_away")
    };
    let state = until(&front, "it is told", |state| state["queues"].is_null() && is_away(state));
    assert_eq!(state["front"]["ready"], false);
}
