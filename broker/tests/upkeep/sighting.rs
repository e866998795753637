//! A job by its id, without a search.

use serde_json::json;
use tempest_broker::{Sighting, State, Whereabouts};
use tempest_protocol::{Lane, Queue, WorkerId};

use crate::scene::{LANE, LATER, Scene, id, queue, record};

async fn sight(scene: &Scene, name: &str) -> Option<Sighting> {
    scene.broker.sight(&queue(), &id(name)).await.expect("read")
}

fn place(sighting: Option<Sighting>) -> Option<Whereabouts> {
    let (place, job) = sighting.expect("it has a record").seen?;
    assert_eq!(job.envelope.id, Some(id("a")));
    Some(place)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_seen_where_its_record_says() {
    let scene = Scene::start().await;
    let job = r#"{"id":"a","action":"send"}"#;
    scene.record("a", &["state", "waiting", "lane", "high"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:high", "x", job, "y"]);
    assert_eq!(place(sight(&scene, "a").await), Some(Whereabouts::Waiting(Lane::High)));
    scene.server.run(&["DEL", "tempest:{mail}:high"]);
    assert_eq!(place(sight(&scene, "a").await), None, "the record tells of a time long gone");

    scene.server.run(&["SADD", "tempest:{mail}:workers", "h-1-b.0", "h-1-a.0"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:run:h-1-a.0", job]);
    scene.record("a", &["state", "running", "worker", "h-1-a"]);
    let worker = WorkerId::new("h-1-a").expect("a name");
    assert_eq!(place(sight(&scene, "a").await), Some(Whereabouts::Held(worker)));

    scene.server.run(&["ZADD", LATER, "5", "other", "5", job, "6", "more"]);
    scene.record("a", &["state", "later", "due", "5"]);
    assert_eq!(place(sight(&scene, "a").await), Some(Whereabouts::Later));

    scene.bury("a", 7, json!({}));
    assert_eq!(place(sight(&scene, "a").await), Some(Whereabouts::Dead));

    scene.record("a", &["state", "done"]);
    let done = sight(&scene, "a").await.expect("a record");
    assert!(done.record.state == State::Done && done.seen.is_none());
    assert!(sight(&scene, "z").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_in_a_long_lane_nobody_looks() {
    let scene = Scene::start().await;
    let mut client = scene.server.client();
    let job = |name: String| json!({ "id": name, "action": "send" }).to_string();
    for number in 0..500 {
        client.run(&["RPUSH", LANE, &job(format!("j{number}"))]);
    }
    for name in ["j0", "j99", "j250", "j401", "j499"] {
        scene.record(name, &["state", "waiting"]);
        let sighting = sight(&scene, name).await.expect("a record");
        assert_eq!(sighting.seen.is_some(), name != "j250", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_of_a_job_is_known_by_its_record() {
    let scene = Scene::start().await;
    let other = Queue::new("other").expect("a name");
    scene.record("a", &["state", "waiting"]);
    let with = scene.broker.queues_with(&[other.clone(), queue()], &id("a")).await.expect("read");
    assert_eq!(with, [queue()]);
    assert!(scene.broker.queues_with(&[other], &id("a")).await.expect("read").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_taken_away_with_its_record_once() {
    let scene = Scene::start().await;
    scene.server.run(&["RPUSH", LANE, r#"{"id":"a","action":"send"}"#]);
    scene.record("a", &["state", "waiting"]);
    let (place, job) = sight(&scene, "a").await.expect("a record").seen.expect("it waits");
    assert!(scene.broker.take_away(&queue(), &place, &job).await.expect("removed"));
    assert_eq!(scene.number(&format!("EXISTS {LANE} {}", record("a"))), 0);
    assert!(!scene.broker.take_away(&queue(), &place, &job).await.expect("nothing to do"));
    let held = Whereabouts::Held(WorkerId::new("h-1-a").expect("a name"));
    assert!(!scene.broker.take_away(&queue(), &held, &job).await.expect("nothing to do"));
}
