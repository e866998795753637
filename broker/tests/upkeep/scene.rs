//! What these tests share: a server, a broker, and the queue that is looked after.

use tempest_broker::{Broker, Settings};
use tempest_protocol::{JobId, Queue};

use crate::server::Server;

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
}

pub(crate) fn queue() -> Queue {
    Queue::new("mail").expect("a name")
}

pub(crate) fn id(name: &str) -> JobId {
    JobId::new(name).expect("a name")
}
