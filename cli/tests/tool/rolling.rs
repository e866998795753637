//! Workers of a running cluster that are replaced, scaled, added and given up: `tempest reload`, `tempest scale`, `SIGHUP`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::{
    server::eventually,
    shop::Shop,
    up::{ONE, Up, WORKER},
};

/// Two workers that finish what they hold when they are told to end. A job takes a moment, so that they have one in hand.
fn two() -> Up {
    let shop = Shop::new();
    let drains = WORKER.replace("trap 'exit 0' TERM", "trap 'stop=1' TERM");
    let drains = drains.replace("while :; do", "while [ -z \"$stop\" ]; do");
    shop.write("worker.sh", &drains.replace("n=$((n+1))", "n=$((n+1)); sleep 0.05"));
    shop.write("tempest.toml", &format!("{ONE}count = 2\n"));
    Up::start_in(shop, &["--grace-ms", "20000"])
}

/// Asks on while something happens. Gives how many requests were answered; one that was not is a failure.
fn under_load(up: &Up, during: impl FnOnce()) -> usize {
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answer = up.post("/");
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("requests are answered", || asked.load(Ordering::Relaxed) > 5);
        during();
        let so_far = asked.load(Ordering::Relaxed);
        eventually("requests go on", || asked.load(Ordering::Relaxed) > so_far + 10);
        over.store(true, Ordering::Relaxed);
    });
    asked.into_inner()
}

fn replaced(up: &Up) -> usize {
    up.lines().iter().filter(|line| line.contains("* replaced (pid ")).count()
}

#[test]
fn a_reload_replaces_all_workers_and_loses_no_request() {
    let mut up = two();
    let answered = under_load(&up, || {
        let said = up.shop.call(&["reload"]).good();
        assert_eq!(said, "sh: 2 replaced\nreloaded\n");
        eventually("those before have ended", || replaced(&up) == 2);
        up.signal(Signal::HUP);
        eventually("a signal does the same", || replaced(&up) == 4);
    });
    println!("{answered} requests answered meanwhile");
    assert_eq!(up.workers().len(), 6);
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0), "{:#?}", up.lines());
}

#[test]
fn a_reload_that_cannot_be_is_said_and_changes_nothing() {
    let up = two();
    let said = up.shop.call(&["reload", "nobody"]);
    assert_eq!(said.code, Some(1));
    assert_eq!(said.out, "nobody: there is no worker \"nobody\"\n");
    up.shop.write("worker.sh", "exit 3\n");
    let said = up.shop.call(&["reload", "sh"]);
    assert_eq!(said.out, "sh: sh.1: exited with code 3 before it took a job\n");
    assert!(said.one_line(1).contains("1 of 1 workers could not be replaced; they work on"));
    up.shop.write("tempest.toml", "[front]\ntimeout_ms = \"soon\"\n");
    let said = up.shop.call(&["reload"]);
    assert!(said.one_line(1).contains("tempest.toml:2: front.timeout_ms must be a whole number"));
    assert!(up.get("/").contains("Hello world!"));
}

#[test]
fn workers_are_scaled_and_shown() {
    let up = two();
    assert_eq!(up.shop.call(&["scale", "sh", "3"]).good(), "sh: 2 → 3\n");
    let names = || {
        let workers = up.shop.call(&["workers", "--json"]).json();
        let alive = workers.as_array().expect("a list").iter().filter(|it| it["alive"] == true);
        let name = |it: &serde_json::Value| {
            format!("{}.{}", it["child"]["name"].as_str().unwrap_or("?"), it["child"]["number"])
        };
        let mut names: Vec<_> = alive.map(name).collect();
        names.sort();
        names
    };
    eventually("three work", || names() == ["sh.1", "sh.2", "sh.3"]);
    under_load(&up, || assert_eq!(up.shop.call(&["scale", "sh", "1"]).good(), "sh: 3 → 1\n"));
    eventually("one works", || names() == ["sh.1"]);
    let said = up.shop.call(&["scale", "nobody", "1"]).one_line(1);
    assert!(said.contains("there is no worker \"nobody\""), "{said}");
    assert!(up.shop.call(&["scale", "sh", "-1"]).code == Some(2));
}

#[test]
fn another_list_of_workers_is_put_in_force() {
    let up = two();
    let more = ONE.replace("name = \"sh\"", "name = \"more\"");
    up.shop.write("tempest.toml", &format!("{ONE}env = {{ GREETING = \"x\" }}\n{more}"));
    let said = |line: &str| up.lines().iter().any(|it| it.contains(line));
    under_load(&up, || {
        up.shop.call(&["reload"]).good();
        eventually("it is said", || said("reloaded: workers new: more; workers changed: sh"));
        eventually("those before have ended", || replaced(&up) == 1 && said("sh.2 "));
    });
    up.shop.write("tempest.toml", &more);
    up.shop.call(&["reload"]).good();
    eventually("it is said", || said("reloaded: workers gone: sh"));
    assert!(up.get("/").contains("Hello world!"), "the new one serves");
}

#[test]
fn without_a_cluster_there_is_nothing_to_tell() {
    let shop = Shop::new();
    for call in [&["reload"][..], &["scale", "web", "2"]] {
        let said = shop.call(call).one_line(1);
        assert_eq!(said, "no `tempest up` runs in this folder or one above");
    }
}
