//! What handlers get and give.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempest_protocol::{Content, Encoding};
use tempest_worker::{Context, Error, Failed, Request, Worker};
use tokio::sync::Barrier;

use crate::cluster::{Cluster, Running, error, numbered, reply, result};

type Any = Result<Value, Failed>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_arrives_whole_and_its_response_comes_back() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().on("url", |request: Request, _: Context| async move {
        let seen = (request.method(), request.path(), request.query(), request.remote(), request.host());
        assert_eq!(seen, ("POST", "/a/b", Some("c=d"), "10.0.0.1", "example.org"));
        assert_eq!(request.cookie("session").as_deref(), Some("s3"));
        (
            201,
            [("X-Seen", "yes"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
            request.text().to_uppercase(),
        )
    }));
    let (status, headers, body) = cluster.request(Encoding::Json, b"hello").await;
    assert_eq!((status, body.as_ref()), (201, &b"HELLO"[..]));
    assert_eq!(headers.first("x-seen"), Some(&b"yes"[..]));
    assert_eq!(headers.all("set-cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    assert_eq!(worker.stop().await.done, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn binary_bodies_survive_in_both_encodings() {
    let cluster = Cluster::start().await;
    let echo = |request: Request, _: Context| async move { request.body().clone() };
    let worker = Running::start(cluster.worker().on("url", echo));
    let every: Vec<u8> = (0..=255).collect();
    for encoding in [Encoding::Json, Encoding::MsgPack] {
        for body in [&every[..], b"", b"\xff", "\u{20ac}\u{0}".as_bytes()] {
            let (status, _, answered) = cluster.request(encoding, body).await;
            assert_eq!((status, answered.as_ref()), (200, body), "{encoding:?}");
        }
    }
    worker.stop().await;
}

#[derive(Deserialize, Serialize)]
struct Sum {
    of: Vec<i64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_jobs_get_their_arguments_and_give_a_result() {
    let cluster = Cluster::start().await;
    let sum = |sum: Sum, _: Context| async move { Ok::<_, Failed>(sum.of.iter().sum::<i64>()) };
    let worker = Running::start(cluster.worker().on_job("sum", sum));
    assert_eq!(result(&cluster.call("sum", json!({"of": [1, 2, 39]})).await), json!(42));
    let (code, message) = error(&cluster.call("sum", json!({"of": "all"})).await);
    assert_eq!(code, "bad_job");
    assert!(message.starts_with("args: "), "{message}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_tells_about_the_job_and_reaches_the_bus() {
    let cluster = Cluster::start().await;
    let about = |(): (), context: Context| async move {
        let heard = context.publish("news", r#"["Bob"]"#).await?;
        let pushed = context.push("other", "mail", &json!({"to": "Bob"})).await?;
        let left = context.time_left().map(|left| left > Duration::from_secs(10));
        Ok::<_, tempest_broker::Error>(json!({
            "id": context.id().map(ToString::to_string), "attempt": context.attempt(), "left": left, "heard": heard,
            "queue": context.queue(), "pushed": pushed.as_str(), "trace": context.traceparent(),
        }))
    };
    let worker = Running::start(cluster.worker().on_job("about", about));
    let mut envelope = cluster.envelope("about");
    envelope.deadline_ms = cluster.broker.now_ms() + 20_000;
    envelope.traceparent = Some("00-ab-cd-01".into());
    let content = reply(cluster.push(&envelope, &crate::cluster::no_args()).await).await.content;
    let told = result(&content);
    let id = envelope.id.map(|id| id.to_string());
    assert_eq!((&told["id"], &told["attempt"], &told["left"]), (&json!(id), &json!(1), &json!(true)));
    assert_eq!(
        (&told["heard"], &told["queue"], &told["trace"]),
        (&json!(0), &json!("q"), &json!("00-ab-cd-01"))
    );
    let pushed: Value = serde_json::from_str(&cluster.list("tempest:{other}")[0]).expect("JSON");
    assert_eq!((&pushed["id"], &pushed["action"]), (&told["pushed"], &json!("mail")));
    assert_eq!(pushed["traceparent"], json!("00-ab-cd-01"));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_and_errors_tell_when_the_job_was_claimed_and_how_long_it_took() {
    let cluster = Cluster::start().await;
    let nap = |fails: bool, _: Context| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        if fails { Err(Failed::new("broken", "on purpose")) } else { Ok(()) }
    };
    let worker = Running::start(cluster.worker().on_job("nap", nap));
    for fails in [false, true] {
        let before = cluster.broker.now_ms();
        let waiter = cluster.push(&cluster.envelope("nap"), &crate::cluster::arguments(&json!(fails))).await;
        let timing = reply(waiter).await.timing;
        let claimed_at = timing.claimed_at_ms.expect("told");
        assert!((before.saturating_sub(100)..before + 10_000).contains(&claimed_at), "{claimed_at} {before}");
        assert!((200_000..10_000_000).contains(&timing.work_us.expect("told")), "{timing:?}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_fails_the_job_and_not_the_worker() {
    let cluster = Cluster::start().await;
    let brittle = |number: u64, _: Context| async move {
        assert!(number != 1, "not one");
        Ok::<_, Failed>(number)
    };
    let worker = Running::start(cluster.worker().on_job("brittle", brittle));
    let told = error(&cluster.call("brittle", json!(1)).await);
    assert_eq!(told, ("handler_error".into(), "the handler panicked".into()));
    assert_eq!(result(&cluster.call("brittle", json!(2)).await), json!(2));
    let report = worker.stop().await;
    assert_eq!((report.done, report.failed), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_reach_the_caller_with_their_code() {
    let cluster = Cluster::start().await;
    let own = |(): (), _: Context| async { Any::Err(Failed::new("sold_out", "come back tomorrow")) };
    let other = |(): (), _: Context| async { Err::<(), _>(std::io::Error::other("disk")) };
    let worker = cluster.worker().on_job("own", own).on_job("other", other);
    let worker = Running::start(worker.on("bad", |_: Request, _: Context| async { (42, "no status") }));
    let told = error(&cluster.call("own", Value::Null).await);
    assert_eq!(told, ("sold_out".into(), "come back tomorrow".into()));
    assert_eq!(error(&cluster.call("other", Value::Null).await), ("handler_error".into(), "disk".into()));
    assert_eq!(error(&cluster.call("nobody", Value::Null).await).0, "no_handler");
    assert_eq!(error(&cluster.call("bad", json!({"method": "GET", "url": "/"})).await).0, "bad_reply");
    assert_eq!(error(&cluster.call("bad", json!(["not", "http"])).await).0, "bad_http");
    assert_eq!(worker.stop().await.failed, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_jobs_run_at_a_time_as_there_are_slots() {
    let cluster = Cluster::start().await;
    let (together, now, most) = (Arc::new(Barrier::new(4)), Arc::default(), Arc::new(AtomicUsize::new(0)));
    let counted = most.clone();
    let meet = move |number: u64, _: Context| {
        let (together, now, most): (_, Arc<AtomicUsize>, _) =
            (together.clone(), Arc::clone(&now), counted.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            together.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Failed>(number)
        }
    };
    let worker = Running::start(cluster.worker().concurrency(4).on_job("meet", meet));
    let mut waiters = Vec::new();
    for number in 0..16 {
        waiters.push(cluster.push(&cluster.envelope("meet"), &numbered(number)).await);
    }
    for (number, waiter) in (0..).zip(waiters) {
        assert_eq!(result(&reply(waiter).await.content), json!(number));
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert_eq!(worker.stop().await.done, 16);
    cluster.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_past_its_limit_ends_with_timeout() {
    let cluster = Cluster::start().await;
    let hang = |(): (), _: Context| std::future::pending::<Any>();
    let worker = cluster.worker().run_max(Duration::from_millis(50)).on_job("hang", hang);
    let worker = Running::start(worker);
    assert_eq!(error(&cluster.call("hang", Value::Null).await).0, "timeout");
    worker.stop().await;
    assert!(cluster.held().is_empty());
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_done() {
    let nothing = |(): (), _: Context| async { Any::Ok(Value::Null) };
    let worker = Worker::new("no queue").prefix("a:b").concurrency(0).on_job("a/b", nothing);
    let error = worker.on_job("x", nothing).on_job("x", nothing).run(async {}).await.expect_err("mistakes");
    let line = error.to_string();
    for part in ["queue name", "prefix name", "action name", "concurrency", "action x has two handlers"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains('\n'));
    let port = crate::server::free_port();
    let away = Worker::new("q").connect(format!("redis://127.0.0.1:{port}")).run(async {}).await;
    let away = away.expect_err("no Redis there");
    assert!(matches!(away, Error::Broker(_)), "{away:?}");
    assert!(away.to_string().contains(&port.to_string()) && !away.to_string().contains('\n'), "{away}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_serves_several_queues() {
    let cluster = Cluster::start().await;
    let which = |(): (), context: Context| async move { Ok::<_, Failed>(context.queue().to_owned()) };
    let worker = Running::start(cluster.worker().queue("other").on_job("which", which));
    assert_eq!(result(&cluster.call("which", Value::Null).await), json!("q"));
    let mut envelope = cluster.envelope("which");
    envelope.id = Some(crate::cluster::new_id());
    let frame = envelope.encode(&crate::cluster::no_args());
    let mailbox = envelope.reply_to.expect("somebody waits").replace("test-", "own-");
    let frame = String::from_utf8(frame.to_vec()).expect("JSON").replace("test-", "own-");
    cluster.server.run(&["RPUSH", "tempest:{other}", &frame]);
    let answer = cluster.server.run(&["BLPOP", &mailbox, "5"]).list();
    assert!(String::from_utf8_lossy(&answer[1]).contains(r#""result":"other""#));
    let report = worker.stop().await;
    assert_eq!(report.done, 2);
    assert_eq!(cluster.server.cli("EXISTS tempest:{q}:workers tempest:{other}:workers").integer(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_any_shape_come_back_in_the_encoding_of_their_job() {
    let cluster = Cluster::start().await;
    let same = |args: Value, _: Context| async move { Any::Ok(args) };
    let worker = Running::start(cluster.worker().on_job("same", same));
    for args in [json!(null), json!([]), json!({}), json!("\u{1F300}"), json!({"a": [1, 2.5, null]})] {
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let raw = tempest_protocol::Raw::encode(encoding, &args).expect("encoded");
            let content = reply(cluster.push(&cluster.envelope("same"), &raw).await).await.content;
            assert!(
                matches!(&content, Content::Result(result) if result.encoding() == encoding),
                "{content:?}"
            );
            assert_eq!(result(&content), args);
        }
    }
    worker.stop().await;
}
