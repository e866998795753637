//! What is written.

use tempest_broker::PutSchedule;

use crate::scene::{HOUR, Scene, broker, name, named, queue};

const HOURLY: &str = r#"{"cron":"@hourly","action":"a"}"#;

#[tokio::test]
async fn a_schedule_that_is_the_same_keeps_its_time() {
    let scene = Scene::start().await;
    let now = scene.broker.now_ms();
    assert_eq!(scene.put(HOURLY).await, PutSchedule::Added);
    let due = scene.due().expect("it is due");
    assert!(due > now && due <= now + HOUR && due % HOUR == 0, "{due}");
    assert_eq!(scene.server.cli("SISMEMBER tempest:queues q").integer(), 1, "keepers know its queue");
    scene.set_due(7);
    assert_eq!(scene.put(HOURLY).await, PutSchedule::Unchanged);
    assert_eq!(scene.due(), Some(7), "what was missed is still to be made up for");
    assert_eq!(scene.put(r#"{"cron":"@hourly","action":"b"}"#).await, PutSchedule::Changed);
    assert_eq!(scene.due(), Some(7), "its times are the same");
    assert_eq!(scene.put(r#"{"cron":"@daily","action":"b"}"#).await, PutSchedule::Changed);
    assert!(scene.due() > Some(now));
}

#[tokio::test]
async fn what_others_wrote_into_a_schedule_stays() {
    let scene = Scene::start().await;
    let text = r#"{"colour":"red","cron":"@hourly","action":"a"}"#;
    scene.server.run(&["HSET", "tempest:{q}:schedules", "s", text]);
    assert_eq!(scene.put(HOURLY).await, PutSchedule::Unchanged);
    assert_eq!(scene.text(), text);
    assert!(scene.broker.pause_schedule(&queue(), &name(), true).await.expect("paused"));
    let paused: serde_json::Value = serde_json::from_str(&scene.text()).expect("JSON");
    assert_eq!((&paused["colour"], &paused["paused"]), (&"red".into(), &true.into()));
}

#[tokio::test]
async fn a_paused_schedule_is_not_due_and_goes_on_from_now() {
    let scene = Scene::start().await;
    scene.put(HOURLY).await;
    scene.set_due(7);
    assert!(scene.broker.pause_schedule(&queue(), &name(), true).await.expect("paused"));
    assert_eq!(scene.due(), None);
    let now = scene.broker.now_ms();
    assert!(scene.broker.pause_schedule(&queue(), &name(), false).await.expect("resumed"));
    assert!(scene.due() > Some(now), "nothing is made up for");
    scene.server.cli("DEL tempest:{q}:schedules");
    assert!(!scene.broker.pause_schedule(&queue(), &name(), true).await.expect("there is none"));
}

#[tokio::test]
async fn a_removed_schedule_leaves_nothing() {
    let scene = Scene::start().await;
    scene.put(HOURLY).await;
    scene.server.cli("HSET tempest:{q}:fired s 7");
    assert!(scene.broker.remove_schedule(&queue(), &name()).await.expect("removed"));
    assert_eq!(scene.server.cli("KEYS tempest:{q}*").list(), Vec::<Vec<u8>>::new());
    assert!(!scene.broker.remove_schedule(&queue(), &name()).await.expect("there is none"));
}

#[tokio::test]
async fn all_schedules_are_listed_also_broken_ones() {
    let scene = Scene::start().await;
    scene.put(HOURLY).await;
    scene.server.run(&["HSET", "tempest:{q}:schedules", "bad", "{"]);
    scene.server.run(&["HSET", "tempest:{q}:schedules", "b d", HOURLY]);
    scene.server.cli("HSET tempest:{q}:fired s 12 bad 13:queue_full");
    scene.server.run(&["HSET", "tempest:{q}:fired", "bad", "13 queue_full"]);
    scene.server.cli("SADD tempest:queues odd");
    scene.server.cli("SET tempest:{odd}:schedules oops");
    let listed = scene.broker.schedules(&[]).await.expect("listed");
    let names: Vec<_> = listed.iter().map(|state| state.name.as_str()).collect();
    assert_eq!(names, ["b d", "bad", "s"]);
    assert!(listed[0].schedule.as_ref().expect_err("broken").contains("schedule name"));
    assert!(listed[1].schedule.as_ref().expect_err("broken").contains("cannot be read"));
    let last = listed[1].last.clone().expect("it fired");
    assert_eq!((last.due_ms, last.error.as_deref()), (13, Some("queue_full")));
    assert_eq!(listed[2].schedule.as_ref().expect("good").definition().when(), "@hourly");
    assert_eq!((listed[2].due_ms, listed[2].last.as_ref().map(|last| last.due_ms)), (scene.due(), Some(12)));
}

#[tokio::test]
async fn a_schedule_is_run_by_hand_also_while_it_is_paused() {
    let scene = Scene::start().await;
    scene.put(r#"{"cron":"@hourly","action":"a","args":[1],"keep":5,"paused":true}"#).await;
    let before = scene.broker.now_ms();
    let id = scene.broker.run_schedule(&queue(), &name()).await.expect("run").expect("there");
    let at: u64 = id.as_str().strip_prefix("s.").expect("its name").parse().expect("a time");
    assert!(at >= before, "{at}");
    assert_eq!(scene.ids(), [id.as_str()]);
    assert_eq!((&scene.jobs()[0]["args"], &scene.jobs()[0]["keep"]), (&serde_json::json!([1]), &5.into()));
    let record = scene.broker.record(&queue(), &id).await.expect("asked").expect("a record");
    assert_eq!(record.state, tempest_broker::State::Waiting);
    assert_eq!(scene.due(), None, "it rests as before");
    scene.server.run(&["HSET", "tempest:{q}:schedules", "s", r#"{"action":"a"}"#]);
    let error = scene.broker.run_schedule(&queue(), &name()).await.expect_err("broken");
    assert!(error.to_string().contains("neither cron nor every_ms"), "{error}");
}

#[tokio::test]
async fn schedules_of_a_configuration_come_and_go_with_it() {
    let scene = Scene::start().await;
    let (kept, gone) = (named("kept", HOURLY), named("gone", HOURLY));
    scene.put(HOURLY).await;
    let applied = scene.broker.apply_schedules(&[kept.clone(), gone], false).await.expect("applied");
    assert_eq!(applied.added, ["q/kept", "q/gone"]);
    scene.broker.pause_schedule(&queue(), &kept.name, true).await.expect("paused");
    let again = broker(&scene.server).await;
    let applied = again.apply_schedules(std::slice::from_ref(&kept), false).await.expect("applied");
    assert_eq!((applied.changed, applied.removed), (vec![], vec!["q/gone".to_owned()]));
    let paused = scene.server.cli("HGET tempest:{q}:schedules kept").text();
    assert!(paused.contains(r#""paused":true"#), "what was paused by hand stays paused: {paused}");
    // Another front whose configuration has none is nobody's end; a configuration that had some is.
    let applied = again.apply_schedules(&[], false).await.expect("applied");
    assert_eq!((applied.removed, applied.left), (vec![], vec!["q/kept".to_owned()]));
    let applied = again.apply_schedules(&[], true).await.expect("applied");
    assert_eq!(applied.removed, ["q/kept"]);
    let names: Vec<_> = again.schedules(&[]).await.expect("listed").into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["s"], "what people wrote stays");
}

/// Several fronts start with the same file while a keeper fires: none of them puts a time back that has passed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rivals_that_put_the_same_agree() {
    let scene = Scene::start().await;
    let wanted = [named("s", r#"{"every_ms":100,"action":"a"}"#)];
    scene.broker.keep(crate::scene::hasty_keeper());
    let brokers = [broker(&scene.server).await, broker(&scene.server).await, broker(&scene.server).await];
    let fill = brokers.iter().map(|broker| async {
        for _ in 0..200 {
            broker.apply_schedules(&wanted, false).await.expect("applied");
        }
    });
    futures_util::future::join_all(fill).await;
    tokio::task::block_in_place(|| {
        crate::server::eventually("it fires", || scene.ids().len() > 5);
    });
    scene.broker.close().await;
    let (ids, mut sorted) = (scene.ids(), scene.ids());
    sorted.sort();
    sorted.dedup();
    assert_eq!(ids, sorted, "each time once, one after the other");
}
