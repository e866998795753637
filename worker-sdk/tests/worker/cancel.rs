//! Cancel and deadlines: nobody waits any more.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tempest_protocol::Raw;
use tempest_worker::{Context, Failed, Worker};
use tokio::sync::Notify;

use crate::{
    cluster::{Cluster, Running, background, new_id, no_args, no_reply, queue, reply, result},
    server::eventually,
};

type Any = Result<Value, Failed>;

/// A handler that says when it began, when it was told, and when it was dropped.
#[derive(Clone, Default)]
struct Hung {
    began: Arc<Notify>,
    told: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Hung {
    fn on(&self, worker: Worker) -> Worker {
        let hung = self.clone();
        worker.on_job("hang", move |(): (), context: Context| hung.clone().hang(context))
    }

    async fn hang(self, context: Context) -> Any {
        let _gone = Gone(self.dropped);
        self.began.notify_one();
        context.cancelled().await;
        assert!(context.is_cancelled());
        self.told.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_job_is_told_dropped_acked_and_not_answered() {
    let cluster = Cluster::start().await;
    let hung = Hung::default();
    let worker = Running::start(hung.on(cluster.worker()));
    let envelope = cluster.envelope("hang");
    let waiter = cluster.push(&envelope, &no_args()).await;
    hung.began.notified().await;
    let id = envelope.id.expect("it has one");
    assert_eq!(cluster.broker.control(&queue(), &format!("cancel {id}")).await.expect("said"), 1);
    eventually("the job is gone", || cluster.held().is_empty());
    assert_eq!((hung.told.load(Ordering::SeqCst), hung.dropped.load(Ordering::SeqCst)), (1, 1));
    no_reply(waiter).await;
    let report = worker.stop().await;
    assert_eq!((report.cancelled, report.done, report.failed), (1, 0, 0));
}

/// What it says then, it says to nobody: that is no failure, and nothing is tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_ends_because_it_was_told_has_neither_failed_nor_replied() {
    let cluster = Cluster::start().await;
    let began = Arc::new(Notify::new());
    let begins = began.clone();
    let give_up = move |fails: bool, context: Context| {
        let begins = begins.clone();
        async move {
            begins.notify_one();
            context.cancelled().await;
            if fails { Err(Failed::new("handler_error", "half done")) } else { Any::Ok(Value::Null) }
        }
    };
    let worker = Running::start(cluster.worker().on_job("give-up", give_up));
    for fails in [true, false] {
        let args = Raw::encode(tempest_protocol::Encoding::Json, &fails).expect("JSON");
        let (mut unwaited, waited) = (background("give-up"), cluster.envelope("give-up"));
        unwaited.id = Some(new_id());
        for envelope in [unwaited, waited] {
            let waiter = cluster.push(&envelope, &args).await;
            began.notified().await;
            let id = envelope.id.expect("it has one");
            cluster.broker.control(&queue(), &format!("cancel {id}")).await.expect("said");
            eventually("the job is gone", || cluster.held().is_empty());
            no_reply(waiter).await;
        }
    }
    assert_eq!((cluster.set("tempest:{q}:later"), cluster.set("tempest:{q}:dead")), (vec![], vec![]));
    let report = worker.stop().await;
    assert_eq!((report.cancelled, report.done, report.failed), (4, 0, 0));
}

/// It looks at the clock itself, and is quicker than its worker or too late for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_fails_when_its_deadline_has_passed_has_not_failed() {
    let cluster = Cluster::start().await;
    let fail_late = |(): (), context: Context| async move {
        // Nothing can interrupt this.
        while context.time_left().is_some_and(|left| !left.is_zero()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        Any::Err(Failed::new("handler_error", "too late"))
    };
    let worker = Running::start(cluster.worker().on_job("late", fail_late));
    cluster.idle(1);
    let (mut waited, mut unwaited) = (cluster.envelope("late"), background("late"));
    waited.deadline_ms = cluster.broker.now_ms() + 200;
    let waiter = cluster.push(&waited, &no_args()).await;
    no_reply(waiter).await;
    unwaited.deadline_ms = cluster.broker.now_ms() + 200;
    cluster.push(&unwaited, &no_args()).await;
    eventually("it is dead", || !cluster.set("tempest:{q}:dead").is_empty());
    cluster.settled();
    let dead = cluster.set("tempest:{q}:dead");
    assert_eq!((dead.len(), dead[0]["error"]["code"].as_str()), (1, Some("expired")));
    assert!(cluster.set("tempest:{q}:later").is_empty());
    let report = worker.stop().await;
    assert_eq!((report.expired, report.failed), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_in_hand_stands_in_the_lease() {
    let cluster = Cluster::start().await;
    let hung = Hung::default();
    let worker = Running::start(hung.on(cluster.worker()));
    let told = || {
        let states = cluster.server.run(&["KEYS", "tempest:{q}:lease:*"]).list();
        let lease = states.first().map(|key| String::from_utf8_lossy(key).into_owned()).unwrap_or_default();
        let value = cluster.server.run(&["GETRANGE", &lease, "0", "-1"]).text();
        serde_json::from_str::<Value>(&value).unwrap_or_default()["jobs"].clone()
    };
    eventually("none is in hand", || cluster.server.run(&["DBSIZE"]).integer() > 1 && told() == json!([]));
    let before = cluster.broker.now_ms();
    let envelope = cluster.envelope("hang");
    let waiter = cluster.push(&envelope, &no_args()).await;
    hung.began.notified().await;
    let id = envelope.id.expect("it has one");
    eventually("it is told", || told()[0]["id"] == id.as_str());
    let job = told()[0].clone();
    assert_eq!((job["action"].as_str(), job["queue"].as_str()), (Some("hang"), Some("q")));
    let since = job["since"].as_u64().expect("milliseconds");
    // The worker reads the clock of Redis over a connection of its own, as exactly as that is quick.
    let after = cluster.broker.now_ms();
    assert!((before - 1_000..=after + 1_000).contains(&since), "{job}");
    cluster.broker.control(&queue(), &format!("cancel {id}")).await.expect("said");
    eventually("it is no longer told", || told() == json!([]));
    no_reply(waiter).await;
    worker.stop().await;
}

/// Traps 14 and 22: the cancel came before the claim was read; also a recovered job is dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_cancelled_before_it_came_is_not_run() {
    let cluster = Cluster::start().await;
    let hung = Hung::default();
    let echo = |args: Value, _: Context| async move { Any::Ok(args) };
    let worker = Running::start(hung.on(cluster.worker()).on_job("echo", echo));
    cluster.idle(1);
    let (id, mut again) = (new_id(), cluster.envelope("hang"));
    cluster.broker.control(&queue(), &format!("cancel {id}")).await.expect("said");
    let mut envelope = cluster.envelope("hang");
    envelope.id = Some(id.clone());
    let first = cluster.push(&envelope, &no_args()).await;
    cluster.settled();
    (again.id, again.attempt) = (Some(id), 2);
    let second = cluster.push(&again, &no_args()).await;
    assert_eq!(result(&cluster.call("echo", Value::from("alive")).await), "alive");
    cluster.settled();
    drop(second);
    no_reply(first).await;
    assert_eq!(hung.dropped.load(Ordering::SeqCst), 0);
    assert_eq!(worker.stop().await.cancelled, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_is_cancelled_at_the_deadline_of_its_job() {
    let cluster = Cluster::start().await;
    let hung = Hung::default();
    let worker = Running::start(hung.on(cluster.worker()));
    cluster.idle(1);
    let mut waited = cluster.envelope("hang");
    waited.deadline_ms = cluster.broker.now_ms() + 300;
    let waiter = cluster.push(&waited, &no_args()).await;
    hung.began.notified().await;
    let mut unwaited = background("hang");
    unwaited.deadline_ms = cluster.broker.now_ms() + 600;
    cluster.push(&unwaited, &no_args()).await;
    no_reply(waiter).await;
    hung.began.notified().await;
    cluster.settled();
    assert_eq!(hung.told.load(Ordering::SeqCst), 2);
    let dead = cluster.set("tempest:{q}:dead");
    assert_eq!((dead.len(), dead[0]["error"]["code"].as_str()), (1, Some("expired")));
    assert_eq!(worker.stop().await.expired, 2);
}

/// Trap 18: a job that comes too late is not run; somebody's is dropped, nobody's is kept in `dead`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_comes_too_late_is_not_run() {
    let cluster = Cluster::start().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let count = move |(): (), _: Context| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Any::Ok(Value::Null) }
    };
    let late_ms = cluster.broker.now_ms() - 1;
    let (mut waited, mut unwaited) = (cluster.envelope("count"), background("count"));
    (waited.deadline_ms, unwaited.deadline_ms) = (late_ms, late_ms);
    let waiter = cluster.push(&waited, &no_args()).await;
    cluster.push(&unwaited, &no_args()).await;
    let worker = Running::start(cluster.worker().on_job("count", count));
    cluster.settled();
    no_reply(waiter).await;
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    let dead = cluster.set("tempest:{q}:dead");
    assert_eq!(dead.len(), 1, "jobs with reply_to never enter dead");
    assert_eq!(
        (dead[0]["error"]["code"].as_str(), dead[0]["action"].as_str()),
        (Some("expired"), Some("count"))
    );
    assert_eq!(worker.stop().await.expired, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_finished_is_not_run_again() {
    let cluster = Cluster::start().await;
    let ran = Arc::new(AtomicUsize::new(0));
    let count = ran.clone();
    let count = move |(): (), _: Context| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, Failed>(number) }
    };
    let worker = Running::start(cluster.worker().on_job("count", count));
    let mut envelope = cluster.envelope("count");
    let raw: Raw = no_args();
    assert_eq!(result(&reply(cluster.push(&envelope, &raw).await).await.content), 0);
    no_reply(cluster.push(&envelope, &raw).await).await;
    envelope.attempt = 2;
    assert_eq!(result(&reply(cluster.push(&envelope, &raw).await).await.content), 1);
    assert_eq!(worker.stop().await.repeated, 1);
    assert_eq!(ran.load(Ordering::SeqCst), 2);
}
