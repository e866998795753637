//! `tempest schedules`, and `[[schedule]]` of a configuration.

use serde_json::json;

use crate::{
    server::{Server, eventually},
    shop::Shop,
    signals::Running,
};

fn scene() -> (Server, Shop) {
    let server = Server::start();
    let shop = Shop::at(server.url());
    (server, shop)
}

const NIGHTLY: [&str; 10] = [
    "schedules",
    "add",
    "nightly",
    "report",
    "{\"days\":1}",
    "--queue",
    "mail",
    "--cron",
    "30 2 * * *",
    "--zone=Europe/Berlin",
];

#[test]
fn a_schedule_is_added_shown_and_removed() {
    let (server, shop) = scene();
    let told = shop.call(&NIGHTLY).good();
    assert!(
        told.starts_with("nightly of queue mail: added; next at 2") && told.contains(" 02:30:00 +0"),
        "{told}"
    );
    assert!(shop.call(&NIGHTLY).good().contains("unchanged"));
    let text = shop.call(&["schedules"]).good();
    let lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["NAME", "QUEUE", "WHEN", "ZONE", "ACTION", "NEXT", "LAST", "MISSED", "STATE"]);
    assert_eq!(lines[1][..8], ["nightly", "mail", "30", "2", "*", "*", "*", "Europe/Berlin"]);
    assert_eq!((lines[1][8], &lines[1][12..]), ("report", &["-", "once", "active"][..]));
    let told = shop.call(&["schedules", "mail", "--json"]).json();
    assert_eq!(
        told[0]["definition"],
        json!({"cron": "30 2 * * *", "zone": "Europe/Berlin", "action": "report", "args": {"days": 1}})
    );
    let due = server.cli("ZSCORE tempest:{mail}:due nightly").text();
    assert_eq!(told[0]["next_ms"].to_string(), due);
    assert_eq!(shop.call(&["schedules", "remove", "nightly"]).good(), "nightly of queue mail: removed\n");
    assert_eq!(server.cli("KEYS tempest:{mail}*").list().len(), 0);
    assert_eq!(shop.call(&["schedules", "--json"]).json(), json!([]));
    assert!(shop.call(&["schedules"]).err.contains("there is no schedule"));
}

#[test]
fn the_next_times_are_told() {
    let (_server, shop) = scene();
    shop.call(&NIGHTLY).good();
    let text = shop.call(&["schedules", "next", "nightly", "--count", "400"]).good();
    assert_eq!(text.lines().count(), 400);
    // Once a year half past two is left out.
    assert!(text.lines().any(|line| line.contains(" 03:00:00 +02:00")), "{text}");
    let times = shop.call(&["schedules", "next", "nightly", "--json"]).json();
    assert_eq!(times.as_array().map(Vec::len), Some(5));
    assert_eq!(times[0]["at"].as_str(), text.lines().next());
    assert!(times[0]["at_ms"].as_u64() < times[1]["at_ms"].as_u64());
}

#[test]
fn a_schedule_is_paused_resumed_and_run() {
    let (server, shop) = scene();
    shop.call(&["schedules", "add", "tick", "beat", "--every", "2h", "--missed", "skip", "--ttl=1d"]).good();
    let state = || shop.call(&["schedules", "--json"]).json()[0].clone();
    assert_eq!(
        state()["definition"],
        json!({"every_ms": 7_200_000, "action": "beat", "ttl_ms": 86_400_000, "missed": "skip"})
    );
    assert_eq!(shop.call(&["schedules", "pause", "tick"]).good(), "tick of queue default: paused\n");
    assert_eq!((&state()["paused"], &state()["next_ms"]), (&json!(true), &json!(null)));
    assert!(shop.call(&["schedules"]).good().contains("  paused"));
    let id = shop.call(&["schedules", "run", "tick"]).good();
    let job: serde_json::Value =
        serde_json::from_str(&server.cli("LINDEX tempest:{default} 0").text()).expect("a job");
    assert_eq!((job["id"].as_str(), job["action"].as_str()), (Some(id.trim()), Some("beat")));
    let told = shop.call(&["schedules", "resume", "tick", "--json"]).json();
    assert_eq!(told, json!({"name": "tick", "queue": "default", "paused": false}));
    assert!(state()["next_ms"].is_u64());
}

#[test]
fn a_broken_schedule_is_shown_with_what_is_wrong() {
    let (server, shop) = scene();
    shop.call(&["schedules", "add", "good", "a", "--every", "1h"]).good();
    server.run(&["HSET", "tempest:{default}:schedules", "bad", r#"{"cron":"61 * * * *","action":"a"}"#]);
    server.run(&["HSET", "tempest:{default}:fired", "good", "7 queue_full"]);
    let text = shop.call(&["schedules"]).good();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
    assert!(line("bad").contains("broken: cron: \"61 * * * *\" is no cron pattern"), "{text}");
    assert!(line("good").contains("every 1h") && line("good").contains(" ago, queue_full"), "{text}");
    let told = shop.call(&["schedules", "next", "bad"]).one_line(1);
    assert!(told.starts_with("schedule bad is broken: cron: "), "{told}");
    shop.call(&["schedules", "remove", "bad"]).good();
}

#[test]
fn what_is_called_wrongly_is_said_in_a_line() {
    let (_server, shop) = scene();
    let add = |more: &[&str]| shop.call(&[&["schedules", "add", "n", "a"], more].concat());
    let line = |more: &[&str]| add(more).one_line(2);
    assert!(line(&[]).contains("--cron"));
    assert!(line(&["--cron", "@daily", "--every", "1h"]).contains("--every"));
    assert!(line(&["--cron", "every day"]).starts_with("--cron: \"every day\" must be five fields"));
    assert!(line(&["--cron", "0 0 30 2 *"]).contains("never comes"));
    assert!(line(&["--cron", "@daily", "--zone", "Mars"]).starts_with("--zone: \"Mars\" is no time zone"));
    assert!(line(&["--every", "1h", "--zone", "UTC"]).contains("an interval has no time zone"));
    assert!(line(&["--every", "50ms"]).starts_with("--every: must be from 100 ms"));
    assert!(line(&["--every", "soon"]).contains("30s, 5m, 2h or 7d"));
    assert!(line(&["--every", "1h", "--missed", "never"]).starts_with("--missed: is skip, once or all"));
    assert!(line(&["hello", "--every", "1h"]).contains("not JSON"));
    let told = add(&["--cron", "x", "--lane", "urgent", "--attempts", "0"]);
    assert_eq!((told.code, told.err.lines().count()), (Some(2), 3), "all at once: {told:?}");
    let long = "n".repeat(51);
    assert!(
        shop.call(&["schedules", "add", &long, "a", "--every=1h"]).one_line(2).contains("1 to 50 characters")
    );
    for command in ["remove", "pause", "resume", "run", "next"] {
        let told = shop.call(&["schedules", command, "none"]).one_line(1);
        assert!(told.starts_with("there is no schedule none"), "{told}");
    }
    for queue in ["one", "two"] {
        shop.call(&["schedules", "add", "same", "a", "--every=1h", "--queue", queue]).good();
    }
    let told = shop.call(&["schedules", "run", "same"]).one_line(2);
    assert_eq!(told, "several queues have a schedule same: one, two; name one with --queue");
    shop.call(&["schedules", "run", "same", "--queue", "two"]).good();
}

#[test]
fn schedules_are_shown_again_each_second() {
    let (_server, shop) = scene();
    shop.call(&["schedules", "add", "tick", "beat", "--every", "1h"]).good();
    let mut child = shop.command(&["schedules", "--watch"]).spawn().expect("the tool starts");
    let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut seen = 0;
    while seen < 2 {
        let mut line = String::new();
        assert!(std::io::BufRead::read_line(&mut out, &mut line).expect("it says something") > 0);
        seen += usize::from(line.starts_with("tick "));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

fn table(names: &[&str]) -> String {
    let entry = |name: &&str| format!("[[schedule]]\nname = \"{name}\"\ncron = \"@daily\"\naction = \"a\"\n");
    names.iter().map(entry).collect()
}

fn names(server: &Server) -> Vec<String> {
    let mut names = server.cli("HKEYS tempest:{default}:schedules").list();
    names.sort();
    names.into_iter().map(|name| String::from_utf8(name).expect("text")).collect()
}

#[test]
fn schedules_come_and_go_with_the_file() {
    let (server, shop) = scene();
    shop.call(&["schedules", "add", "own", "a", "--every", "1h"]).good();
    let front = Running::front(&server, &table(&["one", "two"]), &[]);
    assert_eq!(names(&server), ["one", "own", "two"]);
    front.line("schedules new: default/one, default/two");
    shop.call(&["schedules", "pause", "one"]).good();
    let told = shop.call(&["schedules", "add", "one", "b", "--every", "1h"]).one_line(1);
    assert!(told.contains("is of a tempest.toml"), "{told}");
    // Another one that starts with the same file changes nothing.
    let other = Running::front(&server, &table(&["one", "two"]), &[]);
    assert!(server.cli("HGET tempest:{default}:schedules one").text().contains("\"paused\":true"));
    assert!(!other.lines().iter().any(|line| line.contains("schedules")), "{:?}", other.lines());
    front.reload(&table(&["one", "three"]));
    front.line("schedules new: default/three; schedules gone: default/two");
    assert_eq!(names(&server), ["one", "own", "three"]);
    front.reload(&(table(&["one"]) + "[[schedule]]\nname = \"bad\"\naction = \"a\"\n"));
    front.line("tempest.toml:5: cron: it says neither");
    front.line("nothing was reloaded");
    assert_eq!(names(&server), ["one", "own", "three"]);
    // One whose file has none is not the end of those of others, but says that they are there.
    let bare = Running::front(&server, "[front]\ntimeout_ms = 5000\n", &[]);
    bare.line("schedules of another tempest.toml: default/one, default/three");
    assert_eq!(names(&server), ["one", "own", "three"]);
    front.reload("");
    front.line("schedules gone: default/one, default/three");
    assert_eq!(names(&server), ["own"]);
}

/// Three fronts with one file, of which two are killed: every time has its job, and none has two.
#[test]
fn of_three_fronts_one_fires_whichever_are_killed() {
    let server = Server::start();
    let file = "[[schedule]]\nname = \"s\"\nevery_ms = 200\naction = \"a\"\nmissed = \"all\"\n";
    let mut fronts: Vec<_> = (0..3).map(|_| Running::front(&server, file, &[])).collect();
    let ids = || -> Vec<u64> {
        let jobs = server.cli("LRANGE tempest:{default} 0 -1").list();
        let id = |job: &Vec<u8>| {
            let job: serde_json::Value = serde_json::from_slice(job).expect("a job");
            job["id"].as_str().and_then(|id| id.strip_prefix("s.")?.parse().ok()).expect("an id")
        };
        jobs.iter().map(id).collect()
    };
    while fronts.len() > 1 {
        let then = ids().len();
        eventually("it fires", || ids().len() > then + 4);
        // It is killed.
        drop(fronts.remove(0));
    }
    let then = ids().len();
    eventually("it goes on", || ids().len() > then + 10);
    let ids = ids();
    let times: Vec<_> = (0..).map(|n| ids[0] + 200 * n).take(ids.len()).collect();
    assert_eq!(ids, times);
}
