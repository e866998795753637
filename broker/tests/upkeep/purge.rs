//! Queues that are emptied.

use serde_json::{Value, json};
use tempest_broker::{Purge, Purged};
use tempest_protocol::Lane;

use crate::scene::{DEAD, LANE, LATER, Scene, queue, record};

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_with_its_records_and_what_runs_stays() {
    let scene = Scene::start().await;
    let mut client = scene.server.client();
    for number in 0..250 {
        let job = json!({ "id": format!("j{number}"), "action": "send", "unique": format!("k{number}") });
        client.run(&["RPUSH", LANE, &job.to_string()]);
        client.run(&["HSET", &record(&format!("j{number}")), "state", "waiting"]);
        client.run(&["SET", &format!("tempest:{{mail}}:unique:k{number}"), &format!("j{number}")]);
    }
    client.run(&["RPUSH", "tempest:{mail}:high", "no job", r#"{"action":"a"}"#]);
    client.run(&["RPUSH", "tempest:{mail}:aside:shop", r#"{"id":"s","action":"a","key":"shop"}"#]);
    client.run(&["SADD", "tempest:{mail}:asides", "shop"]);
    client.run(&["RPUSH", "tempest:{mail}:run:h-1-a.0", r#"{"id":"r","action":"a"}"#]);
    client.run(&["ZADD", LATER, "5", r#"{"action":"a"}"#]);
    scene.bury("d", 1, json!({}));
    let purged = scene.broker.purge(&queue(), &Purge::default()).await.expect("purged");
    assert_eq!(purged, Purged { waiting: 253, later: 0, dead: 0 });
    let mut left = scene.server.cli("KEYS *").list();
    left.sort();
    let record = record("d");
    let mut all = [LATER, DEAD, "tempest:{mail}:run:h-1-a.0", &*record].map(|key| key.as_bytes().to_vec());
    all.sort();
    assert_eq!(left, all);
    let all = Purge { later: true, dead: true, ..Purge::default() };
    assert_eq!(
        scene.broker.purge(&queue(), &all).await.expect("purged"),
        Purged { waiting: 0, later: 1, dead: 1 }
    );
    assert_eq!(scene.server.cli("KEYS *").list(), [b"tempest:{mail}:run:h-1-a.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn some_lanes_are_purged_and_whoever_waits_is_told() {
    let scene = Scene::start().await;
    let job = json!({ "id": "w", "action": "url", "reply_to": "tempest:mailbox:{m}" }).to_string();
    scene.server.run(&["RPUSH", "tempest:{mail}:low", &job]);
    scene.server.run(&["RPUSH", LANE, r#"{"action":"a"}"#]);
    let low = Purge { lanes: vec![Lane::Low], ..Purge::default() };
    assert_eq!(scene.broker.purge(&queue(), &low).await.expect("purged").waiting, 1);
    assert_eq!(scene.lane().len(), 1);
    let told = scene.server.cli("LPOP tempest:mailbox:{m}").bytes();
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    assert_eq!((&told["id"], &told["error"]["code"]), (&json!("w"), &json!("cancelled")));
}
