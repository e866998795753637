//! Who fires, when, and how often.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tempest_broker::KeeperOptions;
use tempest_protocol::limits;

use crate::{
    scene::{HOUR, Scene, broker, hasty_keeper, jobs, lazy_keeper, name, queue},
    server::{Server, eventually},
};

const MINUTE: u64 = 60_000;

fn wait(what: &str, holds: impl FnMut() -> bool) {
    tokio::task::block_in_place(|| eventually(what, holds));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_due_is_pushed_with_its_record() {
    let scene = Scene::start().await;
    scene.put(r#"{"cron":"@hourly","action":"a","args":{"n":1},"lane":"high","ttl_ms":5000}"#).await;
    let due = scene.broker.now_ms() - 1_000;
    scene.set_due(due);
    scene.broker.keep(hasty_keeper());
    wait("it fires", || scene.due() > Some(due));
    let frame = scene.server.cli("LINDEX tempest:{q}:high 0").text();
    let job: serde_json::Value = serde_json::from_str(&frame).expect("JSON");
    assert_eq!(
        (job["id"].as_str(), job["deadline"].as_u64()),
        (Some(&*format!("s.{due}")), Some(due + 5_000))
    );
    assert_eq!(job["args"], serde_json::json!({"n": 1}));
    let id = tempest_protocol::JobId::new(format!("s.{due}")).expect("an id");
    let record = scene.broker.record(&queue(), &id).await.expect("asked").expect("a record");
    assert_eq!((record.state, record.lane), (tempest_broker::State::Waiting, tempest_protocol::Lane::High));
    assert!(record.expires_in.expect("it expires") <= limits::RECORD_AGE_MAX);
    assert_eq!(scene.server.cli("HGET tempest:{q}:fired s").text(), due.to_string());
    let next = scene.due().expect("it goes on");
    assert!(next > scene.broker.now_ms() && next % HOUR == 0, "{next}");
}

/// A keeper that looks every ten minutes fires in between what it knows to be due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_wakes_for_what_is_due() {
    let scene = Scene::start().await;
    scene.put(r#"{"every_ms":300,"action":"a"}"#).await;
    let mut keeper = scene.broker.keep(lazy_keeper());
    keeper.looked(1).await;
    wait("it fires again and again", || scene.ids().len() >= 4);
    scene.broker.close().await;
    for job in scene.jobs() {
        let (id, pushed) = (job["id"].as_str().expect("an id"), job["queued_at"].as_u64().expect("a time"));
        let due: u64 = id.trim_start_matches("s.").parse().expect("a time");
        assert!(due.is_multiple_of(300) && pushed >= due, "{id} at {pushed}");
    }
}

/// Three keepers, of which two die while schedules fire: each time has one job, none is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_three_keepers_one_fires_whoever_dies() {
    let scene = Scene::start().await;
    scene.put(r#"{"every_ms":100,"action":"a","missed":"all"}"#).await;
    let first = scene.due().expect("it is due");
    let doomed = [broker(&scene.server).await, broker(&scene.server).await];
    for broker in [&doomed[0], &doomed[1], &scene.broker] {
        broker.keep(hasty_keeper());
    }
    for (deaths, broker) in doomed.into_iter().enumerate() {
        wait("it fires", || scene.ids().len() >= 10 * (deaths + 1));
        broker.close().await;
    }
    let then = scene.ids().len();
    wait("it goes on", || scene.ids().len() >= then + 10);
    scene.broker.close().await;
    let times: Vec<_> = (0..).map(|n| format!("s.{}", first + n * 100)).take(scene.ids().len()).collect();
    assert_eq!(scene.ids(), times);
}

/// A keeper is cut off in the middle of making up for a thousand firings; its rival does the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_keeper_leaves_unfinished_another_one_finishes() {
    let scene = Scene::start().await;
    scene.put(r#"{"cron":"0 * * * *","action":"a","missed":"all"}"#).await;
    let last = scene.broker.now_ms() / HOUR * HOUR;
    scene.set_due(last - 499 * HOUR);
    let doomed = broker(&scene.server).await;
    doomed.keep(hasty_keeper());
    wait("it has begun", || !scene.ids().is_empty());
    doomed.close().await;
    scene.broker.keep(hasty_keeper());
    wait("all are made up for", || scene.due() > Some(last));
    let times: Vec<_> = (0..500).map(|n| format!("s.{}", last - (499 - n) * HOUR)).collect();
    assert_eq!(scene.ids()[..500], times);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_firings_are_made_up_for_by_policy() {
    for (missed, expected) in [("skip", 0), ("once", 1), ("all", 5)] {
        let scene = Scene::start().await;
        scene.put(&format!(r#"{{"cron":"0 0 * * *","action":"a","missed":"{missed}"}}"#)).await;
        // Yesterday's midnight and four before it: today's may be a minute ago.
        let day = 24 * HOUR;
        let last = (scene.broker.now_ms() - 2 * MINUTE) / day * day;
        scene.set_due(last - 4 * day);
        scene.broker.keep(hasty_keeper());
        wait("it goes on", || scene.due() > Some(last));
        scene.broker.close().await;
        let ids = scene.ids();
        let made_up: Vec<_> = ids.iter().filter(|id| **id <= format!("s.{last}")).collect();
        assert_eq!(made_up.len(), expected, "{missed}: {ids:?}");
        if expected > 0 {
            assert_eq!(made_up.last(), Some(&&format!("s.{last}")), "the last of them");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_schedule_does_not_fire() {
    let scene = Scene::start().await;
    scene.put(r#"{"every_ms":100,"action":"a"}"#).await;
    scene.broker.keep(hasty_keeper());
    wait("it fires", || !scene.ids().is_empty());
    scene.broker.pause_schedule(&queue(), &name(), true).await.expect("paused");
    let then = scene.ids();
    let rival = broker(&scene.server).await;
    rival.keep(hasty_keeper()).looked(3).await;
    assert_eq!(scene.ids(), then);
    scene.broker.pause_schedule(&queue(), &name(), false).await.expect("resumed");
    wait("it goes on", || scene.ids().len() > then.len());
}

/// Somebody writes `paused` by hand and leaves the time as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_paused_by_hand_leaves_out_what_is_due() {
    let scene = Scene::start().await;
    let text = r#"{"every_ms":100,"action":"a","paused":true}"#;
    scene.server.run(&["HSET", "tempest:{q}:schedules", "s", text]);
    scene.server.cli("SADD tempest:queues q");
    scene.set_due(scene.broker.now_ms() - 50);
    scene.broker.keep(hasty_keeper());
    wait("it is due no more", || scene.due().is_none());
    assert!(scene.ids().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_written_by_hand_gets_its_time() {
    let scene = Scene::start().await;
    scene.server.run(&["HSET", "tempest:{q}:schedules", "s", r#"{"every_ms":100,"action":"a"}"#]);
    scene.server.cli("SADD tempest:queues q");
    scene.broker.keep(hasty_keeper());
    wait("it fires", || !scene.ids().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_lane_leaves_a_firing_out_and_says_so() {
    let scene = Scene::start().await;
    scene.put(r#"{"cron":"@hourly","action":"a"}"#).await;
    scene.server.cli("RPUSH tempest:{q} a b c");
    let due = scene.broker.now_ms() - 1_000;
    scene.set_due(due);
    scene.broker.keep(KeeperOptions { backlog_jobs_max: 3, ..hasty_keeper() });
    wait("it goes on", || scene.due() > Some(due));
    assert_eq!(scene.server.cli("LLEN tempest:{q}").integer(), 3);
    assert_eq!(scene.server.cli("HGET tempest:{q}:fired s").text(), format!("{due} queue_full"));
}

/// What is logged while a test runs, of all its threads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn all(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// The only line with this text.
    #[track_caller]
    fn only(&self, text: &str) -> String {
        let all = self.all();
        let mut with = all.iter().filter(|line| line.contains(text));
        let line = with.next().unwrap_or_else(|| panic!("{text}: {all:#?}"));
        assert_eq!(with.next(), None, "said twice");
        line.clone()
    }
}

/// Broken definitions, names and keys harm no other schedule and are said once.
#[tokio::test]
async fn what_is_broken_harms_no_other() {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(log);
    let server = Server::start();
    for (name, text) in [
        ("broken", "{"),
        ("wrong", r#"{"cron":"61 * * * *","action":"a"}"#),
        ("a b", r#"{"every_ms":100,"action":"a"}"#),
        ("good", r#"{"every_ms":100,"action":"a"}"#),
    ] {
        server.run(&["HSET", "tempest:{q}:schedules", name, text]);
        server.run(&["ZADD", "tempest:{q}:due", "1", name]);
    }
    server.run(&["ZADD", "tempest:{q}:due", "1", "nobody"]);
    server.cli("SADD tempest:queues q odd other");
    server.cli("SET tempest:{odd}:due oops");
    server.cli("SET tempest:{other}:schedules oops");
    server.run(&["ZADD", "tempest:{other}:due", "1", "x"]);
    server.cli("SET tempest:{other}:fired oops");
    let broker = broker(&server).await;
    let mut keeper = broker.keep(hasty_keeper());
    // The good one fires, and more than once.
    let mut looks = 0;
    while jobs(&server).len() < 3 {
        looks += 1;
        keeper.looked(looks).await;
    }
    broker.close().await;
    let said = "a schedule does not fire";
    for (queue, name, why) in [
        ("q", "broken", "cannot be read"),
        ("q", "wrong", "out of bounds"),
        ("q", "a b", "cannot contain ' '"),
        ("odd", "", "WRONGTYPE"),
        ("other", "", "WRONGTYPE"),
    ] {
        let line = lines.only(&format!("{said} queue={queue} schedule={name:?}"));
        assert!(line.contains(why), "{line}");
    }
    assert_eq!(lines.all().iter().filter(|line| line.contains(said)).count(), 5, "{:#?}", lines.all());
}
