//! `tempest up --watch`

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::{
    server::eventually,
    shop::Shop,
    up::{ONE, Up, WORKER},
};

fn watched(file: &str) -> Up {
    let shop = Shop::new();
    shop.write("worker.sh", WORKER);
    shop.write("tempest.toml", file);
    Up::start_in(shop, &["--watch"])
}

/// The lines in which the tool says what has changed.
fn said(up: &Up) -> Vec<String> {
    up.lines().into_iter().filter(|line| line.starts_with("watch: ")).collect()
}

#[test]
fn a_worker_whose_file_changes_is_restarted_and_no_request_is_lost() {
    let mut up = watched(ONE);
    assert!(up.get("/").ends_with("Hello world! #1"));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = up.get("/");
                    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(" world! #"), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        up.shop.write("worker.sh", &WORKER.replace("Hello", "Changed"));
        eventually("the next answers change", || up.get("/").contains("Changed world!"));
        eventually("the one before ends", || up.lines().iter().any(|line| line.contains("* replaced (pid ")));
        let so_far = asked.load(Ordering::Relaxed);
        eventually("requests go on", || asked.load(Ordering::Relaxed) > so_far + 10);
        done.store(true, Ordering::Relaxed);
    });
    assert!(up.get("/").contains("Changed world!"), "the one before is gone");
    assert_eq!(said(&up), ["watch: worker.sh changed; restarting sh"]);
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0), "{:#?}", up.lines());
}

#[test]
fn a_worker_that_does_not_come_up_is_shown_and_the_next_change_tries_again() {
    let up = watched(ONE);
    assert!(up.get("/").contains("Hello world!"));
    up.shop.write("worker.sh", "exit 7\n");
    let failed = "exited with code 7 before it took a job; the one before works on until the next change";
    eventually("it is shown", || up.lines().iter().any(|line| line.contains(failed)));
    assert!(up.get("/").contains("Hello world!"));
    up.shop.write("worker.sh", &WORKER.replace("Hello", "Better"));
    eventually("the next one works", || up.get("/").contains("Better world!"));
    assert_eq!(said(&up).len(), 2, "{:#?}", up.lines());
}

#[test]
fn a_configuration_that_changes_is_reloaded_and_restarts_nobody() {
    let up = watched(ONE);
    up.shop.write("tempest.toml", &format!("[front]\ntimeout_ms = 4321\n{ONE}"));
    let reloaded = "reloaded: front.timeout_ms 30000 → 4321";
    eventually("it is reloaded", || up.lines().iter().any(|line| line.contains(reloaded)));
    up.shop.write("tempest.toml", "[front]\ntimeout_ms = \"soon\"\n");
    eventually("a mistake is shown", || {
        up.lines().iter().any(|line| line.contains("must be a whole number"))
    });
    assert!(up.get("/").contains("Hello world!"));
    assert_eq!(said(&up), [""; 0]);
    assert_eq!(up.workers().len(), 1);
}

#[test]
fn nothing_is_watched_unless_told_to() {
    let shop = Shop::new();
    shop.write("worker.sh", WORKER);
    shop.write("tempest.toml", ONE);
    let up = Up::start_in(shop, &[]);
    up.shop.write("worker.sh", &WORKER.replace("Hello", "Changed"));
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert!(up.get("/").contains("Hello world!") && said(&up).is_empty(), "{:#?}", up.lines());
}
