//! One worker's place at a queue: what every test here begins with.

use bytes::Bytes;
use tempest_broker::{Broker, RunList, Settings};
use tempest_protocol::{Queue, WorkerId};

use crate::server::Server;

/// A queue, a worker, and a broker that speaks for it.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) broker: Broker,
    pub(crate) queue: Queue,
    pub(crate) worker: WorkerId,
}

impl Place {
    pub(crate) async fn open() -> Self {
        let server = Server::start();
        let broker = connect(&server.url()).await;
        Self { server, broker, queue: name("q"), worker: name("host-1-abc") }
    }

    pub(crate) fn run(&self, slot: usize) -> RunList {
        self.broker.run_list(&self.queue, &self.worker, slot)
    }

    /// Puts a job into the run list of slot 0, as a claim does.
    pub(crate) fn hold(&self, frame: &str) -> Bytes {
        self.server.run(&["RPUSH", self.run(0).key(), frame]);
        Bytes::copy_from_slice(frame.as_bytes())
    }

    /// What lies in a list, as text.
    pub(crate) fn list(&self, key: &str) -> Vec<String> {
        let items = self.server.run(&["LRANGE", key, "0", "-1"]).list();
        items.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect()
    }
}

pub(crate) async fn connect(url: &str) -> Broker {
    Broker::connect(Settings::new(url, "test")).await.expect("a Redis that serves")
}

pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a name")
}
