//! A job by its id, without a search.

use bytes::Bytes;
use serde_json::json;
use tempest_broker::{Admitted, Sighting, State, Whereabouts};
use tempest_protocol::{Lane, Queue, Tag, WorkerId};

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

const ASIDE: &str = "tempest:{mail}:aside:shop";

/// A job in the lane `high` that a slot claims and has to set aside: another one runs a job of its key.
async fn set_aside(scene: &Scene, name: &str) -> Bytes {
    let job =
        json!({ "id": name, "action": "send", "lane": "high", "key": "shop", "unique": "u" }).to_string();
    scene.server.run(&["SADD", "tempest:{mail}:key:shop", "h-1-a.0"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:run:h-1-a.0", "one that runs"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:run:h-1-b.0", &job]);
    let (run, frame) = (scene.broker.run_list_of(&queue(), "h-1-b.0"), Bytes::from(job));
    let key = Tag::new("shop").expect("a name");
    let admitted = scene.broker.admit(&run, &frame, &key, Some(&id(name))).await.expect("asked");
    assert_eq!(admitted, Admitted::SetAside);
    frame
}

fn aside() -> Whereabouts {
    Whereabouts::SetAside { lane: Lane::High, key: Tag::new("shop").expect("a name") }
}

/// Its record says for which key it waits: it lies in no lane.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_set_aside_is_seen_and_taken_away_with_all_that_is_known_of_it() {
    let scene = Scene::start().await;
    scene.record("a", &["state", "waiting", "lane", "high"]);
    scene.server.run(&["SET", "tempest:{mail}:unique:u", "a"]);
    set_aside(&scene, "a").await;
    assert_eq!(scene.says("a", "key"), "shop");
    assert!(scene.number("PTTL tempest:{mail}:job:a") > 60_000, "it lives on");
    let (place, job) = sight(&scene, "a").await.expect("a record").seen.expect("it is set aside");
    assert_eq!(place, aside());
    assert!(scene.broker.take_away(&queue(), &place, &job).await.expect("removed"));
    let left = format!("EXISTS {ASIDE} tempest:{{mail}}:asides tempest:{{mail}}:unique:u {}", record("a"));
    assert_eq!(scene.number(&left), 0);
    assert!(!scene.broker.take_away(&queue(), &place, &job).await.expect("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_set_aside_once_is_seen_in_its_lane() {
    let scene = Scene::start().await;
    scene.record("a", &["state", "waiting", "lane", "high"]);
    set_aside(&scene, "a").await;
    scene.server.run(&["LMOVE", ASIDE, "tempest:{mail}:high", "LEFT", "LEFT"]);
    assert_eq!(place(sight(&scene, "a").await), Some(Whereabouts::Waiting(Lane::High)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_a_record_is_found_where_it_is_set_aside_and_gets_none() {
    let scene = Scene::start().await;
    for number in 0..100 {
        set_aside(&scene, &format!("j{number}")).await;
    }
    for name in ["j0", "j50", "j99"] {
        let (place, _) =
            scene.broker.find(&queue(), &id(name), &Lane::ALL).await.expect("looked").expect(name);
        assert_eq!(place, aside());
        assert_eq!(scene.number(&format!("EXISTS {}", record(name))), 0);
    }
    assert!(scene.broker.find(&queue(), &id("j0"), &[Lane::Low]).await.expect("looked").is_none());
}

/// Whoever gave up waiting for a job that is set aside takes it back as out of a lane.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_set_aside_is_cancelled_by_its_bytes() {
    let scene = Scene::start().await;
    let frame = set_aside(&scene, "a").await;
    let cancel = async || scene.broker.cancel(&queue(), Lane::High, &frame, &id("a"), 1, None).await;
    assert!(cancel().await.expect("cancelled"), "it waited");
    assert_eq!(scene.number(&format!("EXISTS {ASIDE} tempest:{{mail}}:asides")), 0);
    assert!(!cancel().await.expect("told"), "it is not there");
}
