//! Jobs of groups that are removed: out of their groups, which end without them.

use bytes::Bytes;
use serde_json::{Value, json};
use tempest_broker::{Filter, Purge, Shelf, Whereabouts};
use tempest_protocol::{Encoding, Group, Job, JobId, Keys, Lane, Raw};

use crate::scene::{DEAD, LANE, LATER, Scene, id, queue};

const PENDING: &str = "tempest:{mail}:group:g:pending";

fn group() -> Group {
    Group::new("g").expect("a name")
}

/// A job of the group.
fn member(name: &str, more: Value) -> String {
    let mut job = json!({ "id": name, "action": "send", "group": "mail:g" });
    job.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
    job.to_string()
}

/// A group of these jobs, whose end goes to a lane of its own.
async fn open(scene: &Scene, names: &[impl AsRef<str>]) {
    let then = Bytes::from_static(br#"{"id":"end","action":"sum","lane":"high"}"#);
    let ids: Vec<JobId> = names.iter().map(|name| id(name.as_ref())).collect();
    scene.broker.open_group(&queue(), &group(), &ids, &then).await.expect("opened");
}

/// What the job that ended the group was given, if it has ended.
fn input(scene: &Scene) -> Option<Value> {
    let mut pushed = scene.server.cli("LRANGE tempest:{mail}:high 0 -1").list();
    assert!(pushed.len() <= 1, "a group ends once");
    let end: Value = serde_json::from_slice(&pushed.pop()?).expect("JSON");
    assert_eq!(end["id"], "end");
    Some(end["input"].clone())
}

async fn count(scene: &Scene, name: &str, result: &str) {
    let result = Raw::encode(Encoding::Json, &result).expect("JSON");
    scene.broker.count_in_group(&(queue(), group()), &id(name), &result).await.expect("counted");
}

/// Found by reading: such a group waited until it expired.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_does_not_wait_for_jobs_that_were_removed_from_anywhere() {
    let scene = Scene::start().await;
    open(&scene, &["done", "waiting", "cancelled", "delayed", "dead", "aside", "last"]).await;
    count(&scene, "done", "mine").await;
    let server = &scene.server;
    server.run(&["RPUSH", LANE, &member("cancelled", json!({}))]);
    let frame = Bytes::from(member("cancelled", json!({})));
    let job = Job::decode(frame, &Keys::default()).expect("a job");
    let place = Whereabouts::Waiting(Lane::Normal);
    assert!(scene.broker.take_away(&queue(), &place, &job).await.expect("removed"));
    assert!(!scene.broker.take_away(&queue(), &place, &job).await.expect("it is gone"));
    server.run(&["RPUSH", LANE, &member("waiting", json!({}))]);
    server.run(&["RPUSH", "tempest:{mail}:aside:shop", &member("aside", json!({ "key": "shop" }))]);
    server.run(&["SADD", "tempest:{mail}:asides", "shop"]);
    assert_eq!(scene.broker.purge(&queue(), &Purge::default()).await.expect("purged").waiting, 2);
    server.run(&["ZADD", LATER, "5", &member("delayed", json!({}))]);
    let all = Filter::default();
    scene.broker.discard_all(&queue(), Shelf::Later, &all).await.expect("removed");
    scene.bury("dead", 1_000, json!({ "group": "mail:g" }));
    assert_eq!(scene.number(&format!("SCARD {PENDING}")), 2, "a dead job keeps its group waiting");
    scene.broker.discard_all(&queue(), Shelf::Dead, &all).await.expect("removed");
    assert_eq!((scene.number(&format!("SCARD {PENDING}")), input(&scene)), (1, None));
    scene.bury("last", 1_000, json!({ "group": "mail:g" }));
    let dead = scene.broker.shelved(&queue(), Shelf::Dead, &all, 9).await.expect("read");
    scene.broker.discard(Shelf::Dead, &dead).await.expect("removed");
    assert_eq!(input(&scene), Some(json!(["mine", null, null, null, null, null, null])));
    scene.broker.discard(Shelf::Dead, &dead).await.expect("nothing to do");
    assert_eq!(server.cli("KEYS tempest:{mail}:group:*").list(), [[0; 0]; 0], "nothing of it is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_leaves_dead_by_itself_keeps_its_group_waiting() {
    let scene = Scene::start().await;
    open(&scene, &["dead"]).await;
    scene.bury("dead", 1_000, json!({ "group": "mail:g" }));
    scene.server.run(&["ZREMRANGEBYRANK", DEAD, "0", "-1"]);
    scene.broker.purge(&queue(), &Purge { dead: true, ..Purge::default() }).await.expect("purged");
    assert_eq!((scene.number(&format!("SCARD {PENDING}")), input(&scene)), (1, None));
}

/// Redis serves nobody else while it works on one command: a hundred are counted with each.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_removed_leave_their_group_a_hundred_at_a_time() {
    let scene = Scene::start().await;
    let names: Vec<_> = (0..2_500).map(|number| format!("j{number}")).collect();
    open(&scene, &names).await;
    let mut client = scene.server.client();
    for name in &names {
        client.run(&["RPUSH", LANE, &member(name, json!({}))]);
    }
    // Another group, whose job is among them, and one that is not known.
    let other = Group::new("other").expect("a name");
    let then = Bytes::from_static(br#"{"id":"other-end","action":"sum","lane":"low"}"#);
    scene.broker.open_group(&queue(), &other, &[id("o")], &then).await.expect("opened");
    client.run(&["RPUSH", LANE, r#"{"id":"o","action":"send","group":"mail:other"}"#]);
    client.run(&["RPUSH", LANE, r#"{"id":"u","action":"send","group":"mail:unknown"}"#]);
    let normal = Purge { lanes: vec![Lane::Normal], ..Purge::default() };
    assert_eq!(scene.broker.purge(&queue(), &normal).await.expect("purged").waiting, 2_502);
    assert_eq!(input(&scene), Some(Value::from(vec![Value::Null; 2_500])));
    assert_eq!(scene.number("LLEN tempest:{mail}:low"), 1);
    let stats = scene.server.cli("INFO commandstats").text();
    let removals = stats.lines().find(|line| line.starts_with("cmdstat_srem:")).expect("some");
    assert!(removals.starts_with("cmdstat_srem:calls=27,"), "{removals}");
}
