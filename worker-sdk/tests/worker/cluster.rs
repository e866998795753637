//! A Redis, a caller with a mailbox, and workers: what every test here begins with.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempest_broker::{
    Broker, Caps, Inbox, Settings, Waiter,
    acl::{self, Role, Scope},
};
use tempest_protocol::{Content, Encoding, Envelope, Headers, HttpRequest, JobId, Lane, Queue, Raw, Reply};
use tempest_worker::{Error, Report, Worker};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::server::{Server, eventually};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis and a caller.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) broker: Broker,
    inbox: Inbox,
    url: String,
}

/// A worker that needs another right fails whatever it does besides.
impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let denied = self.server.denied("worker");
            assert!(denied.is_empty(), "Redis has denied {denied:?} to a worker; see broker/src/rights.rs");
        }
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with(Server::start()).await
    }

    /// Workers have the rights of a worker of the queues that the tests use, and nothing else.
    pub(crate) async fn with(mut server: Server) -> Self {
        let (queues, topics) =
            (["q", "other"].map(|name| Queue::new(name).expect("a name")), ["*".to_owned()]);
        let scope = Scope { queues: &queues, topics: &topics };
        let url =
            server.account("worker", &acl::rules(&Settings::new(server.url(), "test"), Role::Worker, &scope));
        let broker = Broker::connect(Settings::new(server.url(), "test")).await.expect("a Redis that serves");
        let inbox = broker.open_inbox("test").await.expect("a mailbox");
        Self { server, broker, inbox, url }
    }

    /// A worker for queue `q`, to be given handlers.
    pub(crate) fn worker(&self) -> Worker {
        Worker::new("q").connect(self.url.clone())
    }

    /// A job somebody waits for.
    pub(crate) fn envelope(&self, action: &str) -> Envelope {
        let mut envelope = background(action);
        envelope.id = Some(new_id());
        envelope.reply_to = Some(self.inbox.key().to_owned());
        envelope
    }

    /// Pushes a job and waits for nothing yet.
    pub(crate) async fn push(&self, envelope: &Envelope, args: &Raw) -> Option<Waiter> {
        let waiter = envelope.id.as_ref().map(|id| self.inbox.expect(id));
        let frame = envelope.encode(args);
        self.broker.push(&queue(), envelope.lane, &frame, &Caps::default()).await.expect("pushed");
        waiter
    }

    /// Pushes a job with JSON arguments and waits for its reply.
    pub(crate) async fn call(&self, action: &str, args: Value) -> Content {
        let waiter = self.push(&self.envelope(action), &arguments(&args)).await;
        reply(waiter).await.content
    }

    /// Sends an HTTP request with a body through the queue.
    pub(crate) async fn request(&self, encoding: Encoding, body: &[u8]) -> (u16, Headers, Bytes) {
        let waiter = self.push(&self.envelope("url"), &request(body).encode(encoding)).await;
        match reply(waiter).await.content {
            Content::Http { status, headers, body } => (status, headers, body),
            other => panic!("not HTTP: {other:?}"),
        }
    }

    /// A list as text.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let items = self.server.run(&["LRANGE", key, "0", "-1"]).list();
        items.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect()
    }

    /// The members of a sorted set as JSON.
    pub(crate) fn set(&self, key: &str) -> Vec<Value> {
        let members = self.server.run(&["ZRANGE", key, "0", "-1"]).list();
        members.iter().map(|member| serde_json::from_slice(member).expect("JSON")).collect()
    }

    /// What lies in all run lists of the queue.
    pub(crate) fn held(&self) -> Vec<String> {
        let keys = self.server.run(&["KEYS", "tempest:{q}:run:*"]).list();
        keys.iter().flat_map(|key| self.list(std::str::from_utf8(key).expect("text"))).collect()
    }

    /// Waits until no job waits and none is held: asked in one step, since jobs move.
    pub(crate) fn settled(&self) {
        let script = "return #redis.call('KEYS', KEYS[1]..':run:*') + redis.call('EXISTS', unpack(KEYS))";
        let lanes = ["tempest:{q}", "tempest:{q}:high", "tempest:{q}:low"];
        let ask = [&["EVAL", script, "3"][..], &lanes].concat();
        eventually("all jobs are settled", || self.server.run(&ask).integer() == 0);
    }

    /// Waits until so many claims block.
    pub(crate) fn idle(&self, claims: usize) {
        let client = || self.server.cli("CLIENT LIST").text();
        eventually("the claims block", || client().matches("flags=b").count() > claims); // and the inbox
    }
}

/// A worker that runs.
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<Report, Error>>,
}

impl Running {
    /// Starts a worker on this test's runtime.
    pub(crate) fn start(worker: Worker) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        Self { stop, task: tokio::spawn(worker.run(stopped)) }
    }

    /// Tells it to end, and waits.
    pub(crate) async fn stop(self) -> Report {
        self.stop.cancel();
        self.ended().await
    }

    /// Tells it to end.
    pub(crate) fn tell(&self) {
        self.stop.cancel();
    }

    /// Waits for its end.
    pub(crate) async fn ended(self) -> Report {
        let ended = timeout(PATIENCE, self.task).await.expect("the worker ends");
        ended.expect("no panic").expect("it had started")
    }
}

pub(crate) fn queue() -> Queue {
    Queue::new("q").expect("a name")
}

pub(crate) fn new_id() -> JobId {
    JobId::new(uuid::Uuid::now_v7().to_string()).expect("a name")
}

/// A job nobody waits for.
pub(crate) fn background(action: &str) -> Envelope {
    Envelope::new(action.parse().expect("a name"))
}

pub(crate) fn in_lane(mut envelope: Envelope, lane: Lane) -> Envelope {
    envelope.lane = lane;
    envelope
}

pub(crate) fn arguments(args: &Value) -> Raw {
    Raw::encode(Encoding::Json, args).expect("JSON")
}

pub(crate) fn no_args() -> Raw {
    arguments(&Value::Null)
}

pub(crate) fn request(body: &[u8]) -> HttpRequest {
    let mut request = HttpRequest {
        method: "POST".into(),
        url: "/a/b?c=d".into(),
        body: Bytes::copy_from_slice(body),
        remote: "10.0.0.1".into(),
        scheme: "http".into(),
        host: "example.org".into(),
        ..HttpRequest::default()
    };
    request.headers.push("cookie", "x=1; session=s3");
    request
}

/// Waits for a reply.
pub(crate) async fn reply(waiter: Option<Waiter>) -> Reply {
    let mut waiter = waiter.expect("somebody waits");
    timeout(PATIENCE, waiter.reply()).await.expect("a reply comes").expect("it can be read")
}

/// Waits a little for a reply that must not come.
pub(crate) async fn no_reply(waiter: Option<Waiter>) {
    let mut waiter = waiter.expect("somebody waits");
    let reply = timeout(Duration::from_millis(300), waiter.reply()).await;
    assert!(reply.is_err(), "nobody should have replied: {reply:?}");
}

#[track_caller]
pub(crate) fn result(content: &Content) -> Value {
    match content {
        Content::Result(result) => result.decode().expect("a value"),
        other => panic!("not a result: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn error(content: &Content) -> (String, String) {
    match content {
        Content::Error(failure) => (failure.code.clone(), failure.message.clone()),
        other => panic!("not an error: {other:?}"),
    }
}

pub(crate) fn numbered(number: u64) -> Raw {
    arguments(&json!(number))
}
