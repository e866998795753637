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
    assert_eq!(told, json!({ "id": "mine", "queue": "q", "depth": 1 }));
    let job = server.cli("LPOP acme:{q}:high").text();
    assert!(job.contains(r#""id":"mine""#) && job.contains(r#""args":[1]"#), "{job}");
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
