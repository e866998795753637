//! `tempest dead` and `tempest later`

use serde_json::{Value, json};

use crate::{server::Server, shop::Shop};

const DEAD: &str = "tempest:{mail}:dead";
const LATER: &str = "tempest:{mail}:later";

fn scene() -> (Server, Shop) {
    let server = Server::start();
    server.cli("SADD tempest:queues other mail");
    let shop = Shop::at(server.url());
    (server, shop)
}

fn now_ms(server: &Server) -> u64 {
    let time = server.cli("TIME").list();
    let seconds = String::from_utf8_lossy(&time[0]).into_owned();
    seconds.parse::<u64>().expect("seconds") * 1_000
}

/// A job that died so many seconds ago.
fn bury(server: &Server, queue: &str, id: &str, seconds_ago: u64, code: &str) {
    let died_at = now_ms(server) - seconds_ago * 1_000;
    let job = json!({
        "error": { "code": code, "message": format!("no such\nmailbox: {id}") }, "died_at": died_at,
        "id": id, "action": "send", "attempt": 3, "args": { "to": "bob" },
    });
    server.run(&["ZADD", &format!("tempest:{{{queue}}}:dead"), &died_at.to_string(), &job.to_string()]);
}

fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn ids(told: &Value) -> Vec<&str> {
    told.as_array().expect("a list").iter().map(|job| job["id"].as_str().unwrap_or("-")).collect()
}

#[test]
fn dead_jobs_of_all_queues_are_shown_newest_first() {
    let (server, shop) = scene();
    bury(&server, "mail", "a", 400, "handler_error");
    bury(&server, "other", "b", 10, "timeout");
    server.run(&[
        "ZADD",
        DEAD,
        "1",
        r#"{"error":{"code":"bad_frame","message":"x"},"died_at":1,"raw_base64":"AA=="}"#,
    ]);
    let text = shop.call(&["dead"]).good();
    let lines = words(&text);
    assert_eq!(lines[0], ["QUEUE", "ID", "ACTION", "ATTEMPT", "DIED", "CODE", "MESSAGE"]);
    assert_eq!(lines[1][..6], ["other", "b", "send", "3", "of", "3"], "{text}");
    assert_eq!(lines[1][9..], ["timeout", "no", "such", "mailbox:", "b"], "one line: {text}");
    assert_eq!(lines[2][6..10], ["6", "min", "ago", "handler_error"], "{text}");
    assert_eq!(lines[3][..4], ["mail", "-", "no", "job"], "{text}");
    let told = shop.call(&["dead", "--json"]).json();
    assert_eq!(ids(&told), ["b", "a", "-"]);
    assert_eq!(told[0]["error"], json!({ "code": "timeout", "message": "no such\nmailbox: b" }));
    assert!(told[2]["entry"].as_str().unwrap().contains("raw_base64"));
    for (more, expected) in [
        (&["mail"][..], &["a", "-"][..]),
        (&["list", "other"], &["b"]),
        (&["--code", "timeout"], &["b"]),
        (&["--message", "mailbox: a"], &["a"]),
        (&["--action", "greet"], &[]),
        (&["--younger-than", "5m"], &["b"]),
        (&["--older-than", "5m"], &["a", "-"]),
        (&["--older-than", "5m", "--younger-than", "1d"], &["a"]),
    ] {
        let told = shop.call(&[&["dead"][..], more, &["--json"]].concat()).json();
        assert_eq!(ids(&told), expected, "{more:?}");
    }
    let told = shop.call(&["dead", "--limit", "1"]);
    assert!(told.err.contains("--limit shows more"), "{told:?}");
    assert_eq!(told.good().lines().count(), 2);
}

#[test]
fn a_dead_job_is_shown_with_its_arguments_and_its_log() {
    let (server, shop) = scene();
    bury(&server, "mail", "a", 10, "handler_error");
    server.run(&["RPUSH", "tempest:{mail}:job:a:log", "half way"]);
    let text = shop.call(&["dead", "show", "a"]).good();
    assert!(text.contains("args     {\"to\":\"bob\"}") && text.contains("log      half way"), "{text}");
    let told = shop.call(&["dead", "show", "a", "--json"]).json();
    assert_eq!((&told["args"]["to"], &told["log"]), (&json!("bob"), &json!(["half way"])));
    let said = shop.call(&["dead", "show", "z"]).one_line(1);
    assert!(said.starts_with("not found: "), "{said}");
}

#[test]
fn named_jobs_are_run_again_or_deleted_and_the_missing_are_told() {
    let (server, shop) = scene();
    for id in ["a", "b", "c"] {
        bury(&server, "mail", id, 10, "handler_error");
    }
    assert_eq!(shop.call(&["dead", "retry", "a", "b"]).good(), "run: 2\n");
    let job: Value = serde_json::from_str(&server.cli("LPOP tempest:{mail}").text()).unwrap();
    assert_eq!(job, json!({ "id": "a", "action": "send", "args": { "to": "bob" } }));
    let told = shop.call(&["dead", "delete", "c", "z"]);
    assert_eq!(told.out, "deleted: 1\n");
    assert!(told.one_line(1).contains("no job z is dead"));
    assert_eq!(server.cli(&format!("EXISTS {DEAD}")).integer(), 0);
    let told = shop.call(&["dead", "retry", "z", "--json"]);
    assert_eq!((told.code, told.out.contains("\"z\"")), (Some(1), true), "{told:?}");
}

#[test]
fn many_are_changed_only_when_somebody_says_yes() {
    let (server, shop) = scene();
    for id in ["a", "b", "c"] {
        bury(&server, "mail", id, 10, "handler_error");
    }
    bury(&server, "other", "d", 10, "timeout");
    let said = shop.call(&["dead", "retry", "--all"]).one_line(2);
    assert_eq!(said, "run 4 dead jobs of all queues again: say --yes if that is meant");
    let said = shop.call(&["dead", "delete", "--all", "--queue", "mail"]).one_line(2);
    assert!(said.starts_with("delete 3 dead jobs of queue mail: "), "{said}");
    assert_eq!(server.cli(&format!("ZCARD {DEAD}")).integer(), 3, "nothing was changed");
    let told = shop.call(&["dead", "retry", "--all", "--code", "handler_error", "--yes", "--json"]).json();
    assert_eq!(told, json!({ "run": 3, "gone": 0, "no_jobs": 0, "not_found": [] }));
    assert_eq!(server.cli("LLEN tempest:{mail}").integer(), 3);
    assert_eq!(shop.call(&["dead", "delete", "--all", "-y"]).good(), "deleted: 1\n");
    assert_eq!(
        shop.call(&["dead", "delete", "--all"]).good(),
        "deleted: 0\n",
        "nobody needs to agree to nothing"
    );
    assert_eq!(shop.call(&["dead", "retry"]).code, Some(2), "which?");
    assert_eq!(shop.call(&["dead", "retry", "a", "--all"]).code, Some(2));
}

#[test]
fn delayed_jobs_are_shown_with_why_run_now_or_deleted() {
    let (server, shop) = scene();
    let now = now_ms(&server);
    for (id, due, attempt) in [("a", now + 3_600_000, 1), ("b", now + 100_000, 2)] {
        let job = json!({ "id": id, "action": "send", "attempt": attempt });
        server.run(&["ZADD", LATER, &due.to_string(), &job.to_string()]);
    }
    let record =
        ["HSET", "tempest:{mail}:job:b", "state", "later", "code", "handler_error", "message", "down"];
    server.run(&record);
    let text = shop.call(&["later"]).good();
    let lines = words(&text);
    assert_eq!(lines[0], ["QUEUE", "ID", "ACTION", "ATTEMPT", "DUE", "FAILED", "WITH"]);
    assert_eq!(lines[1][..7], ["mail", "b", "send", "2", "of", "3", "in"], "{text}");
    assert_eq!(lines[1][9..], ["handler_error:", "down"], "{text}");
    assert_eq!(ids(&shop.call(&["later", "--due-within", "10m", "--json"]).json()), ["b"]);
    assert_eq!(shop.call(&["later", "--json"]).json()[0]["error"]["code"], "handler_error");
    assert_eq!(shop.call(&["later", "run", "b"]).good(), "run: 1\n");
    let job: Value = serde_json::from_str(&server.cli("LPOP tempest:{mail}").text()).unwrap();
    assert_eq!(job["attempt"], 2, "it is the attempt it would have been");
    let said = shop.call(&["later", "run", "--all"]).one_line(2);
    assert!(said.starts_with("run now 1 delayed job of all queues: "), "{said}");
    assert_eq!(shop.call(&["later", "delete", "--all", "--yes"]).good(), "deleted: 1\n");
    assert_eq!(server.cli(&format!("EXISTS {LATER}")).integer(), 0);
    let told = shop.call(&["later"]);
    assert!(told.err.contains("no job is delayed"), "{told:?}");
}
