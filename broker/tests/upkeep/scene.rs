//! What these tests share: a server, a broker, and jobs in the queue that is looked after.

use serde_json::{Value, json};
use tempest_broker::{Broker, Settings};
use tempest_protocol::{JobId, Queue};

use crate::server::Server;

pub(crate) const LANE: &str = "tempest:{mail}";
pub(crate) const LATER: &str = "tempest:{mail}:later";
pub(crate) const DEAD: &str = "tempest:{mail}:dead";

/// A server and a broker of it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) broker: Broker,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let server = Server::start();
        let broker = Broker::connect(Settings::new(server.url(), "test")).await.expect("a Redis that serves");
        Self { server, broker }
    }

    /// A dead job with its record.
    pub(crate) fn bury(&self, id: &str, died_at: u64, more: Value) {
        let mut job = json!({
            "error": { "code": "handler_error", "message": format!("no mailbox of {id}") },
            "died_at": died_at, "id": id, "action": "send", "attempt": 3,
        });
        job.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        self.server.run(&["ZADD", DEAD, &died_at.to_string(), &job.to_string()]);
        self.record(id, &["state", "dead", "code", "handler_error", "died_at", &died_at.to_string()]);
    }

    pub(crate) fn record(&self, id: &str, fields: &[&str]) {
        let key = record(id);
        self.server.run(&[&["HSET", &key], fields].concat());
        self.server.run(&["PEXPIRE", &key, "60000"]);
    }

    pub(crate) fn number(&self, command: &str) -> i64 {
        self.server.cli(command).integer()
    }

    /// What lies in the normal lane.
    pub(crate) fn lane(&self) -> Vec<Value> {
        let jobs = self.server.run(&["LRANGE", LANE, "0", "-1"]).list();
        jobs.iter().map(|job| serde_json::from_slice(job).expect("JSON")).collect()
    }

    /// A field of a record.
    pub(crate) fn says(&self, id: &str, field: &str) -> String {
        self.server.run(&["HGET", &record(id), field]).text()
    }
}

pub(crate) fn record(id: &str) -> String {
    format!("tempest:{{mail}}:job:{id}")
}

pub(crate) fn queue() -> Queue {
    Queue::new("mail").expect("a name")
}

pub(crate) fn id(name: &str) -> JobId {
    JobId::new(name).expect("a name")
}
