//! A queue with schedules.

use std::time::Duration;

use tempest_broker::{Broker, Definition, KeeperOptions, NamedSchedule, PutSchedule, Settings};
use tempest_protocol::{Queue, Schedule as Name};

use crate::server::Server;

pub(crate) const HOUR: u64 = 3_600_000;

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) broker: Broker,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        let server = Server::start();
        let broker = broker(&server).await;
        Self { server, broker }
    }

    /// Writes the schedule `s`.
    pub(crate) async fn put(&self, json: &str) -> PutSchedule {
        self.broker.put_schedule(&named("s", json)).await.expect("put")
    }

    /// When `s` is due.
    pub(crate) fn due(&self) -> Option<u64> {
        let score = self.server.cli("ZSCORE tempest:{q}:due s").text();
        (!score.is_empty()).then(|| score.parse().expect("a time"))
    }

    /// Says that `s` has been due since this time.
    pub(crate) fn set_due(&self, at_ms: u64) {
        self.server.run(&["ZADD", "tempest:{q}:due", &at_ms.to_string(), "s"]);
    }

    /// The definition of `s` as it stands in Redis.
    pub(crate) fn text(&self) -> String {
        self.server.cli("HGET tempest:{q}:schedules s").text()
    }

    /// The jobs that were pushed, in their order.
    pub(crate) fn jobs(&self) -> Vec<serde_json::Value> {
        jobs(&self.server)
    }

    /// Their ids.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.jobs().iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect()
    }
}

pub(crate) fn jobs(server: &Server) -> Vec<serde_json::Value> {
    let frames = server.run(&["LRANGE", "tempest:{q}", "0", "-1"]).list();
    frames.iter().map(|frame| serde_json::from_slice(frame).expect("JSON")).collect()
}

pub(crate) async fn broker(server: &Server) -> Broker {
    Broker::connect(Settings::new(server.url(), "test")).await.expect("Redis is there")
}

pub(crate) fn queue() -> Queue {
    Queue::new("q").expect("a good name")
}

pub(crate) fn name() -> Name {
    Name::new("s").expect("a good name")
}

pub(crate) fn named(name: &str, json: &str) -> NamedSchedule {
    let definition: Definition = serde_json::from_str(json).expect("a definition");
    let schedule = definition.check().expect("a schedule");
    NamedSchedule { queue: queue(), name: Name::new(name).expect("a good name"), schedule }
}

pub(crate) fn hasty_keeper() -> KeeperOptions {
    KeeperOptions { every: Duration::from_millis(50), ..KeeperOptions::default() }
}

/// A keeper that looks so seldom that what it does in between it does by itself.
pub(crate) fn lazy_keeper() -> KeeperOptions {
    KeeperOptions { every: Duration::from_secs(600), ..KeeperOptions::default() }
}
