//! `tempest queues` and `tempest workers`

use serde_json::json;

use crate::{server::Server, shop::Shop};

fn scene() -> (Server, Shop) {
    let server = Server::start();
    server.cli("SADD tempest:queues mail default");
    server.cli("RPUSH tempest:{mail} 1 2");
    server.cli("RPUSH tempest:{mail}:low 3");
    server.cli("ZADD tempest:{mail}:dead 1 x");
    server.cli("SADD tempest:{mail}:workers h-1-abc.0 h-1-abc.1 h-2-def.0");
    server.cli("RPUSH tempest:{mail}:run:h-1-abc.1 j");
    let about = r#"{"lang":"python","pid":12,"host":"h","version":"0.1.0","state":"draining"}"#;
    server.run(&["SET", "tempest:{mail}:lease:h-1-abc", about]);
    let shop = Shop::at(server.url());
    (server, shop)
}

fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn queues_are_shown_in_order() {
    let (_server, shop) = scene();
    let text = shop.call(&["queues"]).good();
    assert_eq!(
        words(&text),
        [
            vec!["QUEUE", "HIGH", "NORMAL", "LOW", "RUNNING", "LATER", "DEAD", "WORKERS", "LIMITS"],
            vec!["default", "0", "0", "0", "0", "0", "0", "0", "-"],
            vec!["mail", "0", "2", "1", "1", "0", "1", "1", "-"],
        ]
    );
    let told = shop.call(&["queues", "--json"]).json();
    assert_eq!(told[1]["queue"], "mail");
    assert_eq!(told[1]["waiting"]["normal"]["jobs"], 2);
    assert!(told[1]["waiting"]["normal"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(
        (&told[1]["running"], &told[1]["dead"], &told[1]["workers"]),
        (&json!(1), &json!(1), &json!(1))
    );
}

#[test]
fn workers_are_shown_with_what_they_say_of_themselves() {
    let (_server, shop) = scene();
    let text = shop.call(&["workers"]).good();
    assert_eq!(
        words(&text)[1..],
        [
            vec!["h-1-abc", "mail", "draining", "2", "1", "python", "12", "-", "-", "-", "-", "-"],
            vec!["h-2-def", "mail", "gone", "1", "0", "-", "-", "-", "-", "-", "-", "-"],
        ]
    );
    let told = shop.call(&["workers", "--json"]).json();
    assert_eq!((&told[0]["alive"], &told[0]["about"]["lang"]), (&json!(true), &json!("python")));
    assert_eq!((&told[1]["alive"], &told[1]["about"]), (&json!(false), &json!(null)));
}

#[test]
fn workers_are_shown_with_what_their_supervisor_knows() {
    let (server, shop) = scene();
    let child = |name: &str, tag: Option<&str>, state: &str| {
        json!({"name": name, "number": 1, "tag": tag, "state": state, "pid": 12, "memory": 5 << 20, "restarts": 3,
            "last_death": {"cause": "exited with code 1", "at": 0}})
    };
    let children = [child("web", Some("abc"), "running"), child("bad", None, "crash_loop")];
    let about = json!({"host": "h", "workers": children}).to_string();
    server.run(&["ZADD", "tempest:supervisors", "0", "h-9-s"]);
    server.run(&["SET", "tempest:supervisor:{h-9-s}", &about]);
    server.run(&["LSET", "tempest:{mail}:run:h-1-abc.1", "0", r#"{"id":"i","action":"send"}"#]);
    let text = shop.call(&["workers"]).good();
    let lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(
        lines[1].starts_with("web.1 mail draining 2 1 python 12 send - 5 MiB 3 exited with code 1, "),
        "{text}"
    );
    assert!(lines[2].starts_with("h-2-def mail gone"), "{text}");
    assert!(lines[3].starts_with("bad.1 - crash_loop - - - 12 - - 5 MiB 3 exited with code 1, "), "{text}");
    let told = shop.call(&["workers", "--json"]).json();
    assert_eq!((&told[0]["child"]["name"], &told[0]["job"]["id"]), (&json!("web"), &json!("i")));
    assert_eq!((&told[2]["worker"], &told[2]["state"]), (&json!(null), &json!("crash_loop")));
}

#[test]
fn an_empty_cluster_is_no_failure() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    assert_eq!(shop.call(&["queues", "--json"]).json(), json!([]));
    assert_eq!(shop.call(&["workers", "--json"]).json(), json!([]));
    let told = shop.call(&["queues"]);
    assert!(told.err.contains("no queue was used yet"), "{told:?}");
    assert_eq!(told.good(), "");
}
