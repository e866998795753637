//! Children beyond their limits.

use std::time::Duration;

use tempest_protocol::Backoff;
use tempest_supervisor::{Limits, Options, Phase, WorkerSpec};

use crate::{
    scene::{CLAIMS, Scene, WORKS, is_gone, pid_of, scene, scene_with, shell},
    server::eventually,
};

fn limited(script: &str, limits: Limits) -> WorkerSpec {
    WorkerSpec { limits, ..shell("sh", script) }
}

/// Nobody is killed here, however slow the machine is.
async fn patient(spec: WorkerSpec) -> Scene {
    scene_with(vec![spec], Options { settled: Duration::from_millis(500), ..Options::default() }).await
}

/// The one that works is replaced by another that works, and is told to end only then. Gives what was said.
async fn is_replaced(mut scene: Scene) -> String {
    let first = pid_of(&scene.line("works ").await, "works ");
    let said = scene.line("; starting the next").await.text;
    assert_ne!(pid_of(&scene.line("works ").await, "works "), first);
    assert_eq!(pid_of(&scene.line("ends ").await, "ends "), first, "it ends after the next one works");
    let report = scene.stop().await;
    assert_eq!((report.died, report.killed), (0, 0), "{report}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_uses_too_much_memory_is_replaced() {
    // A dozen MiB in a variable of the first child only.
    let hungry = WORKS.replace(
        "echo \"works",
        "[ -e fed ] || { touch fed; x=$(head -c 12000000 /dev/zero | tr '\\0' x); }\necho \"works",
    );
    let folder = tempfile::TempDir::new().unwrap();
    let mut spec = limited(&hungry, Limits { memory_bytes: Some(10 << 20), ..Limits::default() });
    spec.dir = Some(folder.path().into());
    let said = is_replaced(patient(spec).await).await;
    assert!(said.starts_with("it uses ") && said.contains("MiB of memory, more than 10"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_too_old_is_replaced() {
    let limits = Limits { age: Some(Duration::from_secs(1)), ..Limits::default() };
    let said = is_replaced(patient(limited(WORKS, limits)).await).await;
    assert!(said.starts_with("it is ") && said.ends_with(" s old; starting the next"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_finished_its_number_of_jobs_is_replaced() {
    let tells = WORKS.replace("'{}'", r#"'{"done":7}'"#);
    let limits = Limits { jobs: Some(7), ..Limits::default() };
    let said = is_replaced(patient(limited(&tells, limits)).await).await;
    assert_eq!(said, "it has finished 7 jobs; starting the next");
}

/// What waits for the job is told why; the job's own limit counts from when it was claimed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_job_runs_too_long_is_ended() {
    let stubborn = CLAIMS.replace("r BLMOVE", "trap '' TERM\nr BLMOVE");
    let limits = Limits { run: Some(Duration::from_secs(1)), ..Limits::default() };
    let mut scene = scene(vec![limited(&stubborn, limits)]).await;
    let pid = scene.started().await;
    scene.line("ready").await;
    let job = r#"{"id":"i","reply_to":"tempest:mailbox:{m}","action":"a"}"#;
    scene.server.run(&["RPUSH", "tempest:{q}", job]);
    scene.line("a job ran longer than 1000 ms; ending it").await;
    scene.line("ready").await; // the next one is there at once
    let reply = scene.server.run(&["BLPOP", "tempest:mailbox:{m}", "10"]).list();
    let reply: serde_json::Value = serde_json::from_slice(&reply[1]).unwrap();
    assert_eq!(reply["error"]["message"], "a job ran longer than 1000 ms", "{reply}");
    eventually("it is gone", || is_gone(pid));
    let report = scene.stop().await;
    assert_eq!((report.died, report.recovered.answered), (0, 1), "{report}");
    assert!(report.killed >= 1, "it ignores SIGTERM: {report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_takes_nothing_although_jobs_wait_is_ended() {
    let limits = Limits { stall: Some(Duration::from_secs(2)), ..Limits::default() };
    let mut scene = scene(vec![limited(WORKS, limits)]).await;
    let first = pid_of(&scene.line("works ").await, "works ");
    scene.server.run(&["RPUSH", "tempest:{q}", r#"{"action":"a"}"#]);
    scene.line("no progress for 2000 ms; ending it").await;
    assert_ne!(pid_of(&scene.line("works ").await, "works "), first);
    scene.stop().await;
}

/// What waits in a lane that it does not serve is not its concern.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_without_anything_to_do_is_left_alone() {
    let limits = Limits { stall: Some(Duration::from_secs(1)), ..Limits::default() };
    let mut scene = scene(vec![limited(WORKS, limits)]).await;
    let pid = pid_of(&scene.line("works ").await, "works ");
    scene.server.run(&["RPUSH", "tempest:{q}:low", r#"{"action":"a","lane":"low"}"#]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!is_gone(pid));
    assert_eq!(scene.stop().await.started, 1);
}

/// Limits that no child can keep must not have the next one started every second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_has_just_been_started_is_not_replaced() {
    let limits = Limits { memory_bytes: Some(1), ..Limits::default() };
    let mut scene = scene(vec![limited(WORKS, limits)]).await;
    scene.line("works ").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(scene.stop().await.started, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_is_shown_and_ends_with_a_restart() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("broken"), "").unwrap();
    let mut spec = shell("sh", WORKS);
    spec.dir = Some(folder.path().to_owned());
    let options = Options {
        backoff: Backoff { base_ms: 1, cap_ms: 1 },
        crashes_max: 3,
        crash_pause: Duration::from_secs(3_600),
        ..Options::default()
    };
    let mut scene = scene_with(vec![spec], options).await;
    scene.line("exited with code 3; crash loop: 3 in a row, starting again in").await;
    let state = scene.orders.states().remove(0);
    assert_eq!((state.phase, state.restarts, state.pid), (Phase::CrashLoop, 2, None));
    assert_eq!(state.last_death.expect("it died").cause, "exited with code 3");
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    assert_eq!(scene.orders.restart("sh").await, Ok(1));
    let state = scene.orders.states().remove(0);
    assert_eq!((state.phase, state.restarts), (Phase::Running, 3));
    assert_eq!(scene.stop().await.started, 4);
}
