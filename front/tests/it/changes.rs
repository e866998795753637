//! What the admin listener tells of background jobs, and what it changes for whoever knows the token.

use serde_json::{Value, json};
use tempest_front::{AdminConfig, FrontConfig, Token};

use crate::{
    admin::seen,
    client::{Client, Response},
    scene::{Running, Scene},
    server::eventually,
};

const TOKEN: &str = "correct-horse-battery";
const DEAD: &str = r#"{"error":{"code":"out_of_paper","message":"<b>tray 2</b>"},"died_at":5,"id":"d1","action":"print","attempt":3}"#;

fn open() -> FrontConfig {
    let front = seen();
    FrontConfig { admin: AdminConfig { token: Token::new(TOKEN), ..front.admin }, ..front }
}

fn post(front: &Running, fields: &str, body: &str) -> Response {
    let mut client = Client::connect(front.admin.expect("it has an admin listener"));
    let length = body.len();
    client.send(format!(
        "POST /api/change HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{fields}\r\n{body}"
    ));
    client.response()
}

fn changed(front: &Running, wanted: &Value) -> (u16, Value) {
    let response = post(front, &format!("authorization: Bearer {TOKEN}\r\n"), &wanted.to_string());
    (response.status, serde_json::from_slice(&response.body).expect("JSON"))
}

fn jobs(front: &Running) -> Value {
    serde_json::from_slice(&front.asked("/api/jobs").body).expect("JSON")
}

/// A cluster with a dead job and a delayed one.
fn scene() -> Scene {
    let scene = Scene::new();
    let now_ms = scene.redis.run(&["TIME"]).list();
    let seconds: u64 = String::from_utf8_lossy(&now_ms[0]).parse().expect("seconds");
    scene.redis.run(&["ZADD", "tempest:{default}:dead", &(seconds * 1000).to_string(), DEAD]);
    let later = r#"{"id":"l1","action":"mail","attempt":2,"attempts":4}"#;
    scene.redis.run(&["ZADD", "tempest:{default}:later", &((seconds + 3600) * 1000).to_string(), later]);
    scene.redis.run(&[
        "HSET",
        "tempest:{default}:job:l1",
        "state",
        "later",
        "code",
        "no_route",
        "message",
        "m",
    ]);
    scene
}

#[test]
fn dead_and_delayed_jobs_and_schedules_are_listed() {
    let scene = scene();
    let schedule = r#"{"cron":"0 4 * * *","zone":"Europe/Paris","action":"nightly"}"#;
    scene.redis.run(&["HSET", "tempest:{default}:schedules", "night", schedule, "broken", "{"]);
    let front = scene.front_with(seen());
    eventually("they are listed", || jobs(&front)["dead"].as_array().is_some_and(|dead| dead.len() == 1));
    let shown = jobs(&front);
    let dead = &shown["dead"][0];
    assert_eq!(
        (&dead["queue"], &dead["id"], &dead["action"]),
        (&json!("default"), &json!("d1"), &json!("print"))
    );
    assert_eq!((&dead["code"], &dead["message"]), (&json!("out_of_paper"), &json!("<b>tray 2</b>")));
    assert_eq!((&dead["attempt"], &dead["attempts"]), (&json!(3), &json!(3)));
    let later = &shown["later"][0];
    assert_eq!(
        (&later["id"], &later["code"], &later["attempts"]),
        (&json!("l1"), &json!("no_route"), &json!(4))
    );
    let names: Vec<_> = shown["schedules"].as_array().expect("a list").iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["broken", "night"]);
    assert!(shown["schedules"][0]["wrong"].is_string(), "{shown}");
    assert_eq!(shown["schedules"][1]["action"], "nightly");
}

#[test]
fn nothing_is_changed_without_the_token() {
    let scene = scene();
    let wanted = r#"{"do":"delete","queue":"default","id":"d1"}"#;
    let barred = |front: &Running, fields: &str| {
        let response = post(front, fields, wanted);
        assert!(response.header("www-authenticate").is_some());
        let told: Value = serde_json::from_slice(&response.body).expect("JSON");
        (response.status, told["code"].as_str().expect("a code").to_owned())
    };
    let front = scene.front_with(open());
    assert_eq!(barred(&front, ""), (401, "no_token".into()));
    assert_eq!(barred(&front, "cookie: token=correct-horse-battery\r\n"), (401, "no_token".into()));
    assert_eq!(barred(&front, "authorization: Bearer correct\r\n"), (403, "wrong_token".into()));
    let state =
        |front: &Running| -> Value { serde_json::from_slice(&front.asked("/api/state").body).expect("JSON") };
    assert_eq!(state(&front)["changes"], true);
    let closed = scene.front_with(seen());
    assert_eq!(barred(&closed, "authorization: Bearer \r\n"), (403, "read_only".into()));
    assert_eq!(state(&closed)["changes"], false);
    assert_eq!(scene.redis.run(&["ZCARD", "tempest:{default}:dead"]).integer(), 1, "it is there still");
    let get = front.asked("/api/change");
    assert_eq!((get.status, get.header("allow").as_deref()), (405, Some("POST")));
    assert!(!format!("{:?}", open()).contains(TOKEN), "and nothing tells it");
}

#[test]
fn a_dead_job_runs_again_or_goes_and_a_delayed_one_runs_now() {
    let scene = scene();
    let front = scene.front_with(open());
    assert_eq!(
        changed(&front, &json!({"do": "retry", "queue": "default", "id": "d1"})),
        (200, json!({"done": true}))
    );
    let again = scene.claim();
    assert_eq!((again.id().as_str(), again.job.envelope.attempt), ("d1", 1));
    assert_eq!(changed(&front, &json!({"do": "run", "queue": "default", "id": "l1"})).0, 200);
    assert_eq!(scene.claim().id(), "l1");
    let (status, told) = changed(&front, &json!({"do": "run", "queue": "default", "id": "l1"}));
    assert_eq!((status, &told["code"]), (404, &json!("not_found")));
    scene.redis.run(&["ZADD", "tempest:{default}:dead", "1700000000000", DEAD]);
    assert_eq!(changed(&front, &json!({"do": "delete", "queue": "default", "id": "d1"})).0, 200);
    assert_eq!(scene.redis.run(&["ZCARD", "tempest:{default}:dead"]).integer(), 0);
    for wrong in
        [json!({"do": "retry", "queue": "default"}), json!({"do": "flush", "queue": "default"}), json!(7)]
    {
        let (status, told) = changed(&front, &wrong);
        assert_eq!((status, &told["code"]), (400, &json!("bad_request")), "{wrong}");
    }
    let long = format!("{:?}", "x".repeat(5_000));
    assert_eq!(changed(&front, &json!({"do": "pause", "queue": long})).0, 400);
}

#[test]
fn a_queue_is_paused_and_goes_on() {
    let scene = Scene::new();
    let front = scene.front_with(open());
    let paused = || {
        let state: Value = serde_json::from_slice(&front.asked("/api/state").body).expect("JSON");
        state["queues"][0]["paused"].clone()
    };
    assert_eq!(paused(), false);
    assert_eq!(changed(&front, &json!({"do": "pause", "queue": "default"})).0, 200);
    assert_eq!(scene.redis.run(&["HGET", "tempest:{default}:limits", "paused"]).text(), "1");
    assert_eq!(paused(), true, "the next look shows it");
    assert_eq!(changed(&front, &json!({"do": "resume", "queue": "default"})).0, 200);
    assert_eq!(paused(), false);
}
