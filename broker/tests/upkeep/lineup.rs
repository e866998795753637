//! What runs in a queue, and what comes next.

use tempest_protocol::Lane;

use crate::scene::{LANE, Scene, queue};

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_shown_with_its_record_and_what_waits_in_its_order() {
    let scene = Scene::start().await;
    scene.server.run(&["SADD", "tempest:{mail}:workers", "h-1-a.0", "h-1-a.1"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:run:h-1-a.0", r#"{"id":"a","action":"send"}"#]);
    scene.server.run(&["RPUSH", "tempest:{mail}:run:h-1-a.1", r#"{"action":"send"}"#, "no job"]);
    scene.record("a", &["state", "running", "since", "5", "progress", "[1]"]);
    let in_hand = scene.broker.in_hand(&queue(), 9).await.expect("read");
    assert_eq!(in_hand.len(), 3);
    let record = in_hand[0].record.as_ref().expect("a record");
    assert_eq!((record.since_ms, record.progress.as_ref().expect("told").as_str()), (Some(5), "[1]"));
    assert!(in_hand[1].record.is_none() && in_hand[2].job.is_none());
    assert_eq!(scene.broker.in_hand(&queue(), 1).await.expect("read").len(), 1);

    scene.server.run(&[
        "RPUSH",
        LANE,
        r#"{"id":"x","action":"send"}"#,
        "no job",
        r#"{"id":"y","action":"a"}"#,
    ]);
    let line = scene.broker.in_line(&queue(), Lane::Normal, 2).await.expect("read");
    let ids: Vec<_> = line.iter().map(|it| it.job.as_ref().and_then(|job| job.envelope.id.clone())).collect();
    assert_eq!(ids, [Some(crate::scene::id("x")), None]);
    assert!(scene.broker.in_line(&queue(), Lane::Normal, 0).await.expect("read").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_are_set_aside_are_counted() {
    let scene = Scene::start().await;
    scene.server.run(&["SADD", "tempest:{mail}:asides", "one", "two"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:aside:one", "a", "b"]);
    scene.server.run(&["RPUSH", "tempest:{mail}:aside:two", "c"]);
    assert_eq!(scene.broker.set_aside(&queue()).await.expect("read"), 3);
}
