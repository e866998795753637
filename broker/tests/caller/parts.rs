//! Replies in parts: of one attempt, each once, in order, bounded in all.

use serde_json::{Value, json};
use tempest_broker::{Broker, Inbox, Waiter};
use tempest_protocol::{Code, Content};

use crate::{
    harness::{body, broker, failure, frame, id, none_yet, within},
    server::Server,
};

struct Bench {
    server: Server,
    inbox: Inbox,
    _broker: Broker,
}

impl Bench {
    async fn new() -> Self {
        let server = Server::start();
        let broker = broker(&server.url()).await;
        let inbox = broker.open_inbox("caller").await.expect("opened");
        Self { server, inbox, _broker: broker }
    }

    fn wait(&self) -> Waiter {
        self.inbox.expect(&id("a"))
    }

    fn send(&self, fields: Value) {
        self.server.run(&["RPUSH", self.inbox.key(), &frame(fields)]);
    }
}

/// The first part: it alone has status and headers.
fn first(attempt: u64, text: &str) -> Value {
    json!({"id": "a", "attempt": attempt, "more": true, "seq": 0, "status": 201, "headers": {"x": "y"}, "body": text})
}

fn part(attempt: u64, seq: u64, text: &str) -> Value {
    json!({"id": "a", "attempt": attempt, "more": true, "seq": seq, "body": text})
}

fn last(attempt: u64, seq: u64, text: &str) -> Value {
    json!({"id": "a", "attempt": attempt, "seq": seq, "body": text})
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_reply() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    let mut third = last(1, 2, "three");
    third["work_us"] = json!(1234);
    for fields in [first(1, "one "), part(1, 1, "two "), third] {
        bench.send(fields);
    }
    let whole = within("a reply", waiter.reply()).await.expect("readable");
    assert_eq!(whole.timing.work_us, Some(1234), "as the last part tells");
    let Content::Http { status, headers, body } = whole.content else { panic!("an HTTP reply") };
    assert_eq!(
        (status, headers.first("x"), body.as_ref()),
        (201, Some(b"y".as_slice()), b"one two three".as_slice())
    );
    assert!(!whole.more);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_out_of_order_and_twice_are_put_right() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    for fields in [last(1, 3, "d"), part(1, 1, "b"), part(1, 1, "B"), first(1, "a"), first(1, "A")] {
        bench.send(fields);
    }
    assert!(none_yet(&mut waiter).await, "a part is missing");
    bench.send(part(1, 2, "c"));
    assert_eq!(body(&mut waiter).await, "abcd");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_two_attempts_never_mix() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    for fields in
        [first(1, "dead "), part(1, 1, "worker "), first(2, "new "), part(1, 2, "late "), last(1, 3, "end")]
    {
        bench.send(fields);
    }
    assert!(none_yet(&mut waiter).await, "attempt 1 was overtaken");
    bench.send(last(2, 1, "attempt"));
    assert_eq!(body(&mut waiter).await, "new attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_lost_in_the_middle_of_its_parts_ends_the_wait() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    bench.send(first(1, "half"));
    bench.send(json!({"id": "a", "attempt": 1, "error": {"code": "worker_lost", "message": "it died"}}));
    let received = within("a reply", waiter.reply()).await.expect("readable");
    assert_eq!(failure(&received), ("worker_lost", "it died"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_may_be_the_last_part() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    bench.send(first(1, "half"));
    bench.send(
        json!({"id": "a", "attempt": 1, "seq": 1, "error": {"code": "handler_error", "message": "oops"}}),
    );
    let received = within("a reply", waiter.reply()).await.expect("readable");
    assert_eq!(failure(&received), ("handler_error", "oops"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_too_large_in_all_are_refused() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    let text = "x".repeat(9 << 20);
    bench.send(first(1, &text));
    bench.send(part(1, 1, &text));
    let refused = within("an end of the wait", waiter.reply()).await.expect_err("too large");
    assert_eq!(refused.code(), Code::TooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_part_that_comes_twice_counts_once() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    let text = "x".repeat(9 << 20);
    bench.send(first(1, &text));
    bench.send(first(1, &text));
    bench.send(last(1, 1, "end"));
    assert_eq!(body(&mut waiter).await.len(), text.len() + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_part_alone_is_no_reply() {
    let bench = Bench::new().await;
    let mut waiter = bench.wait();
    bench.send(json!({"id": "a", "attempt": 1, "seq": 0, "body": "no status"}));
    let refused = within("an end of the wait", waiter.reply()).await.expect_err("no status");
    assert_eq!(refused.code(), Code::BadReply);
}
