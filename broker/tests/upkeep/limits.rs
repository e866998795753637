//! Limits of queues: written, read, told.

use tempest_broker::{LimitChange, QueueLimits};
use tempest_protocol::Queue;

use crate::scene::{Scene, queue};

const KEY: &str = "tempest:{mail}:limits";

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_told_and_lifted_each_for_itself() {
    let Scene { server, broker } = Scene::start().await;
    let mut control = server.client();
    control.run(&["SUBSCRIBE", "tempest:{mail}:control"]);
    assert_eq!(broker.limits(&queue()).await.expect("read"), QueueLimits::default());
    let all = [
        LimitChange::Paused(true),
        LimitChange::Concurrency(Some(2)),
        LimitChange::Rate(Some((600, 60_000))),
        LimitChange::PerKey(Some(3)),
    ];
    assert_eq!(broker.set_limits(&queue(), &all).await.expect("set"), 1, "somebody heard it");
    assert_eq!(control.receive().expect("told").list()[2], b"limits");
    let set = QueueLimits { paused: true, concurrency: Some(2), rate: Some(600), per_ms: 60_000, per_key: 3 };
    assert_eq!(broker.limits(&queue()).await.expect("read"), set);
    let some = [LimitChange::Paused(false), LimitChange::Rate(None)];
    broker.set_limits(&queue(), &some).await.expect("set");
    let left = QueueLimits { paused: false, rate: None, per_ms: 1_000, ..set };
    assert_eq!(broker.limits(&queue()).await.expect("read"), left);
    let fields = server.cli(&format!("HKEYS {KEY}")).list();
    assert_eq!(
        fields,
        [b"concurrency".to_vec(), b"per_key".to_vec()],
        "what is lifted leaves nothing behind"
    );
    broker
        .set_limits(&queue(), &[LimitChange::Concurrency(Some(0)), LimitChange::PerKey(None)])
        .await
        .expect("set");
    assert_eq!(server.cli(&format!("EXISTS {KEY}")).integer(), 0, "0 is no limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_several_queues_come_in_their_order() {
    let Scene { server, broker } = Scene::start().await;
    let other = Queue::new("other").expect("a name");
    broker.set_limits(&other, &[LimitChange::Paused(true)]).await.expect("set");
    let limits = broker.limits_of([&queue(), &other]).await.expect("read");
    assert_eq!(limits.iter().map(|limits| limits.paused).collect::<Vec<_>>(), [false, true]);
    assert_eq!(server.cli("SMEMBERS tempest:queues").list(), [b"other"], "it is to be seen");
}
