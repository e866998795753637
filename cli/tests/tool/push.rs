//! `tempest push`

use std::{thread::JoinHandle, time::Instant};

use serde_json::{Value, json};

use crate::{server::Server, shop::Shop};

/// A worker that takes one job of queue `q` and sends what `reply` makes of it. Gives the job.
fn worker(server: &Server, reply: impl Fn(&Value) -> Value + Send + 'static) -> JoinHandle<Value> {
    let mut client = server.client();
    std::thread::spawn(move || {
        let claimed = client.run(&["BLPOP", "tempest:{q}", "15"]).list();
        let job: Value = serde_json::from_slice(&claimed[1]).expect("a job");
        let reply = reply(&job).to_string();
        client.run(&["RPUSH", job["reply_to"].as_str().expect("somebody waits"), &reply]);
        job
    })
}

#[test]
fn a_job_is_pushed_as_it_was_written() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let arguments = r#"{"big":9007199254740993,"one":1.0}"#;
    let id = shop.call(&["push", "q", "mail", arguments]).good();
    let job = server.cli("LPOP tempest:{q}").text();
    assert!(job.contains(&format!(r#""args":{arguments}"#)), "{job}");
    let job: Value = serde_json::from_str(&job).unwrap();
    assert_eq!((job["action"].as_str(), job["id"].as_str()), (Some("mail"), Some(id.trim())));
    assert!(job["reply_to"].is_null() && job["deadline"].is_null() && job["queued_at"].is_u64(), "{job}");
    assert_eq!(server.cli("SMEMBERS tempest:queues").list(), [b"q"], "whoever recovers knows the queue");
}

#[test]
fn lane_id_prefix_and_input_can_be_chosen() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let call = ["push", "q", "mail", "-", "--lane", "high", "--id", "mine", "--prefix", "acme", "--json"];
    let told = shop.call_with_input(&call, b"[1]\n").json();
    assert_eq!(told, json!({ "id": "mine", "queue": "q", "pushed": true }));
    let job = server.cli("LPOP acme:{q}:high").text();
    assert!(job.contains(r#""id":"mine""#) && job.contains(r#""args":[1]"#), "{job}");
}

#[test]
fn a_background_job_has_all_that_was_said_and_a_record() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let call = [
        "push",
        "q",
        "mail",
        "--id",
        "mine",
        "--attempts",
        "5",
        "--ttl",
        "2d",
        "--keep",
        "1h",
        "--key",
        "a/b",
    ];
    assert_eq!(shop.call(&call).good(), "mine\n");
    let job: Value = serde_json::from_str(&server.cli("LINDEX tempest:{q} 0").text()).unwrap();
    assert_eq!((&job["attempts"], &job["keep"], &job["key"]), (&json!(5), &json!(3_600_000), &json!("a/b")));
    let days = job["deadline"].as_u64().unwrap() - job["queued_at"].as_u64().unwrap();
    assert!(days.abs_diff(2 * 86_400_000) < 60_000, "{job}");
    assert_eq!(server.cli("HGET tempest:{q}:job:mine state").text(), "waiting");
    let again = shop.call(&call);
    assert!(again.err.contains("known already"), "{again:?}");
    assert_eq!((again.good(), server.cli("LLEN tempest:{q}").integer()), ("mine\n".to_owned(), 1));
}

#[test]
fn a_delayed_job_lies_in_later_until_it_is_due() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    shop.call(&["push", "q", "mail", "--id", "a", "--at", "2099-12-24T18:00:00+01:00", "--lane", "low"])
        .good();
    let later = server.cli("ZRANGE tempest:{q}:later 0 -1 WITHSCORES").list();
    assert_eq!(later[1], b"4101814800000");
    let job: Value = serde_json::from_slice(&later[0]).unwrap();
    assert_eq!((&job["id"], &job["lane"]), (&json!("a"), &json!("low")));
    let now = server.cli("TIME").list();
    let now: u64 = String::from_utf8_lossy(&now[0]).parse().unwrap();
    shop.call(&["push", "q", "mail", "--id", "b", "--in", "7d"]).good();
    let due: u64 = server.cli("HGET tempest:{q}:job:b due").text().parse().unwrap();
    assert!((due / 1_000).abs_diff(now + 7 * 86_400) < 60, "{due}");
    assert_eq!(server.cli("EXISTS tempest:{q}:low").integer(), 0);
}

#[test]
fn of_jobs_with_a_unique_key_one_is_pushed() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    shop.call(&["push", "q", "mail", "--unique", "k", "--id", "first"]).good();
    let said = shop.call(&["push", "q", "mail", "--unique", "k"]).one_line(1);
    assert_eq!(said, "not_unique: job first holds the key k; nothing was pushed");
    shop.call(&["push", "q", "mail", "--unique", "other", "--unique-for", "1h", "--id", "second"]).good();
    assert_eq!(server.cli("GET tempest:{q}:unique:other").text(), "!second");
    assert_eq!(server.cli("LLEN tempest:{q}").integer(), 2);
    let job = server.cli("LINDEX tempest:{q} 1").text();
    assert!(job.contains(r#""unique":"other","unique_while":"time""#), "{job}");
}

#[test]
fn many_jobs_come_a_line_each_in_their_order() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let lines: String = (0..1_200).map(|number| format!("{{\"n\":{number}}}\n")).collect();
    let told = shop.call_with_input(&["push", "q", "mail", "--many"], format!("\n{lines}").as_bytes()).good();
    assert_eq!((told.lines().count(), server.cli("LLEN tempest:{q}").integer()), (1_200, 1_200));
    let last: Value = serde_json::from_str(&server.cli("LINDEX tempest:{q} -1").text()).unwrap();
    assert_eq!((&last["args"]["n"], last["id"].as_str()), (&json!(1_199), told.lines().last()));
    let told = shop.call_with_input(&["push", "q", "mail", "--many", "--json"], b"1\n").json();
    assert_eq!(told["ids"].as_array().unwrap().len(), 1);
    let said = shop.call_with_input(&["push", "q", "mail", "--many"], b"1\n{\n").one_line(2);
    assert!(said.starts_with("line 2: the arguments are not JSON: "), "{said}");
    assert_eq!(
        server.cli("LLEN tempest:{q}").integer(),
        1_201,
        "nothing of a chunk with a mistake is pushed"
    );
}

#[test]
fn what_a_job_with_a_waiter_cannot_have_is_refused() {
    for more in [&["--in", "5s"][..], &["--keep", "1h"], &["--unique", "k"], &["--ttl", "1h"], &["--many"]] {
        let told = Shop::new().call(&[&["push", "q", "a", "--wait"][..], more].concat());
        assert_eq!(told.code, Some(2), "{more:?}: {told:?}");
    }
    for wrong in [
        &["--keep", "31d"][..],
        &["--at", "tomorrow"],
        &["--unique-while", "queued"],
        &["--in", "1s", "--at", "1"],
    ] {
        let told = Shop::new().call(&[&["push", "q", "a"][..], wrong].concat());
        assert_eq!(told.code, Some(2), "{wrong:?}: {told:?}");
    }
}

#[test]
fn the_result_of_a_waited_job_is_printed() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let worker = worker(&server, |job| json!({ "id": job["id"], "result": { "got": job["args"] } }));
    let told = shop.call(&["push", "q", "echo", "[1,2]", "--wait", "--timeout", "10s"]).good();
    assert_eq!(told, "{\"got\":[1,2]}\n");
    let job = worker.join().unwrap();
    assert!(job["deadline"].as_u64().unwrap() > job["queued_at"].as_u64().unwrap());
    assert_eq!(server.cli("SCARD tempest:mailboxes").integer(), 0, "the mailbox is gone");
}

#[test]
fn the_body_of_an_http_reply_is_printed() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    worker(&server, |job| json!({ "id": job["id"], "status": 200, "body": "hello" }));
    assert_eq!(shop.call(&["push", "q", "url", "{}", "--wait"]).good(), "hello");
    worker(&server, |job| json!({ "id": job["id"], "status": 404, "body": "nothing" }));
    let told = shop.call(&["push", "q", "url", "{}", "--wait"]);
    assert_eq!(told.out, "nothing");
    assert_eq!(told.one_line(1), "the worker replied with status 404");
    worker(&server, |job| json!({ "id": job["id"], "status": 201, "body_base64": "/w==" }));
    let reply = shop.call(&["push", "q", "url", "{}", "--wait", "--json"]).json();
    assert_eq!((reply["status"].as_u64(), reply["body_base64"].as_str()), (Some(201), Some("/w==")));
}

#[test]
fn an_error_of_the_worker_is_one_line() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    worker(
        &server,
        |job| json!({ "id": job["id"], "error": { "code": "handler_error", "message": "a\nb" } }),
    );
    let told = shop.call(&["push", "q", "echo", "--wait"]);
    assert_eq!(told.one_line(1), "handler_error: a b");
}

#[test]
fn a_job_nobody_takes_is_taken_back() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let begun = Instant::now();
    let line = shop.call(&["push", "q", "echo", "--wait", "--timeout", "300ms"]).one_line(1);
    assert!(line.contains("no worker of queue q took the job") && line.contains("300ms"), "{line}");
    assert!(begun.elapsed().as_secs() < 5);
    assert_eq!(server.cli("EXISTS tempest:{q}").integer(), 0);
}

#[test]
fn ctrl_c_cancels_a_job_that_runs() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let mut control = server.client();
    control.run(&["SUBSCRIBE", "tempest:{q}:control"]);
    let call = ["push", "q", "echo", "--wait", "--id", "mine"];
    let child = shop.command(&call).spawn().unwrap();
    let taken = server.cli("BLPOP tempest:{q} 15").list();
    assert_eq!(taken.len(), 2);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let told = crate::shop::Told::of(child.wait_with_output().unwrap());
    assert_eq!(told.one_line(1), "interrupted: the job was told to cancel");
    assert_eq!(control.receive().unwrap().list()[2], b"cancel mine");
}
