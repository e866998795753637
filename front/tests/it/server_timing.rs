//! Where the time of a request went, for whoever asks.

use std::{thread::sleep, time::Duration};

use serde_json::json;
use tempest_front::{FrontConfig, ServerTiming};

use crate::{
    client::Response,
    scene::{Claim, Running, Scene, config},
};

fn ask(scene: &Scene, front: &Running, fields: &str, answer: impl FnOnce(&Claim)) -> Response {
    let mut client = front.client();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
    answer(&scene.claim());
    client.response()
}

fn parts(response: &Response) -> Vec<(String, f64)> {
    let told = response.header("server-timing").expect("told");
    let part =
        |part: &str| part.split_once(";dur=").map(|(name, ms)| (name.to_owned(), ms.parse().expect("ms")));
    told.split(", ").map(|text| part(text).expect("a part")).collect()
}

fn names(parts: &[(String, f64)]) -> Vec<&str> {
    parts.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_client_that_asks_is_told() {
    let scene = Scene::new();
    let front = scene.front();
    let silent = ask(&scene, &front, "", |claim| scene.answer(claim, 200, &[], b"done"));
    assert_eq!(silent.header("server-timing"), None);

    let told = ask(&scene, &front, "x-server-timing: 1\r\n", |claim| {
        sleep(Duration::from_millis(60));
        let queued_at = claim.job.envelope.queued_at_ms.expect("told");
        let reply = json!({"id": claim.id(), "claimed_at": queued_at + 20, "work_us": 30_000, "status": 200});
        scene.send(claim, reply.to_string().as_bytes());
    });
    let parts = parts(&told);
    assert_eq!(names(&parts), ["front", "queue", "worker", "reply"]);
    assert_eq!((parts[1].1, parts[2].1), (20.0, 30.0));
    assert!(parts[3].1 >= 10.0, "{parts:?}");
}

#[test]
fn what_a_worker_does_not_tell_is_absent_and_refusals_have_only_the_front() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { server_timing: ServerTiming::Always, ..config() });
    let told = ask(&scene, &front, "", |claim| scene.answer(claim, 200, &[], b"done"));
    assert_eq!(names(&parts(&told)), ["front"]);
    assert_eq!(names(&parts(&front.get("/sub/tempest:mailbox:x"))), ["front"]);
}

#[test]
fn a_field_of_the_worker_stays_beside_it() {
    let scene = Scene::new();
    let front = scene.front();
    let told = ask(&scene, &front, "x-server-timing: 1\r\n", |claim| {
        scene.answer(claim, 200, &[("server-timing", "db;dur=3")], b"done");
    });
    let all = told.all("server-timing");
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all[0], "db;dur=3");
}

#[test]
fn never_is_never() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { server_timing: ServerTiming::Never, ..config() });
    let told = ask(&scene, &front, "x-server-timing: 1\r\n", |claim| scene.answer(claim, 200, &[], b"done"));
    assert_eq!(told.header("server-timing"), None);
}
