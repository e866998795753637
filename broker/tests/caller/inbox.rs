//! Mailboxes: no reply is lost at whatever byte a connection is cut, and nothing is left behind.

use std::time::Duration;

use serde_json::json;
use tempest_protocol::Code;

use crate::{
    harness::{body, broker, failure, frame, id, none_yet, reply, topics, within},
    proxy::{Act, Fault, Proxy, Way},
    server::{Server, eventually},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_reaches_the_one_who_waits_for_it() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let (mut a, mut b) = (inbox.expect(&id("a")), inbox.expect(&id("b")));
    server.run(&[
        "RPUSH",
        inbox.key(),
        &reply("b", "two"),
        &reply("nobody", "?"),
        "garbage",
        &reply("a", "one"),
    ]);
    assert_eq!((body(&mut a).await, body(&mut b).await), ("one".into(), "two".into()));
    eventually("what was read is removed", || server.run(&["LLEN", inbox.key()]).integer() == 0);
    drop((a, b));
    assert_eq!(inbox.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_says_that_it_lives_and_leaves_nothing_behind() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let about = format!("{}:about", inbox.key());
    let name = inbox.mailbox().to_string();
    assert!((1..=10_000).contains(&server.run(&["PTTL", &about]).integer()));
    assert_eq!(server.run(&["SISMEMBER", "tempest:mailboxes", &name]).integer(), 1);
    server.run(&["DEL", &about]);
    eventually("a beat brings it back", || server.run(&["EXISTS", &about]).integer() == 1);
    inbox.close().await.expect("closed");
    server.run(&["RPUSH", "elsewhere", "x"]);
    let keys = server.cli("KEYS *").list();
    assert_eq!(keys, [b"elsewhere".to_vec()], "a closed mailbox stays closed");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(server.run(&["EXISTS", &about]).integer(), 0, "no beat comes after the close");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_label_twice_is_two_mailboxes() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let (a, b) = (
        broker.open_inbox("caller").await.expect("opened"),
        broker.open_inbox("caller").await.expect("opened"),
    );
    assert_ne!(a.key(), b.key());
    assert!(broker.open_inbox("not a name").await.is_err());
}

/// The reader peeks before it removes, so it does not matter where the connection breaks.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_at_any_byte_of_a_look_loses_no_reply() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let mut cuts = 0;
    for (way, after) in
        [(Way::Answer, "BLMOVE"), (Way::Request, "LTRIM"), (Way::Answer, "LRANGE"), (Way::Answer, "LTRIM")]
    {
        for bytes in [0, 1, 5, 40, 90] {
            proxy.prepare(Fault { way, after: after.into(), bytes, act: Act::Cut });
            cuts += 1;
            let names: Vec<_> = (0..5).map(|n| format!("{way:?}-{after}-{bytes}-{n}")).collect();
            let mut waiters: Vec<_> = names.iter().map(|name| inbox.expect(&id(name))).collect();
            let frames: Vec<_> = names.iter().map(|name| reply(name, name)).collect();
            let command: Vec<&str> =
                ["RPUSH", inbox.key()].into_iter().chain(frames.iter().map(String::as_str)).collect();
            server.run(&command);
            for (waiter, name) in waiters.iter_mut().zip(&names) {
                assert_eq!(&body(waiter).await, name);
            }
            // A fault whose place was not reached yet is reached with the next replies.
            let mut extra = 0;
            while tokio::time::timeout(Duration::from_millis(20), proxy.happened(cuts)).await.is_err() {
                let name = format!("{way:?}-{after}-{bytes}-extra-{extra}");
                let mut waiter = inbox.expect(&id(&name));
                server.run(&["RPUSH", inbox.key(), &reply(&name, &name)]);
                assert_eq!(body(&mut waiter).await, name);
                extra += 1;
                assert!(extra < 200, "the fault {way:?} {after} {bytes} never happened");
            }
        }
    }
    eventually("nothing is left", || server.run(&["LLEN", inbox.key()]).integer() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_loses_no_reply() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    // The answer to the peek never comes, the socket stays open.
    proxy.prepare(Fault { way: Way::Answer, after: b"BLMOVE".to_vec(), bytes: 0, act: Act::Stall });
    let mut first = inbox.expect(&id("first"));
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(50), proxy.happened(1)).await.is_err() {
        server.run(&["RPUSH", inbox.key(), &reply(&format!("before-{sent}"), "x")]);
        sent += 1;
        assert!(sent < 200, "the stall never happened");
    }
    server.run(&["RPUSH", inbox.key(), &reply("first", "here")]);
    assert_eq!(body(&mut first).await, "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_replies_arrive_through_a_line_that_breaks_all_the_time() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let names: Vec<_> = (0..1_000).map(|n| format!("r{n}")).collect();
    let mut waiters: Vec<_> = names.iter().map(|name| inbox.expect(&id(name))).collect();
    proxy.chaos(4);
    for part in names.chunks(7) {
        let mut command = vec!["RPUSH".to_owned(), inbox.key().to_owned()];
        command.extend(part.iter().map(|name| reply(name, name)));
        server.run(&command);
    }
    for (waiter, name) in waiters.iter_mut().zip(&names) {
        assert_eq!(&body(waiter).await, name);
    }
    proxy.chaos(0);
    eventually("nothing is left", || server.run(&["LLEN", inbox.key()]).integer() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_reply_may_also_be_published_by_hand() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    inbox.listen(&topics(&broker));
    let mut waiter = inbox.expect(&id("a"));
    eventually("somebody listens", || server.run(&["PUBLISH", inbox.key(), "garbage"]).integer() == 1);
    server.run(&["PUBLISH", inbox.key(), &reply("a", "by hand")]);
    assert_eq!(body(&mut waiter).await, "by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_cannot_be_read_ends_its_wait_at_once() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let broken = [
        (json!({"id": "a", "status": 99}), Code::BadReply),
        (json!({"id": "a", "status": 200, "result": 1}), Code::BadReply),
        (json!({"id": "a", "status": 200, "body": "x", "body_base64": "eA=="}), Code::BadBody),
        (json!({"id": "a", "status": 200, "headers": {"x": "a\r\nb: c"}}), Code::BadReply),
        (json!({"id": "a", "status": 200, "body_base64": "eA"}), Code::BadBody),
    ];
    for (fields, code) in broken {
        let mut waiter = inbox.expect(&id("a"));
        let text = frame(fields);
        server.run(&["RPUSH", inbox.key(), &text]);
        let error = within("an end of the wait", waiter.reply()).await.expect_err(&text);
        assert_eq!(error.code(), code, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_above_16_mib_is_too_large_and_the_next_ones_arrive() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let (mut large, mut fits, mut small) =
        (inbox.expect(&id("l")), inbox.expect(&id("f")), inbox.expect(&id("s")));
    let (too_much, limit) = ("x".repeat(16 << 20), "x".repeat((16 << 20) - 1_000));
    server.run(&["RPUSH", inbox.key(), &reply("l", &too_much), &reply("f", &limit), &reply("s", "small")]);
    let refused = within("an end of the wait", large.reply()).await.expect_err("too large");
    assert_eq!(refused.code(), Code::TooLarge);
    assert_eq!(body(&mut fits).await.len(), limit.len());
    assert_eq!(body(&mut small).await, "small");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_is_a_reply_like_any_other() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let mut waiter = inbox.expect(&id("a"));
    let lost =
        json!({"id": "a", "attempt": 2, "error": {"code": "worker_lost", "message": "killed by signal 9"}});
    server.run(&["RPUSH", inbox.key(), &frame(lost)]);
    let received = within("a reply", waiter.reply()).await.expect("readable");
    assert_eq!(failure(&received), ("worker_lost", "killed by signal 9"));
    assert!(none_yet(&mut waiter).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_key_of_another_type_does_not_end_the_reader() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    server.run(&["SET", inbox.key(), "not a list"]);
    // A blocked reader is woken only by a list; a reply by hand makes it look.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    server.run(&["DEL", inbox.key()]);
    let mut waiter = inbox.expect(&id("a"));
    server.run(&["RPUSH", inbox.key(), &reply("a", "after all")]);
    assert_eq!(body(&mut waiter).await, "after all");
}
