use std::{fs, path::PathBuf};

use tempest_protocol::Lane;
use tempfile::TempDir;

use super::*;

struct Written {
    dir: TempDir,
    path: PathBuf,
}

fn written(text: &str) -> Written {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("tempest.toml");
    fs::write(&path, text).unwrap();
    Written { dir, path }
}

/// The mistakes of a file, without the folder it lies in.
fn mistakes(text: &str) -> Vec<String> {
    let file = written(text);
    let folder = format!("{}/", file.dir.path().display());
    let lines = read(&file.path).expect_err("the file has mistakes");
    lines.into_iter().map(|line| line.replace(&folder, "")).collect()
}

#[test]
fn a_whole_file_is_read() {
    let file = written(
        r#"
[front]
listen = ["localhost:1", "127.0.0.2:2"]
timeout_ms = 5_000
[redis]
prefix = "acme"
[[route]]
path = "/x/{id}"
queue = "x"
methods = ["GET"]
timeout_ms = 7
[[worker]]
name = "w"
command = "sh -c 'echo \"a b\"'"
queues = ["a", "b"]
lanes = ["high", "normal"]
count = 3
env = { X = "1" }
dir = "sub"
[[worker]]
name = "v"
command = ["v", ""]
"#,
    );
    let read = read(&file.path).unwrap();
    let value =
        |key: &str| read.values.iter().find(|(setting, ..)| setting.key == key).map(|it| it.1.clone());
    assert_eq!(value("front.listen").as_deref(), Some("localhost:1,127.0.0.2:2"));
    assert_eq!(value("front.timeout_ms").as_deref(), Some("5000"));
    assert_eq!(value("redis.prefix").as_deref(), Some("acme"));
    assert!(read.values[1].2.ends_with("tempest.toml:4"), "{}", read.values[1].2);
    assert_eq!((read.routes[0].path.as_str(), read.routes[0].timeout_ms), ("/x/{id}", Some(7)));
    let worker = &read.workers[0];
    assert_eq!(worker.command, ["sh", "-c", "echo \"a b\""]);
    assert_eq!(worker.lanes, [Lane::High, Lane::Normal]);
    assert_eq!((worker.count, worker.env["X"].as_str()), (3, "1"));
    assert_eq!(worker.dir.as_deref(), Some(file.dir.path().join("sub").as_path()));
    assert_eq!(read.workers[1].dir.as_deref(), Some(file.dir.path()), "a worker starts beside its file");
    assert_eq!(read.workers[1].queues[0].as_str(), "default");
}

#[test]
fn all_mistakes_are_said_at_once_and_where() {
    let lines = mistakes(
        r#"
[front]
lisen = "localhost:1"
timeout_ms = "soon"
[redis]
url = "localhost"
[rediss]
[[route]]
path = "/"
que = "x"
[[route]]
path = "x"
[[worker]]
name = "a b"
command = "x 'y"
count = -1
lanes = ["urgent"]
[[worker]]
queues = []
"#,
    );
    assert_eq!(
        lines,
        [
            "tempest.toml:3: [front] has no lisen; did you mean listen?",
            "tempest.toml:4: front.timeout_ms must be a whole number",
            "tempest.toml:6: redis.url: \"localhost\" is not a Redis URL like redis://127.0.0.1:6379",
            "tempest.toml:7: the file has no rediss; did you mean redis?",
            "tempest.toml:10: [[route]] has no que; did you mean queue?",
            "tempest.toml:11: route \"x\" needs exactly one of queue, topic, static and jobs",
            "tempest.toml:11: route path \"x\" must begin with /",
            "tempest.toml:14: name \"a b\" must be 1 to 32 of A-Z a-z 0-9 . _ -",
            "tempest.toml:15: command has a quote that does not end",
            "tempest.toml:16: count must be a whole number from 0 to 1000",
            "tempest.toml:17: lanes: lane is high, normal or low, not \"urgent\"",
            "tempest.toml:18: [[worker]] needs command",
            "tempest.toml:18: [[worker]] needs name",
            "tempest.toml:19: queues is empty; leave it out for the default",
        ]
    );
}

#[test]
fn what_is_no_toml_is_said_with_its_line() {
    let lines = mistakes("[front]\nlisten = localhost\n");
    assert!(lines[0].starts_with("tempest.toml:2: "), "{lines:?}");
    assert_eq!(mistakes("route = 1"), ["tempest.toml:1: route must be a list of tables: [[route]]"]);
    assert_eq!(mistakes("front = 1"), ["tempest.toml:1: front must be a table: [front]"]);
}

#[test]
fn a_file_that_is_missing_is_named() {
    let lines = read(Path::new("/no/such/file.toml")).expect_err("missing");
    assert!(lines.len() == 1 && lines[0].contains("/no/such/file.toml"), "{lines:?}");
}

#[test]
fn the_example_of_the_checkout_is_good() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/hello/tempest.toml");
    let file = read(Path::new(path)).unwrap();
    assert!(!file.routes.is_empty() && !file.workers.is_empty());
}

#[test]
fn a_share_is_a_number_with_or_without_a_point() {
    for (given, taken) in [("0.25", "0.25"), ("1", "1"), ("0", "0")] {
        let file = written(&format!("[trace]\nsample = {given}\n"));
        let read = read(&file.path).unwrap();
        assert_eq!(read.values[0].1, taken);
    }
    assert_eq!(
        mistakes("[trace]\nsample = 1.5"),
        ["tempest.toml:2: trace.sample: \"1.5\" is not a number from 0 to 1"]
    );
    assert_eq!(mistakes("[trace]\nsample = \"all\""), ["tempest.toml:2: trace.sample must be a number"]);
    assert_eq!(mistakes("[trace]\nsample = nan").len(), 1);
}

#[test]
fn schedules_are_read() {
    let file = written(
        r#"
[[schedule]]
name = "nightly"
queue = "reports"
cron = "30 2 * * *"
zone = "Europe/Berlin"
action = "report"
args = { days = 1, names = ["a", true, 1.5, 2026-01-01] }
lane = "low"
attempts = 5
ttl_ms = 60_000
keep_ms = 1000
missed = "all"
[[schedule]]
name = "nightly"
every_ms = 30000
action = "check"
"#,
    );
    let schedules = read(&file.path).unwrap().schedules;
    let shown: Vec<_> = schedules.iter().map(|it| format!("{}/{}", it.queue, it.name)).collect();
    assert_eq!(shown, ["reports/nightly", "default/nightly"]);
    assert_eq!(
        serde_json::to_value(schedules[0].schedule.definition()).unwrap(),
        serde_json::json!({
            "cron": "30 2 * * *", "zone": "Europe/Berlin", "action": "report", "lane": "low", "attempts": 5,
            "args": {"days": 1, "names": ["a", true, 1.5, "2026-01-01"]}, "ttl_ms": 60000, "keep": 1000, "missed": "all",
        })
    );
}

#[test]
fn mistakes_of_schedules_are_said_where_they_stand() {
    let lines = mistakes(
        r#"
[[schedule]]
name = "a b"
colour = "red"
[[schedule]]
name = "one"
cron = "61 * * * *"
zone = "Mars"
action = "x"
lane = "urgent"
keep_ms = 9_999_999_999
[[schedule]]
name = "two"
action = "x"
args = nan
[[schedule]]
name = "three"
action = "x"
every_ms = 1000
[[schedule]]
name = "three"
action = "x"
"#,
    );
    assert_eq!(
        lines,
        [
            "tempest.toml:2: [[schedule]] needs action",
            "tempest.toml:3: a schedule name cannot contain ' ': \"a b\"",
            "tempest.toml:4: [[schedule]] has no colour",
            "tempest.toml:7: cron: \"61 * * * *\" is no cron pattern: minute \"61\": number out of bounds",
            "tempest.toml:8: zone: \"Mars\" is no time zone of the IANA, like Europe/Berlin or UTC",
            "tempest.toml:10: lane: lane is high, normal or low, not \"urgent\"",
            "tempest.toml:11: keep_ms: must be at most 2592000000 ms, 30 days",
            "tempest.toml:15: args: JSON has no nan",
            "tempest.toml:20: cron: it says neither cron nor every_ms, so it would never fire",
            "tempest.toml:20: two schedules of queue default are named three",
        ]
    );
}
