//! `tempest cancel`

use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::{server::Server, shop::Shop};

const RUN: &str = "tempest:{q}:run:h-1-abc.0";

fn job(id: &str, waited: bool) -> String {
    let reply_to = if waited { json!("tempest:mailbox:{m}") } else { Value::Null };
    json!({ "action": "a", "id": id, "reply_to": reply_to, "attempt": 2, "args": { "id": "inner" } })
        .to_string()
}

fn scene() -> (Server, Shop) {
    let server = Server::start();
    server.cli("SADD tempest:queues other q");
    server.cli("SADD tempest:{q}:workers h-1-abc.0 h-2-def.0");
    let shop = Shop::at(server.url());
    (server, shop)
}

/// A worker of tier L2 that runs this job: it stops when it is told, and does `last` before its ack. Gives what it heard.
fn worker(server: &Server, id: &str, last: Vec<String>) -> JoinHandle<String> {
    let frame = job(id, true);
    server.run(&["RPUSH", RUN, &frame]);
    let (mut control, mut client) = (server.client(), server.client());
    control.run(&["SUBSCRIBE", "tempest:{q}:control"]);
    std::thread::spawn(move || {
        let heard = control.receive().expect("told").list()[2].clone();
        if !last.is_empty() {
            client.run(&last.iter().map(String::as_str).collect::<Vec<_>>());
        }
        client.run(&["LREM", RUN, "1", &frame]);
        String::from_utf8(heard).expect("text")
    })
}

/// The only reply in the mailbox.
fn reply(server: &Server) -> Value {
    let replies = server.cli("LRANGE tempest:mailbox:{m} 0 -1").list();
    assert_eq!(replies.len(), 1);
    serde_json::from_slice(&replies[0]).expect("JSON")
}

#[test]
fn a_job_that_waits_is_removed_from_its_lane_and_its_client_is_told() {
    let (server, shop) = scene();
    for (key, id) in [("tempest:{q}:low", "a"), ("tempest:{q}:low", "j1"), ("tempest:{q}:low", "z")] {
        server.run(&["RPUSH", key, &job(id, true)]);
    }
    let told = shop.call(&["cancel", "j1"]).good();
    assert_eq!(told, "waiting in q, lane low: removed\nwhoever waited for its reply is told\n");
    assert_eq!(server.cli("LLEN tempest:{q}:low").integer(), 2);
    let reply = reply(&server);
    assert_eq!((&reply["id"], &reply["attempt"]), (&json!("j1"), &json!(2)));
    assert_eq!(reply["error"]["code"], "cancelled");
}

#[test]
fn nobody_is_told_of_a_job_nobody_waits_for() {
    let (server, shop) = scene();
    server.run(&["RPUSH", "tempest:{q}", &job("j1", false)]);
    assert_eq!(shop.call(&["cancel", "j1", "--queue", "q"]).good(), "waiting in q: removed\n");
    assert_eq!(server.cli("KEYS tempest:mailbox:*").list().len(), 0);
    assert_eq!(server.cli("EXISTS tempest:{q}").integer(), 0);
}

#[test]
fn all_copies_of_an_id_are_removed_as_far_as_it_was_asked_for() {
    let (server, shop) = scene();
    for key in ["tempest:{q}:high", "tempest:{q}", "tempest:{q}", "tempest:{q}:low", "tempest:{other}"] {
        server.run(&["RPUSH", key, &job("j1", false)]);
    }
    let told = shop.call(&["cancel", "j1", "--queue", "q", "--lane", "normal", "--json"]).json();
    let removed = json!({ "state": "waiting", "queue": "q", "lane": "normal", "worker": null, "removed": true, "ended_after_ms": null });
    assert_eq!(told, json!({ "id": "j1", "found": [removed, removed], "client_told": false }));
    let told = shop.call(&["cancel", "j1", "--queue", "q"]).good();
    assert_eq!(told, "waiting in q, lane high: removed\nwaiting in q, lane low: removed\n");
    assert_eq!(shop.call(&["cancel", "j1"]).good(), "waiting in other: removed\n");
}

#[test]
fn the_worker_that_runs_it_is_told_and_seen_to_stop() {
    let (server, shop) = scene();
    let worker = worker(&server, "j1", Vec::new());
    let told = shop.call(&["cancel", "j1"]).good();
    assert_eq!(worker.join().expect("it stopped"), "cancel j1");
    assert!(told.starts_with("running on h-1-abc: told, ended after "), "{told}");
    assert_eq!(reply(&server)["error"]["code"], "cancelled");
}

#[test]
fn what_its_worker_puts_off_while_it_is_told_is_removed_there() {
    let (server, shop) = scene();
    let later = ["ZADD", "tempest:{q}:later", "99999999999999", &job("j1", true)].map(str::to_owned);
    let worker = worker(&server, "j1", later.to_vec());
    let told = shop.call(&["cancel", "j1"]).good();
    worker.join().expect("it stopped");
    assert!(told.contains("due later in q: removed"), "{told}");
    assert_eq!(server.cli("EXISTS tempest:{q}:later").integer(), 0);
}

#[test]
fn a_worker_that_does_not_stop_is_said_to_run_and_may_be_asked_to_be_ended() {
    let (server, shop) = scene();
    server.run(&["RPUSH", RUN, &job("j1", false)]);
    let mut control = server.client();
    control.run(&["SUBSCRIBE", "tempest:{q}:control"]);
    let told = shop.call(&["cancel", "j1", "--kill-after", "100ms", "--json"]).json();
    assert_eq!(
        (&told["found"][0]["worker"], &told["found"][0]["ended_after_ms"]),
        (&json!("h-1-abc"), &Value::Null)
    );
    assert_eq!(told["found"].as_array().expect("a list").len(), 1);
    for line in ["cancel j1", "kill j1 100"] {
        assert_eq!(control.receive().expect("told").list()[2], line.as_bytes());
    }
    assert_eq!(server.run(&["LLEN", RUN]).integer(), 1, "it is its worker's");
}

#[test]
fn a_background_job_is_found_by_its_record_and_leaves_nothing_behind() {
    let (server, shop) = scene();
    let job = json!({ "action": "a", "id": "j1", "unique": "k" }).to_string();
    server.run(&["ZADD", "tempest:{q}:later", "7", &job]);
    server.run(&["HSET", "tempest:{q}:job:j1", "state", "later", "due", "7"]);
    server.run(&["SET", "tempest:{q}:unique:k", "j1"]);
    // No lane is searched: this one would be an error.
    server.run(&["SET", "tempest:{q}:low", "no list"]);
    assert_eq!(shop.call(&["cancel", "j1"]).good(), "due later in q: removed\n");
    assert_eq!(server.cli("KEYS tempest:{q}:[jlu]*").list(), [b"tempest:{q}:low"]);
    server.cli("DEL tempest:{q}:low");
    server.run(&["RPUSH", "tempest:{q}:low", &job]);
    server.run(&["HSET", "tempest:{q}:job:j1", "state", "waiting"]);
    assert_eq!(
        shop.call(&["cancel", "j1"]).good(),
        "waiting in q, lane low: removed\n",
        "the record was wrong"
    );
    assert_eq!(server.cli("EXISTS tempest:{q}:job:j1 tempest:{q}:low").integer(), 0);
}

#[test]
fn a_job_that_is_due_later_is_removed_and_a_dead_one_is_left() {
    let (server, shop) = scene();
    server.run(&["ZADD", "tempest:{q}:later", "99999999999999", &job("j1", false)]);
    assert_eq!(shop.call(&["cancel", "j1"]).good(), "due later in q: removed\n");
    let mut dead: Value = serde_json::from_str(&job("j2", false)).expect("JSON");
    (dead["error"], dead["died_at"]) = (json!({ "code": "handler_error", "message": "x" }), json!(1));
    server.run(&["ZADD", "tempest:{q}:dead", "1", &dead.to_string()]);
    assert_eq!(shop.call(&["cancel", "j2"]).good(), "dead in q: it runs no more; nothing is changed\n");
    assert_eq!(server.cli("ZCARD tempest:{q}:dead").integer(), 1);
}

#[test]
fn what_is_nowhere_is_not_found() {
    let (server, shop) = scene();
    server.run(&["RPUSH", "tempest:{q}", &job("other", false)]);
    let said = shop.call(&["cancel", "inner"]).one_line(1);
    assert!(said.starts_with("not found: "), "{said}");
    let told = shop.call(&["cancel", "inner", "--json"]);
    assert_eq!((told.code, told.out.contains("\"found\": []")), (Some(1), true), "{told:?}");
    assert_eq!(shop.call(&["cancel", "not/an/id"]).code, Some(2));
    assert_eq!(shop.call(&["cancel", "j1", "--lane", "fast"]).code, Some(2));
    assert_eq!(server.cli("LLEN tempest:{q}").integer(), 1);
}

#[test]
fn a_job_that_is_set_aside_for_its_key_is_removed_with_its_record() {
    let (server, shop) = scene();
    for id in ["j1", "other"] {
        let job = json!({ "id": id, "action": "a", "lane": "low", "key": "bob" }).to_string();
        server.run(&["RPUSH", "tempest:{q}:aside:bob", &job]);
        server.run(&[
            "HSET",
            &format!("tempest:{{q}}:job:{id}"),
            "state",
            "waiting",
            "lane",
            "low",
            "key",
            "bob",
        ]);
    }
    server.cli("SADD tempest:{q}:asides bob");
    let told = shop.call(&["job", "j1", "--json"]).json();
    assert_eq!((&told["state"], &told["waits_for_key"]), (&json!("waiting"), &json!("bob")));
    let text = shop.call(&["job", "j1"]).good();
    assert!(text.contains("waits     for its key bob\n"), "{text}");
    assert_eq!(shop.call(&["cancel", "j1"]).good(), "waiting in q for its key bob: removed\n");
    assert_eq!(server.cli("EXISTS tempest:{q}:job:j1").integer(), 0);
    let told = shop.call(&["cancel", "other", "--json"]).json();
    assert_eq!((&told["found"][0]["removed"], &told["found"][0]["lane"]), (&json!(true), &json!("low")));
    assert_eq!(server.cli("EXISTS tempest:{q}:aside:bob tempest:{q}:asides").integer(), 0);
    shop.call(&["cancel", "j1"]).one_line(1);
}
