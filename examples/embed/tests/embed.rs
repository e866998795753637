//! The example as a user runs it: the program, a real Redis, and a worker that is nothing but Redis commands.

#[path = "../../../broker/tests/support/server.rs"]
mod server;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use server::{Client, Server, eventually};

/// The example, running.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start(redis_url: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_embed"))
            .env("TEMPEST_REDIS_URL", redis_url)
            .env("PORT", "0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints its address");
        let address = line.trim().strip_prefix("http://").expect("an address").to_owned();
        Self { child, address }
    }

    fn request(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    }

    /// The whole response, as text.
    fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: example\r\nconnection: close\r\n\r\n");
        let mut response = String::new();
        self.request(&request).read_to_string(&mut response).expect("a response");
        response
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Takes one job off the queue by hand, answers it, and gives its arguments.
fn work_once(mut redis: Client, body: &str) -> Value {
    let claimed = redis.run(&["BLPOP", "tempest:{default}", "20"]).list();
    let job: Value = serde_json::from_slice(&claimed[1]).expect("a job");
    let reply = json!({"id": job["id"], "status": 200, "headers": {"x-by": "hand"}, "body": body});
    redis.run(&["RPUSH", job["reply_to"].as_str().expect("a mailbox"), &reply.to_string()]);
    job["args"].clone()
}

fn body_of(response: &str) -> &str {
    response.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn its_own_handler_workers_and_events_live_side_by_side() {
    let redis = Server::start();
    let mut program = Program::start(&redis.url());

    assert!(program.get("/hello").ends_with("Hello from the application itself\n"));

    let client = redis.client();
    let worker = std::thread::spawn(move || work_once(client, "from a worker"));
    let response = program.get("/any/thing?x=1");
    assert!(
        response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nfrom a worker"),
        "{response}"
    );
    assert!(response.contains("x-by: hand\r\n"), "{response}");
    let args = worker.join().expect("the worker answers");
    assert_eq!((&args["url"], &args["remote"]), (&json!("/any/thing?x=1"), &json!("127.0.0.1")));

    let mut stream = BufReader::new(program.request("GET /sub/test HTTP/1.1\r\nhost: example\r\n\r\n"));
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).expect("a head") > 0, "the stream ended");
    }
    assert_eq!(
        redis.run(&["PUBLISH", "test", r#"["Bob"]"#]).integer(),
        1,
        "the headers mean that it listens"
    );
    while !line.starts_with("data:") {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an event") > 0, "the stream ended");
    }
    assert_eq!(line, "data: Bob\n");

    program.signal(Signal::TERM);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the stream ends properly");
    assert!(rest.contains("retry: "), "a hint to come back: {rest:?}");
    eventually("it ends", || {
        program.child.try_wait().expect("a child").is_some_and(|status| status.success())
    });
    assert!(redis.cli("KEYS tempest:mailbox*").list().is_empty(), "its mailbox is given up");
}

#[test]
fn what_is_for_later_is_answered_at_once_and_looked_at_until_it_is_done() {
    let redis = Server::start();
    let program = Program::start(&redis.url());
    let post = "POST /later HTTP/1.1\r\nhost: example\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let mut response = String::new();
    program.request(post).read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 202 Accepted\r\n"), "{response}");
    let accepted: Value = serde_json::from_str(body_of(&response)).expect("JSON");
    let (id, at) = (accepted["id"].as_str().expect("an id"), accepted["status"].as_str().expect("a path"));
    assert_eq!(at, format!("/jobs/{id}"));
    let shown = || -> Value { serde_json::from_str(body_of(&program.get(at))).expect("JSON") };
    assert_eq!(shown()["state"], "waiting");

    let lane = redis.run(&["LPOP", "tempest:{default}"]).text();
    let job: Value = serde_json::from_str(&lane).expect("a job");
    assert_eq!((&job["args"]["url"], &job["args"]["body"]), (&json!("/later"), &json!("hi")));
    let record = format!("tempest:{{default}}:job:{id}");
    redis.run(&[
        "RPUSH",
        &format!("{record}:result"),
        &json!({"id": id, "status": 200, "body": "done"}).to_string(),
    ]);
    redis.run(&["HSET", &record, "state", "done"]);
    assert_eq!((&shown()["state"], &shown()["response"]["body"]), (&json!("done"), &json!("done")));
    for nowhere in ["/jobs/nothing", "/jobs/", "/jobs/a/b"] {
        assert!(program.get(nowhere).starts_with("HTTP/1.1 404 "), "{nowhere}");
    }
}

#[test]
fn without_redis_it_says_so_in_one_line_and_ends() {
    let url = format!("redis://127.0.0.1:{}", server::free_port());
    let output = Command::new(env!("CARGO_BIN_EXE_embed"))
        .env("TEMPEST_REDIS_URL", &url)
        .env("PORT", "0")
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("the example starts");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&url) && said.trim().lines().count() == 1, "{said}");
}
