//! `tempest queues pause`, `resume`, `limit`, `purge`, `drain`

use std::io::{BufRead, BufReader};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{server::Server, shop::Shop};

const LIMITS: &str = "tempest:{mail}:limits";

fn scene() -> (Server, Shop) {
    let server = Server::start();
    let shop = Shop::at(server.url());
    (server, shop)
}

#[test]
fn a_queue_is_paused_limited_and_resumed() {
    let (server, shop) = scene();
    let mut control = server.client();
    control.run(&["SUBSCRIBE", "tempest:{mail}:control"]);
    assert_eq!(shop.call(&["queues", "pause", "mail"]).good(), "mail: paused\n");
    assert_eq!(control.receive().expect("told").list()[2], b"limits");
    let told =
        shop.call(&["queues", "limit", "mail", "--concurrency", "4", "--rate", "600/min", "--per-key", "2"]);
    assert_eq!(told.good(), "mail: paused, 4 at a time, 600/min, 2 of a key\n");
    let told = shop.call(&["queues", "--json"]).json();
    let limits = json!({ "concurrency": 4, "rate": 600, "per_ms": 60_000, "per_key": 2 });
    assert_eq!((&told[0]["paused"], &told[0]["limits"]), (&json!(true), &limits));
    let text = shop.call(&["queues"]).good();
    assert!(text.lines().nth(1).unwrap().ends_with("paused, 4 at a time, 600/min, 2 of a key"), "{text}");
    assert_eq!(shop.call(&["queues", "resume", "mail", "--json"]).json()["paused"], json!(false));
    let lift = ["queues", "limit", "mail", "--concurrency", "none", "--rate", "none", "--per-key", "none"];
    assert_eq!(shop.call(&lift).good(), "mail: no limits\n");
    assert_eq!(server.cli(&format!("EXISTS {LIMITS}")).integer(), 0);
    for wrong in [
        &["queues", "limit", "mail"][..],
        &["queues", "limit", "mail", "--rate", "fast"],
        &["queues", "pause"],
    ] {
        assert_eq!(shop.call(wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_queue_is_purged_when_somebody_says_yes() {
    let (server, shop) = scene();
    for (key, id) in [("tempest:{mail}", "a"), ("tempest:{mail}", "b"), ("tempest:{mail}:low", "c")] {
        server.run(&["RPUSH", key, &json!({ "id": id, "action": "send" }).to_string()]);
        server.run(&["HSET", &format!("tempest:{{mail}}:job:{id}"), "state", "waiting"]);
    }
    server.run(&["ZADD", "tempest:{mail}:dead", "1", "x"]);
    let said = shop.call(&["queues", "purge", "mail", "--dead"]).one_line(2);
    assert_eq!(said, "remove the jobs of queue mail: 3 that wait, 1 dead ones: say --yes if that is meant");
    let told = shop.call(&["queues", "purge", "mail", "--lane", "low", "--yes"]);
    assert_eq!(told.good(), "removed: 1 that waited\n");
    let told = shop.call(&["queues", "purge", "mail", "--dead", "--later", "--yes", "--json"]).json();
    assert_eq!(told, json!({ "queue": "mail", "waiting": 2, "later": 0, "dead": 1 }));
    assert_eq!(server.cli("KEYS tempest:{mail}*").list().len(), 0);
}

#[test]
fn one_waits_until_a_queue_is_empty() {
    let (server, shop) = scene();
    server.cli("SADD tempest:{mail}:workers h-1-abc.0");
    server.run(&["RPUSH", "tempest:{mail}:run:h-1-abc.0", r#"{"action":"send"}"#]);
    server.run(&["RPUSH", "tempest:{mail}", r#"{"action":"send"}"#]);
    let told = shop.call(&["queues", "drain", "mail", "--timeout", "50ms"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.ends_with("not drained in time: waiting 1, running 1\n"), "{told:?}");
    let mut draining = shop.command(&["queues", "drain", "mail"]).spawn().expect("the tool starts");
    let mut said = BufReader::new(draining.stderr.take().expect("piped")).lines();
    assert_eq!(said.next().expect("a line").expect("text"), "tempest: waiting 1, running 1");
    server.run(&["DEL", "tempest:{mail}:run:h-1-abc.0", "tempest:{mail}"]);
    let told = draining.wait_with_output().expect("it ends");
    assert_eq!(
        (told.status.code(), told.stdout.as_slice()),
        (Some(0), &b"mail: nothing waits, nothing runs\n"[..])
    );
}

#[test]
fn ctrl_c_ends_the_wait_and_changes_nothing() {
    let (server, shop) = scene();
    server.run(&["RPUSH", "tempest:{mail}", r#"{"action":"send"}"#]);
    server.run(&["HSET", LIMITS, "paused", "1"]);
    let mut draining = shop.command(&["queues", "drain", "mail"]).spawn().expect("the tool starts");
    let mut said = BufReader::new(draining.stderr.take().expect("piped")).lines();
    let mut next = || said.next().expect("a line").expect("text");
    assert_eq!(next(), "tempest: queue mail is paused, nothing is claimed: tempest queues resume mail");
    assert_eq!(next(), "tempest: waiting 1, running 0");
    let pid = Pid::from_raw(i32::try_from(draining.id()).expect("a pid")).expect("a pid is not 0");
    kill_process(pid, Signal::INT).expect("it runs");
    assert_eq!(next(), "tempest: interrupted: waiting 1, running 0");
    assert_eq!(draining.wait().expect("it ends").code(), Some(1));
    assert_eq!(server.cli("LLEN tempest:{mail}").integer(), 1);
}

#[test]
fn lists_are_shown_anew_until_ctrl_c() {
    let (server, shop) = scene();
    server.cli("SADD tempest:queues mail");
    for list in ["queues", "jobs", "dead", "later"] {
        let mut watching = shop.command(&[list, "--watch"]).spawn().expect("the tool starts");
        let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let heading = lines.next().expect("a heading");
        assert!(heading.contains("QUEUE"), "{heading}");
        assert!(lines.any(|line| line == heading), "{list}: it is shown again");
        let pid = Pid::from_raw(i32::try_from(watching.id()).expect("a pid")).expect("a pid is not 0");
        kill_process(pid, Signal::INT).expect("it runs");
        assert_eq!(watching.wait().expect("it ends").code(), Some(0));
    }
}
