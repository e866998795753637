//! The hello worker as a process, seen from `redis-cli`.

#[path = "../../../../broker/tests/support/server.rs"]
mod server;

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use server::{Server, eventually, free_port};

const MAILBOX: &str = "tempest:mailbox:{me}";

/// A worker process; it is killed when the test ends.
struct Hello {
    child: Child,
}

impl Hello {
    fn start(url: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hello-rust"));
        command.env("TEMPEST_REDIS_URL", url).envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("the worker starts") }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("it lives");
    }

    /// Waits for its end. Gives how it ended and what it said on stdout and stderr.
    fn ended(mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().expect("it ends");
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("piped").read_to_string(&mut err).expect("text");
        (status, out, err)
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn get(server: &Server, id: &str) -> String {
    let job = format!(
        r#"{{"id":"{id}","reply_to":"{MAILBOX}","action":"url","args":{{"method":"GET","url":"/","headers":{{}}}}}}"#
    );
    server.run(&["RPUSH", "tempest:{default}", &job]);
    job
}

/// The next reply, without what it tells of its time, which it must tell between `attempt` and the rest.
fn reply(server: &Server) -> String {
    let popped = server.run(&["BLPOP", MAILBOX, "10"]).list();
    let text = String::from_utf8_lossy(popped.last().expect("a reply comes")).into_owned();
    let (before, rest) = text.split_once(r#""claimed_at":"#).expect("when it was claimed");
    let (times, after) = rest.split_once(r#","work_us":"#).expect("how long it took");
    let (work_us, after) = after.split_once(',').expect("what else");
    assert!(times.parse::<u64>().is_ok() && work_us.parse::<u64>().is_ok(), "{text}");
    format!("{before}{after}")
}

fn blocks(server: &Server) {
    eventually("the worker waits for jobs", || {
        server.cli("INFO clients").text().contains("blocked_clients:1")
    });
}

#[test]
fn it_counts_the_requests_it_answers_and_echoes() {
    let server = Server::start();
    let worker = Hello::start(&server.url(), &[("TEMPEST_WORKER_TAG", "tag7")]);
    for number in 1..=3 {
        get(&server, &format!("job-{number}"));
        let reply = reply(&server);
        let start = format!(r#"{{"id":"job-{number}","attempt":1,"status":200,"#);
        assert!(reply.starts_with(&start), "{reply}");
        assert!(reply.contains(&format!(r#""body":"Hello world! #{number}""#)), "{reply}");
        assert!(reply.contains(r#""content-type":"text/plain; charset=utf-8""#), "{reply}");
    }
    let echo = format!(r#"{{"id":"e","reply_to":"{MAILBOX}","action":"echo","args":{{"a":[1,null]}}}}"#);
    server.run(&["RPUSH", "tempest:{default}", &echo]);
    assert_eq!(reply(&server), r#"{"id":"e","attempt":1,"result":{"a":[1,null]}}"#);
    let entries = server.cli("SMEMBERS tempest:{default}:workers").list();
    let entry = String::from_utf8_lossy(&entries[0]).into_owned();
    assert!(entry.ends_with(&format!("-{}-tag7.0", worker.child.id())), "{entry}");
}

#[test]
fn it_ends_on_sigterm_with_one_line_and_without_a_trace() {
    let server = Server::start();
    let worker =
        Hello::start(&server.url(), &[("TEMPEST_LANES", "high,normal"), ("TEMPEST_CONCURRENCY", "2")]);
    get(&server, "job");
    reply(&server);
    worker.signal(Signal::TERM);
    let (status, out, err) = worker.ended();
    assert!(status.success(), "{status}: {err}");
    assert!(out.starts_with("ended after ") && out.ends_with(" s: 1 done, 0 failed\n"), "{out}");
    let left = server.run(&["KEYS", "tempest:{default}*"]).list();
    assert!(left.is_empty(), "{left:?}");
}

/// Trap 11: stopped while its claim blocked; meanwhile others took the job away. It must not run it when it wakes.
#[test]
fn a_stopped_worker_does_not_run_what_was_taken_from_it() {
    let server = Server::start();
    let worker = Hello::start(&server.url(), &[]);
    blocks(&server);
    worker.signal(Signal::STOP);
    let job = get(&server, "lost");
    let mut held = Vec::new();
    eventually("the claim took it", || {
        held = server.run(&["KEYS", "tempest:{default}:run:*"]).list();
        !held.is_empty()
    });
    eventually("its lease is gone", || server.run(&["KEYS", "tempest:{default}:lease:*"]).list().is_empty());
    assert_eq!(server.run(&[b"LREM", &held[0][..], b"1", job.as_bytes()]).integer(), 1);
    worker.signal(Signal::CONT);
    get(&server, "next");
    let reply = reply(&server);
    assert!(reply.contains(r#""id":"next""#) && reply.contains("Hello world! #1\""), "{reply}");
}

/// A worker killed while it is idle is never handed a job; nothing is lost (tier L1).
#[test]
fn a_killed_worker_leaves_waiting_jobs_to_the_next() {
    let server = Server::start();
    let worker = Hello::start(&server.url(), &[]);
    blocks(&server);
    worker.signal(Signal::KILL);
    worker.ended();
    get(&server, "waits");
    let next = Hello::start(&server.url(), &[]);
    assert!(reply(&server).contains(r#""id":"waits""#));
    next.signal(Signal::INT);
    assert!(next.ended().0.success());
}

#[test]
fn mistakes_are_one_clear_line() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let cases = [
        (url.as_str(), None, url.as_str()),
        ("localhost", None, "redis://127.0.0.1:6379"),
        (&url, Some(("TEMPEST_CONCURRENCY", "many")), "TEMPEST_CONCURRENCY"),
        (&url, Some(("TEMPEST_WORKER_TAG", "A B")), "TEMPEST_WORKER_TAG"),
    ];
    for (url, variable, part) in cases {
        let (status, out, err) = Hello::start(url, variable.as_slice()).ended();
        assert_eq!((status.code(), out.as_str()), (Some(1), ""), "{err}");
        assert!(err.starts_with("hello-rust: ") && err.contains(part), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
