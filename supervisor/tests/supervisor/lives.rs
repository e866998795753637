//! Children that live, die and are stopped.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use tempest_protocol::Queue;
use tempest_supervisor::{Origin, WorkerSpec};

use crate::{
    scene::{CLAIMS, is_gone, pid_of, scene, shell},
    server::{self, eventually},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_killed_in_mid_job_is_recovered_at_once_and_replaced() {
    let mut scene = scene(vec![shell("sh", CLAIMS)]).await;
    let pid = scene.started().await;
    let first = scene.line("ready").await;
    let job = r#"{"id":"i","reply_to":"tempest:mailbox:{m}","action":"a"}"#;
    scene.server.run(&["RPUSH", "tempest:{q}", job]);
    eventually("the job is claimed", || scene.server.cli("LLEN tempest:{q}").integer() == 0);
    let begun = Instant::now();
    kill_process(pid, Signal::KILL).unwrap();
    let reply = scene.server.run(&["BLPOP", "tempest:mailbox:{m}", "10"]).list();
    println!("killed to reply: {:?}", begun.elapsed());
    let reply: serde_json::Value = serde_json::from_slice(&reply[1]).unwrap();
    assert_eq!(reply["error"]["code"], "worker_lost");
    assert_eq!(reply["error"]["message"], "killed by signal 9 (SIGKILL)");
    let died = scene.line("killed by signal 9 (SIGKILL); starting again").await;
    assert_eq!((died.label.as_str(), died.origin), ("sh.1", Origin::Supervisor));
    let second = scene.line("ready").await;
    assert_ne!(first.text, second.text, "a new start has a new tag");
    let report = scene.stop().await;
    assert_eq!((report.started, report.died, report.recovered.answered), (2, 1, 1), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_while_redis_is_away_is_recovered_when_it_is_back() {
    let mut scene = scene(vec![shell("sh", CLAIMS)]).await;
    let pid = scene.started().await;
    scene.line("ready").await;
    scene.server.run(&["CONFIG", "SET", "appendfsync", "always"]); // what is claimed stays claimed
    scene.server.run(&["RPUSH", "tempest:{q}", r#"{"action":"a"}"#]);
    eventually("the job is claimed", || scene.server.cli("LLEN tempest:{q}").integer() == 0);
    scene.server.kill();
    kill_process(pid, Signal::KILL).unwrap();
    scene.line("killed by signal 9").await;
    scene.server.restart();
    let mut jobs = scene.server.client();
    let key = "tempest:{q}";
    // Either it lies in its lane again, or the next child has claimed it: both with a raised attempt.
    let raised = |jobs: &mut server::Client| {
        let waiting = jobs.run(&["LRANGE", key, "0", "-1"]).list();
        let entries = jobs.run(&["SMEMBERS", "tempest:{q}:workers"]).list();
        let held = entries.iter().flat_map(|entry| {
            let run = format!("tempest:{{q}}:run:{}", String::from_utf8_lossy(entry));
            jobs.run(&["LRANGE", &run, "0", "-1"]).list()
        });
        held.chain(waiting).any(|frame| frame == br#"{"attempt":2,"action":"a"}"#)
    };
    eventually("it is recovered", || raised(&mut jobs));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_child_leaves_running_ends_with_it() {
    let script = r#"sh -c 'while :; do sleep 1; done' & echo "left $!"; wait"#;
    let mut scene = scene(vec![shell("sh", script)]).await;
    let pid = scene.started().await;
    let left = pid_of(&scene.line("left ").await, "left ");
    kill_process(pid, Signal::KILL).unwrap();
    scene.line("starting again").await;
    eventually("its own child is gone", || is_gone(left));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_asks_first_and_kills_after_the_grace() {
    let polite = r#"trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"#;
    let stubborn = r#"trap '' TERM; echo up $$; while :; do sleep 0.05; done"#;
    let mut scene = scene(vec![shell("polite", polite), shell("stubborn", stubborn)]).await;
    scene.line("up").await;
    scene.line("up").await;
    scene.shutdown.cancel();
    let bye = scene.line("bye").await;
    assert_eq!(bye.label, "polite.1");
    scene.line("killed by signal 9 (SIGKILL)").await;
    let report = scene.stop().await;
    assert_eq!((report.started, report.died, report.killed), (2, 0, 1), "{report}");
}

/// A leader that ends at once does not cost its group the grace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_group_may_use_the_grace() {
    let script =
        r#"sh -c 'trap "sleep 0.2; echo finished; exit" TERM; while :; do sleep 0.05; done' & echo up; wait"#;
    let mut scene = scene(vec![shell("sh", script)]).await;
    scene.line("up").await;
    tokio::time::sleep(Duration::from_millis(100)).await; // until the inner shell has set its trap
    scene.shutdown.cancel();
    scene.line("finished").await;
    assert_eq!(scene.stop().await.killed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_keeps_failing_is_started_ever_less_often() {
    let mut scene = scene(vec![shell("sh", "echo oops >&2; exit 3")]).await;
    let line = scene.line("oops").await;
    assert_eq!((line.label.as_str(), line.origin), ("sh.1", Origin::Stderr));
    scene.line("exited with code 3; starting again in ").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let report = scene.stop().await;
    assert!(report.started >= 3, "{report}");
    assert!(report.started < 40, "{report}");
    assert_eq!(report.started, report.died, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_missing_is_named_and_harms_no_other() {
    let missing = WorkerSpec::new("bad", vec!["no-such-program".into()]);
    let mut nowhere = shell("nowhere", "echo hi");
    nowhere.dir = Some("/no/such/folder".into());
    let mut scene = scene(vec![missing, nowhere, shell("good", "echo hello; sleep 100")]).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let line = scene.lines.recv().await.unwrap();
        let wanted = [
            "cannot start: there is no program no-such-program in PATH",
            "cannot start: there is no folder /no/such/folder",
            "hello",
        ];
        if let Some(found) = wanted.into_iter().find(|text| line.text.starts_with(text))
            && !seen.contains(&found)
        {
            seen.push(found);
        }
    }
    let report = scene.stop().await;
    assert_eq!(report.started, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_learns_where_it_works() {
    let script = r#"echo "$TEMPEST_REDIS_URL $TEMPEST_PREFIX $TEMPEST_QUEUE $TEMPEST_LANES $GREETING $(pwd)"; sleep 100"#;
    let dir = tempfile::TempDir::new().unwrap();
    let mut spec = shell("sh", script);
    spec.queues.push(Queue::new("mail").unwrap());
    spec.lanes = tempest_protocol::Lane::ALL.into();
    spec.env.insert("GREETING".into(), "hi".into());
    spec.dir = Some(dir.path().into());
    let mut scene = scene(vec![spec]).await;
    let line = scene.line("redis://").await;
    let url = scene.broker.settings().url.clone();
    let dir = dir.path().canonicalize().unwrap();
    assert_eq!(line.text, format!("{url} tempest q,mail high,normal,low hi {}", dir.display()));
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn count_makes_that_many_children() {
    let mut spec = shell("sh", "echo here; sleep 100");
    spec.count = 3;
    let mut scene = scene(vec![spec]).await;
    let mut labels = Vec::new();
    for _ in 0..3 {
        labels.push(scene.line("here").await.label);
    }
    labels.sort();
    assert_eq!(labels, ["sh.1", "sh.2", "sh.3"]);
    assert_eq!(scene.stop().await.started, 3);
}
