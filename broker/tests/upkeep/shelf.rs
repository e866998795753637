//! Dead and delayed jobs: shown, run again, removed.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use tempest_broker::{Changed, Filter, Shelf, Shelved};
use tempest_protocol::Action;

use crate::scene::{DEAD, LANE, LATER, Scene, id, queue, record};

fn ids(entries: &[Shelved]) -> Vec<String> {
    entries.iter().map(|entry| entry.id().map_or_else(|| "-".into(), ToString::to_string)).collect()
}

fn done(done: u64) -> Changed {
    Changed { done, ..Changed::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_jobs_are_shown_newest_first_as_far_as_they_are_meant() {
    let scene = Scene::start().await;
    for (name, died_at) in [("a", 1_000), ("b", 3_000), ("c", 2_000), ("d", 2_000)] {
        scene.bury(name, died_at, json!({ "args": { "of": name } }));
    }
    scene.bury("e", 500, json!({ "action": "greet", "error": { "code": "expired", "message": "late" } }));
    scene.server.run(&[
        "ZADD",
        DEAD,
        "1500",
        r#"{"error":{"code":"bad_frame","message":"x"},"died_at":1500,"raw_base64":"AA=="}"#,
    ]);
    let shown = async |filter: Filter| {
        ids(&scene.broker.shelved(&queue(), Shelf::Dead, &filter, 100).await.expect("read"))
    };
    assert_eq!(shown(Filter::default()).await, ["b", "d", "c", "-", "a", "e"]);
    let greet = Some(Action::new("greet").expect("a name"));
    assert_eq!(shown(Filter { action: greet, ..Filter::default() }).await, ["e"]);
    assert_eq!(shown(Filter { code: Some("bad_frame".into()), ..Filter::default() }).await, ["-"]);
    assert_eq!(shown(Filter { text: Some("of c".into()), ..Filter::default() }).await, ["c"]);
    assert_eq!(shown(Filter::default().younger_than(Duration::from_secs(1), 3_000)).await, ["b", "d", "c"]);
    assert_eq!(shown(Filter::default().older_than(Duration::from_secs(1), 3_000)).await, ["-", "a", "e"]);
    let some = BTreeSet::from([id("a"), id("b"), id("z")]);
    assert_eq!(shown(Filter { ids: some, ..Filter::default() }).await, ["b", "a"]);
    let first = scene.broker.shelved(&queue(), Shelf::Dead, &Filter::default(), 1).await.expect("read");
    assert_eq!((first.len(), first[0].at_ms), (1, 3_000));
    assert_eq!(first[0].failure.as_ref().expect("why").message, "no mailbox of b");
    assert_eq!(first[0].job.as_ref().expect("a job").args().bytes(), &br#"{"of":"b"}"#[..]);
    let count = async |filter: &Filter| {
        scene.broker.count_shelved(&queue(), Shelf::Dead, filter).await.expect("read")
    };
    assert_eq!(count(&Filter::default()).await, 6);
    assert_eq!(count(&Filter { code: Some("handler_error".into()), ..Filter::default() }).await, 4);
}

/// More than a page, most of them at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_the_same_time_none_is_missed() {
    let scene = Scene::start().await;
    let mut client = scene.server.client();
    for number in 0..350 {
        let job =
            json!({ "id": format!("j{number}"), "action": if number % 3 == 0 { "send" } else { "greet" } });
        client.run(&["ZADD", LATER, if number < 20 { "5" } else { "6" }, &job.to_string()]);
    }
    let all = scene.broker.shelved(&queue(), Shelf::Later, &Filter::default(), 1_000).await.expect("read");
    assert_eq!(ids(&all).into_iter().collect::<BTreeSet<_>>().len(), 350);
    assert!(all.is_sorted_by_key(|entry| entry.at_ms), "soonest first");
    let send = Filter { action: Some(Action::new("send").expect("a name")), ..Filter::default() };
    assert_eq!(scene.broker.revive_all(&queue(), Shelf::Later, &send).await.expect("moved"), done(117));
    assert_eq!((scene.number(&format!("ZCARD {LATER}")), scene.lane().len()), (233, 117));
    assert_eq!(
        scene.broker.discard_all(&queue(), Shelf::Later, &Filter::default()).await.expect("gone"),
        done(233)
    );
    assert_eq!(scene.number(&format!("EXISTS {LATER}")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_job_runs_again_at_the_end_of_its_lane_with_its_attempts_anew() {
    let scene = Scene::start().await;
    scene.server.run(&["RPUSH", LANE, r#"{"action":"first"}"#]);
    scene.bury("a", 1_000, json!({ "deadline": 7, "args": [1], "queued_at": 3 }));
    scene.server.run(&["RPUSH", &format!("{}:result", record("a")), "x"]);
    scene.server.run(&["HSET", &record("a"), "message", "m", "attempt", "3"]);
    let dead = scene.broker.shelved(&queue(), Shelf::Dead, &Filter::default(), 1).await.expect("read");
    assert_eq!(scene.broker.revive(Shelf::Dead, &dead).await.expect("moved"), done(1));
    assert_eq!(scene.lane()[1], json!({ "id": "a", "action": "send", "args": [1], "queued_at": 3 }));
    assert_eq!(scene.number(&format!("EXISTS {DEAD} {}:result", record("a"))), 0);
    let known = scene.broker.record(&queue(), &id("a")).await.expect("read").expect("a record");
    assert_eq!(
        (known.state.as_str(), known.failure, known.died_at_ms, known.attempt),
        ("waiting", None, None, None)
    );
    assert_eq!((known.action.expect("known").as_str(), known.queued_at_ms), ("send", Some(3)));
    assert!(known.expires_in.expect("it expires") > Duration::from_secs(29 * 24 * 3_600));
    let again = scene.broker.revive(Shelf::Dead, &dead).await.expect("nothing to do");
    assert_eq!(again, Changed { gone: 1, ..Changed::default() }, "of several rivals one moves it");
    assert_eq!(scene.lane().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_is_not_run_but_can_be_removed() {
    let scene = Scene::start().await;
    scene.server.run(&["ZADD", DEAD, "1", r#"{"error":{"code":"bad_frame","message":""},"raw_base64":""}"#]);
    scene.server.run(&["ZADD", DEAD, "2", "\u{fffd}"]);
    scene.bury("a", 2, json!({}));
    let changed = scene.broker.revive_all(&queue(), Shelf::Dead, &Filter::default()).await.expect("moved");
    assert_eq!(changed, Changed { done: 1, gone: 0, no_jobs: 2 });
    assert_eq!(scene.number(&format!("ZCARD {DEAD}")), 2);
    assert_eq!(
        scene.broker.discard_all(&queue(), Shelf::Dead, &Filter::default()).await.expect("gone"),
        done(2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_job_that_is_run_now_stays_as_it_is() {
    let scene = Scene::start().await;
    scene.server.run(&[
        "ZADD",
        LATER,
        "99999999999999",
        r#"{"attempt":2,"id":"a","action":"send","lane":"low"}"#,
    ]);
    scene.record("a", &["state", "later", "due", "99999999999999", "code", "handler_error"]);
    let later = scene.broker.shelved(&queue(), Shelf::Later, &Filter::default(), 9).await.expect("read");
    assert_eq!(scene.broker.revive(Shelf::Later, &later).await.expect("moved"), done(1));
    let low = scene.server.cli("LRANGE tempest:{mail}:low 0 -1").list();
    assert_eq!(low, [br#"{"attempt":2,"id":"a","action":"send","lane":"low"}"#]);
    assert_eq!((scene.says("a", "state"), scene.says("a", "due")), ("waiting".into(), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_job_leaves_nothing_behind_and_lets_its_unique_key_go() {
    let scene = Scene::start().await;
    let unique = |key: &str| format!("tempest:{{mail}}:unique:{key}");
    for (name, key, holder) in [("a", "ka", "a"), ("b", "kb", "other"), ("c", "kc", "!c")] {
        let holds = if name == "c" { "time" } else { "running" };
        scene.bury(name, 1, json!({ "unique": key, "unique_while": holds }));
        scene.server.run(&["SET", &unique(key), holder]);
        scene.server.run(&["RPUSH", &format!("{}:log", record(name)), "line"]);
        scene.server.run(&["RPUSH", &format!("{}:result", record(name)), "reply"]);
    }
    let dead = scene.broker.shelved(&queue(), Shelf::Dead, &Filter::default(), 9).await.expect("read");
    assert_eq!(scene.broker.discard(Shelf::Dead, &dead).await.expect("gone"), done(3));
    let mut left = scene.server.cli("KEYS tempest:{mail}*").list();
    left.sort();
    assert_eq!(
        left,
        [unique("kb").into_bytes(), unique("kc").into_bytes()],
        "not what another one, or time, holds"
    );
    let again = scene.broker.discard(Shelf::Dead, &dead).await.expect("nothing to do");
    assert_eq!(again.gone, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_moved_stays_dead() {
    let scene = Scene::start().await;
    scene.bury("a", 7, json!({}));
    scene.server.run(&["SET", LANE, "no list"]);
    let moved = scene.broker.revive_all(&queue(), Shelf::Dead, &Filter::default()).await;
    assert!(moved.expect_err("refused").to_string().contains("WRONGTYPE"));
    assert_eq!(scene.server.cli(&format!("ZRANGE {DEAD} 0 -1 WITHSCORES")).list()[1], b"7");
    assert_eq!(scene.says("a", "state"), "dead");
}
