//! What a supervisor tells Redis: beats for children that do not, how all of them are; and what it hears there.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempest_supervisor::{Options, WorkerSpec};

use crate::{
    scene::{CLAIMS, WORKS, is_gone, pid_of, scene, scene_with, shell},
    server::eventually,
};

/// A worker of three lines: it neither registers nor beats.
const PLAIN: &str = r#"
echo "plain $$ $TEMPEST_WORKER_ID"
redis-cli -u "$TEMPEST_REDIS_URL" BLMOVE "tempest:{q}" "tempest:{q}:run:$TEMPEST_WORKER_ID.0" LEFT RIGHT 0 >/dev/null
sleep 1000
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_does_not_beat_is_beaten_for_as_long_as_it_runs() {
    let spec = WorkerSpec { is_beaten_for: true, ..shell("sh", PLAIN) };
    let mut scene = scene(vec![spec]).await;
    let line = scene.line("plain ").await.text;
    let (pid, id) = line.trim_start_matches("plain ").split_once(' ').expect("two words");
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    assert!(id.contains("-sh.1-"), "{id}");
    let lease = format!("tempest:{{q}}:lease:{id}");
    let mut redis = scene.server.client();
    let mut lives = || redis.run(&["EXISTS", &lease]).integer() == 1;
    eventually("it has a lease", &mut lives);
    assert_eq!(scene.server.run(&["SISMEMBER", "tempest:{q}:workers", &format!("{id}.0")]).integer(), 1);
    // Longer than a lease: it is renewed.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(lives());
    // A stopped process cannot beat; it must not seem to live.
    kill_process(pid, Signal::STOP).unwrap();
    eventually("its lease is over", || !lives());
    kill_process(pid, Signal::CONT).unwrap();
    eventually("it has one again", &mut lives);
    // What it holds is found when it dies.
    scene.server.run(&[
        "RPUSH",
        "tempest:{q}",
        r#"{"id":"i","reply_to":"tempest:mailbox:{m}","action":"a"}"#,
    ]);
    eventually("the job is claimed", || scene.server.cli("LLEN tempest:{q}").integer() == 0);
    kill_process(pid, Signal::KILL).unwrap();
    let reply = scene.server.run(&["BLPOP", "tempest:mailbox:{m}", "10"]).list();
    assert!(String::from_utf8_lossy(&reply[1]).contains("worker_lost"), "{reply:?}");
    eventually("its lease is gone", || !lives());
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_the_children_are_is_said_until_the_end() {
    let mut scene = scene(vec![shell("sh", WORKS)]).await;
    let pid = pid_of(&scene.line("works ").await, "works ");
    let broker = scene.broker.clone();
    let said = async || {
        let supervisors = broker.supervisors().await.expect("Redis is there");
        supervisors.first().map(|it| serde_json::from_slice::<Value>(&it.about).expect("JSON"))
    };
    let about = loop {
        if let Some(about) = said().await
            && about["workers"][0]["memory"].is_u64()
        {
            break about;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let worker = &about["workers"][0];
    assert_eq!(
        (&worker["name"], &worker["number"], &worker["state"]),
        (&"sh".into(), &1.into(), &"running".into())
    );
    assert_eq!(worker["pid"], pid.as_raw_nonzero().get());
    assert_eq!((&worker["restarts"], &worker["last_death"]), (&0.into(), &Value::Null));
    kill_process(pid, Signal::KILL).unwrap();
    scene.line("works ").await;
    loop {
        let about = said().await.expect("it is said on");
        let worker = &about["workers"][0];
        if worker["restarts"] == 1 && worker["state"] == "running" {
            assert_eq!(worker["last_death"]["cause"], "killed by signal 9 (SIGKILL)", "{about}");
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.shutdown.cancel();
    (&mut scene.run).await.expect("no panic");
    assert_eq!(said().await, None, "nothing is left");
}

/// Only the worker that holds the job is ended, and the job vanishes instead of being lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_that_does_not_stop_costs_its_worker() {
    let stubborn = CLAIMS.replace("r BLMOVE", "trap '' TERM\nr BLMOVE");
    let mut spec = shell("sh", &stubborn);
    spec.count = 2;
    let options = Options { grace: Duration::from_millis(300), ..Options::default() };
    let mut scene = scene_with(vec![spec], options).await;
    let pids = [scene.started().await, scene.started().await];
    scene.line("ready").await;
    scene.line("ready").await;
    let job = r#"{"id":"stuck","reply_to":"tempest:mailbox:{m}","action":"a","attempts":5}"#;
    scene.server.run(&["RPUSH", "tempest:{q}", job]);
    eventually("the job is claimed", || scene.server.cli("LLEN tempest:{q}").integer() == 0);
    eventually("the supervisor hears it", || {
        scene.server.run(&["PUBLISH", "tempest:{q}:control", "kill stuck 100"]).integer() > 0
    });
    scene.line("ended because a cancelled job did not stop; ending it").await;
    scene.line("replaced (pid ").await;
    eventually("one is gone", || pids.iter().filter(|pid| is_gone(**pid)).count() == 1);
    let report = scene.stop().await;
    assert_eq!(
        (report.recovered.dropped, report.recovered.answered, report.recovered.requeued),
        (1, 0, 0),
        "{report}"
    );
}
