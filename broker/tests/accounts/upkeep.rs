//! Looking after background jobs, each as its own account; Redis denies nothing.

use tempest_broker::{Broker, Filter, LimitChange, Purge, Shelf, acl::Role};
use tempest_protocol::{JobId, Lane};

use crate::scene::{Scene, queue};

const JOB: &str = r#"{"id":"a","action":"send","unique":"k"}"#;
const DEAD: &str = r#"{"error":{"code":"x","message":""},"id":"a","action":"send","unique":"k"}"#;

/// One dead and one delayed job, one that waits, one that is set aside, one that runs.
fn fill(scene: &Scene) {
    for command in [
        &["SADD", "tempest:queues", "mail"][..],
        &["SADD", "tempest:{mail}:workers", "host-1-abc.0"],
        &["RPUSH", "tempest:{mail}:run:host-1-abc.0", JOB],
        &["RPUSH", "tempest:{mail}", JOB],
        &["RPUSH", "tempest:{mail}:aside:k", JOB],
        &["SADD", "tempest:{mail}:asides", "k"],
        &["SET", "tempest:{mail}:unique:k", "a"],
        &["ZADD", "tempest:{mail}:dead", "1", DEAD, "2", "x"],
        &["ZADD", "tempest:{mail}:later", "1", JOB],
        &["HSET", "tempest:{mail}:job:a", "state", "dead", "died_at", "1"],
    ] {
        scene.server.run(command);
    }
}

/// Everything that changes nothing.
async fn look(broker: &Broker) {
    let id = JobId::new("a").expect("a name");
    for shelf in [Shelf::Later, Shelf::Dead] {
        assert!(!broker.shelved(&queue(), shelf, &Filter::default(), 9).await.expect("seen").is_empty());
        broker.count_shelved(&queue(), shelf, &Filter::default()).await.expect("seen");
    }
    assert!(broker.sight(&queue(), &id).await.expect("seen").expect("a record").seen.is_some());
    broker.queues_with(&[queue()], &id).await.expect("seen");
    let nobody = JobId::new("nobody").expect("a name");
    assert!(broker.find(&queue(), &nobody, &Lane::ALL).await.expect("looked everywhere").is_none());
    assert_eq!(broker.in_hand(&queue(), 9).await.expect("seen").len(), 1);
    assert_eq!(broker.in_line(&queue(), Lane::Normal, 9).await.expect("seen").len(), 1);
    assert_eq!(broker.set_aside(&queue()).await.expect("seen"), 1);
    broker.job_log(&queue(), &id, 0).await.expect("seen");
    broker.result(&queue(), &id).await.expect("seen");
    broker.limits(&queue()).await.expect("seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_sees_jobs_and_changes_none() {
    let scene = Scene::start().await;
    fill(&scene);
    let inspector = scene.broker(Role::Inspector).await;
    look(&inspector).await;
    scene.denied_nothing();
    assert!(inspector.set_limits(&queue(), &[LimitChange::Paused(true)]).await.is_err());
    assert!(inspector.revive_all(&queue(), Shelf::Dead, &Filter::default()).await.is_err());
    assert!(inspector.discard_all(&queue(), Shelf::Dead, &Filter::default()).await.is_err());
    assert!(inspector.purge(&queue(), &Purge::default()).await.is_err());
    look(&scene.broker(Role::Front).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pushes_looks_after_jobs() {
    for role in [Role::Caller, Role::Front, Role::Supervisor, Role::Up] {
        let scene = Scene::start().await;
        fill(&scene);
        let broker = scene.broker(role).await;
        look(&broker).await;
        broker
            .set_limits(&queue(), &[LimitChange::Paused(true), LimitChange::PerKey(None)])
            .await
            .expect("set");
        assert_eq!(broker.revive_all(&queue(), Shelf::Dead, &Filter::default()).await.expect("run").done, 1);
        assert_eq!(broker.revive_all(&queue(), Shelf::Later, &Filter::default()).await.expect("run").done, 1);
        assert_eq!(
            broker.discard_all(&queue(), Shelf::Dead, &Filter::default()).await.expect("gone").done,
            1
        );
        let all = Purge { later: true, dead: true, ..Purge::default() };
        assert_eq!(broker.purge(&queue(), &all).await.expect("purged").waiting, 4, "{role:?}");
        scene.denied_nothing();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_removes_a_job_ends_the_group_of_which_it_was_the_last() {
    for role in [Role::Caller, Role::Front, Role::Supervisor, Role::Up] {
        let scene = Scene::start().await;
        let then = r#"{"id":"end","action":"sum","lane":"high"}"#;
        for command in [
            &["HSET", "tempest:{mail}:group:g", "then", then, "jobs", r#"["a"]"#][..],
            &["SADD", "tempest:{mail}:group:g:pending", "a"],
            &["RPUSH", "tempest:{mail}", r#"{"id":"a","action":"send","group":"mail:g"}"#],
        ] {
            scene.server.run(command);
        }
        let normal = Purge { lanes: vec![Lane::Normal], ..Purge::default() };
        let broker = scene.broker(role).await;
        assert_eq!(broker.purge(&queue(), &normal).await.expect("purged").waiting, 1, "{role:?}");
        assert_eq!(scene.server.cli("LLEN tempest:{mail}:high").integer(), 1, "{role:?}");
        scene.denied_nothing();
    }
}
