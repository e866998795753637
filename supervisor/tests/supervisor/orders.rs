//! Orders to a running supervisor: another child, more of them, other workers.

use tempest_supervisor::{Options, OrderError};

use crate::{
    scene::{CLAIMS, WORKS, is_gone, pid_of, scene, scene_with, shell},
    server::eventually,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_starts_the_next_before_the_one_before_ends() {
    let mut scene = scene(vec![shell("sh", WORKS)]).await;
    let first = pid_of(&scene.line("works ").await, "works ");
    let rolled = scene.orders.restart("sh");
    assert_eq!(scene.orders.restart("nobody").await, Err(OrderError::Unknown("nobody".into())));
    let second = pid_of(&scene.line("works ").await, "works ");
    assert_eq!(pid_of(&scene.line("ends ").await, "ends "), first, "it ends after the next one works");
    scene.line(&format!("replaced (pid {}, exited with code 0)", first.as_raw_nonzero())).await;
    eventually("it is gone", || is_gone(first));
    assert!(!is_gone(second));
    assert_eq!(rolled.await, Ok(1));
    let report = scene.stop().await;
    assert_eq!((report.started, report.died, report.killed), (2, 0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_does_not_come_up_changes_nothing_until_the_next() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut spec = shell("sh", WORKS);
    spec.dir = Some(folder.path().to_owned());
    let mut scene = scene(vec![spec]).await;
    let first = pid_of(&scene.line("works ").await, "works ");
    std::fs::write(folder.path().join("broken"), "").unwrap();
    let rolled = scene.orders.restart("sh");
    scene.line("exited with code 3 before it took a job; the one before works on").await;
    assert!(!is_gone(first));
    let trouble = "sh.1: exited with code 3 before it took a job".to_owned();
    assert_eq!(rolled.await, Err(OrderError::Failed(trouble)));
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    drop(scene.orders.restart("sh"));
    scene.line("works ").await;
    assert_eq!(pid_of(&scene.line("ends ").await, "ends "), first);
    let report = scene.stop().await;
    assert_eq!((report.started, report.died, report.killed), (3, 1, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_does_not_wait_for_the_end_of_a_pause() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("broken"), "").unwrap();
    let mut spec = shell("sh", WORKS);
    spec.dir = Some(folder.path().to_owned());
    let pause = Options {
        backoff: tempest_protocol::Backoff { base_ms: 3_600_000, cap_ms: 3_600_000 },
        ..Options::default()
    };
    let mut scene = scene_with(vec![spec], pause).await;
    scene.line("exited with code 3; starting again in").await;
    std::fs::remove_file(folder.path().join("broken")).unwrap();
    drop(scene.orders.restart("sh"));
    scene.line("works ").await;
    scene.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_was_replaced_and_does_not_end_is_killed_and_recovered() {
    let stubborn = CLAIMS.replace("r BLMOVE", "trap '' TERM\nr BLMOVE");
    let mut scene = scene(vec![shell("sh", &stubborn)]).await;
    scene.line("ready").await;
    let job = r#"{"id":"i","reply_to":"tempest:mailbox:{m}","action":"a"}"#;
    scene.server.run(&["RPUSH", "tempest:{q}", job]);
    eventually("the job is claimed", || scene.server.cli("LLEN tempest:{q}").integer() == 0);
    drop(scene.orders.restart("sh"));
    scene.line("replaced (pid ").await;
    let reply = scene.server.run(&["BLPOP", "tempest:mailbox:{m}", "10"]).list();
    assert!(String::from_utf8_lossy(&reply[1]).contains("worker_lost"), "{reply:?}");
    let report = scene.stop().await;
    assert!(report.killed >= 1 && report.recovered.answered == 1, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scale_starts_more_and_ends_the_last_ones() {
    let mut scene = scene(vec![shell("sh", WORKS)]).await;
    scene.line("works ").await;
    assert_eq!(scene.orders.scale("sh", 3).await, Ok(1));
    let mut labels = [scene.line("works ").await.label, scene.line("works ").await.label];
    labels.sort();
    assert_eq!(labels, ["sh.2", "sh.3"]);
    assert_eq!(scene.orders.scale("sh", 1).await, Ok(3));
    let mut labels = [scene.line("ends ").await.label, scene.line("ends ").await.label];
    labels.sort();
    assert_eq!(labels, ["sh.2", "sh.3"]);
    eventually("only the first is left", || scene.orders.states().len() == 1);
    assert_eq!(scene.orders.scale("sh", 0).await, Ok(1));
    assert_eq!(scene.line("ends ").await.label, "sh.1");
    assert_eq!(scene.orders.scale("no", 1).await, Err(OrderError::Unknown("no".into())));
    let report = scene.stop().await;
    assert_eq!((report.started, report.died, report.killed), (3, 0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_workers_are_put_in_place_and_the_same_are_left_alone() {
    let mut changed = shell("changed", WORKS);
    let (same, gone) = (shell("same", WORKS), shell("gone", WORKS));
    let mut scene = scene(vec![same.clone(), gone, changed.clone()]).await;
    for _ in 0..3 {
        scene.line("works ").await;
    }
    changed.env.insert("ANOTHER".into(), "one".into());
    let more = tempest_supervisor::WorkerSpec { count: 2, ..shell("more", WORKS) };
    let applied = scene.orders.apply(vec![same, changed, more]).await.expect("it runs");
    assert_eq!(applied.added, ["more"]);
    assert_eq!(applied.removed, ["gone"]);
    assert_eq!(applied.changed, ["changed"]);
    assert!(applied.scaled.is_empty());
    let mut ended = [scene.line("ends ").await.label, scene.line("ends ").await.label];
    ended.sort();
    assert_eq!(ended, ["changed.1", "gone.1"]);
    let running = || {
        let states = scene.orders.states();
        states.iter().map(|state| format!("{}.{}", state.name, state.number)).collect::<Vec<_>>()
    };
    eventually("they run", || running() == ["changed.1", "more.1", "more.2", "same.1"]);
    let report = scene.stop().await;
    assert_eq!((report.started, report.died), (6, 0), "{report}");
}
