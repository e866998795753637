//! `tempest jobs` and `tempest job`

use serde_json::json;

use crate::{server::Server, shop::Shop};

const RUN: &str = "tempest:{mail}:run:h-1-abc.0";

fn scene() -> (Server, Shop) {
    let server = Server::start();
    server.cli("SADD tempest:queues other mail");
    server.cli("SADD tempest:{mail}:workers h-1-abc.0");
    let shop = Shop::at(server.url());
    (server, shop)
}

fn record(server: &Server, id: &str, fields: &[&str]) {
    server.run(&[&["HSET", &format!("tempest:{{mail}}:job:{id}")], fields].concat());
}

#[test]
fn what_runs_comes_first_then_the_head_of_each_lane() {
    let (server, shop) = scene();
    server.run(&["RPUSH", RUN, r#"{"id":"r","action":"send","attempt":2}"#]);
    record(&server, "r", &["state", "running", "since", "1", "progress", r#"{"done":3}"#]);
    for id in ["n1", "n2", "n3"] {
        server.run(&["RPUSH", "tempest:{mail}", &json!({ "id": id, "action": "send" }).to_string()]);
    }
    server.run(&["RPUSH", "tempest:{mail}:high", r#"{"id":"h","action":"greet"}"#]);
    server.run(&["RPUSH", "tempest:{other}", "no job"]);
    let told = shop.call(&["jobs", "--limit", "2", "--json"]).json();
    let shown: Vec<_> = told.as_array().unwrap().iter().map(|job| (&job["state"], &job["id"])).collect();
    let waiting = |id| (json!("waiting"), id);
    let expected = [
        (json!("running"), json!("r")),
        waiting(json!("h")),
        waiting(json!("n1")),
        waiting(json!("n2")),
        waiting(json!(null)),
    ];
    assert_eq!(shown, expected.iter().map(|(state, id)| (state, id)).collect::<Vec<_>>());
    assert_eq!((&told[0]["worker"], &told[0]["progress"]), (&json!("h-1-abc"), &json!({ "done": 3 })));
    let text = shop.call(&["jobs", "mail"]).good();
    let first: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(first[..7], ["running", "mail", "normal", "r", "send", "2", "of"], "{text}");
    assert_eq!(first[10..], ["h-1-abc", "{\"done\":3}"], "{text}");
    assert_eq!(text.lines().count(), 6);
    let told = shop.call(&["jobs", "nowhere"]);
    assert!(told.err.contains("nothing runs and nothing waits"), "{told:?}");
    assert_eq!(told.good(), "");
}

#[test]
fn a_job_is_shown_where_its_record_says() {
    let (server, shop) = scene();
    record(&server, "a", &["state", "waiting", "action", "send", "lane", "normal", "queued_at", "5"]);
    server.run(&["RPUSH", "tempest:{mail}", r#"{"id":"a","action":"send","args":{"to":"bob"}}"#]);
    let told = shop.call(&["job", "a", "--json"]).json();
    assert_eq!(
        (&told["state"], &told["queue"], &told["args"]["to"]),
        (&json!("waiting"), &json!("mail"), &json!("bob"))
    );
    server.run(&["ZADD", "tempest:{mail}:later", "7", r#"{"id":"b","action":"send","attempt":2}"#]);
    record(&server, "b", &["state", "later", "due", "7", "attempt", "1"]);
    assert_eq!(shop.call(&["job", "b", "--json"]).json()["attempt"], 2, "the one that it will be");
    server.run(&["DEL", "tempest:{mail}"]);
    let text = shop.call(&["job", "a", "--queue", "mail"]).good();
    assert!(text.contains("not near the ends of its lane"), "{text}");
    record(&server, "a", &["state", "running", "worker", "h-1-abc", "since", "1", "progress", "7"]);
    server.run(&["RPUSH", "tempest:{mail}:job:a:log", "one", "two"]);
    let text = shop.call(&["job", "a", "--with-log"]).good();
    for line in ["state     running", "worker    h-1-abc", "progress  7", "log       two"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn the_exit_code_says_how_a_job_ended() {
    let (server, shop) = scene();
    record(&server, "good", &["state", "done", "done_at", "1", "work_us", "1500"]);
    server.run(&["RPUSH", "tempest:{mail}:job:good:result", r#"{"id":"good","result":{"sent":1}}"#]);
    assert_eq!(shop.call(&["job", "good", "--json"]).json()["result"], json!({ "sent": 1 }));
    let text = shop.call(&["job", "good"]).good();
    assert!(text.contains("result    {\"sent\":1}") && text.contains("took      2 ms"), "{text}");
    record(&server, "bad", &["state", "dead", "died_at", "1", "code", "handler_error", "message", "down"]);
    assert_eq!(shop.call(&["job", "bad"]).one_line(1), "it is dead: handler_error: down");
    assert!(shop.call(&["job", "nowhere"]).one_line(1).starts_with("not found: "));
}

#[test]
fn a_job_without_a_record_is_searched_for() {
    let (server, shop) = scene();
    server.run(&["RPUSH", RUN, r#"{"id":"r","action":"send"}"#]);
    let told = shop.call(&["job", "r", "--json"]).json();
    assert_eq!((&told["state"], &told["worker"]), (&json!("running"), &json!("h-1-abc")));
    let told = shop.call(&["job", "r", "--wait"]);
    assert!(told.one_line(1).contains("no record"));
}

#[test]
fn one_waits_for_the_end_of_a_job() {
    let (server, shop) = scene();
    record(&server, "a", &["state", "running", "worker", "h-1-abc"]);
    let said = shop.call(&["job", "a", "--wait", "--timeout", "50ms"]).one_line(1);
    assert_eq!(said, "it was not done in time");
    let mut client = server.client();
    let ending = std::thread::spawn(move || {
        // As soon as the tool has begun to wait.
        while !client.run(&["INFO", "clients"]).text().contains("blocked_clients:1") {}
        client.run(&["HSET", "tempest:{mail}:job:a", "state", "done"]);
        client.run(&["RPUSH", "tempest:{mail}:job:a:result", r#"{"id":"a","result":[1]}"#]);
    });
    let told = shop.call(&["job", "a", "--wait", "--timeout", "20s", "--json"]).json();
    ending.join().unwrap();
    assert_eq!((&told["state"], &told["result"]), (&json!("done"), &json!([1])));
    record(&server, "b", &["state", "dead", "code", "x", "message", "y"]);
    assert_eq!(shop.call(&["job", "b", "--wait"]).one_line(1), "it is dead: x: y");
}
