//! The server: sockets, one task a connection, and the order of stopping. What a request is answered with is the
//! business of `exchange` and what it calls.

mod accept;
mod connection;
mod http1;
mod listen;
mod takeover;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tempest_broker::Broker;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use crate::{Cluster, Error, FrontConfig, Route, router::Router};
use accept::Acceptor;

pub(crate) use connection::Peer;
pub(crate) use takeover::Takeover;

/// A front that listens.
pub struct Front {
    serving: Arc<Serving>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    drain: Duration,
}

/// What all connections of a front share.
pub(crate) struct Serving {
    pub(crate) cluster: Cluster,
    /// A request keeps the table it began with.
    pub(crate) router: ArcSwap<Router>,
}

/// How a front ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Connections that were cut because the grace was over.
    pub cut: usize,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.cut {
            0 => f.write_str("front: stopped, nothing was left"),
            cut => write!(f, "front: stopped, {cut} connections were cut"),
        }
    }
}

impl Front {
    /// Checks the routes, listens, and opens the mailbox.
    ///
    /// Errors: [`Error::Routes`], [`Error::Bind`], [`Error::Bus`].
    pub async fn bind(broker: Broker, config: FrontConfig) -> Result<Self, Error> {
        let routes = if config.routes.is_empty() { Route::defaults() } else { config.routes.clone() };
        let wrong: Vec<_> = routes.iter().filter_map(|route| route.check().err()).flatten().collect();
        if !wrong.is_empty() {
            return Err(Error::Routes(wrong));
        }
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.extend(listen::listen(address).await?);
        }
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let drain = Duration::from_millis(config.drain_ms);
        let cluster = Cluster::open(broker, config).await?;
        let router = Router::new(&cluster, &routes)?;
        cluster.announce(router.queues().to_vec());
        let serving = Arc::new(Serving { cluster, router: ArcSwap::from_pointee(router) });
        Ok(Self { serving, listeners, addresses, drain })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What its services share.
    pub fn cluster(&self) -> &Cluster {
        &self.serving.cluster
    }

    /// Serves until `shutdown`, then stops in order: no new connections, event streams end with a hint to
    /// reconnect, replies in flight are waited for, the rest is cut.
    pub async fn run(self, shutdown: CancellationToken) -> Report {
        let (connections, cutting) = (TaskTracker::new(), CancellationToken::new());
        let accepting = TaskTracker::new();
        let acceptor = Acceptor {
            serving: self.serving.clone(),
            connections: connections.clone(),
            shutdown,
            cutting: cutting.clone(),
        };
        for listener in self.listeners {
            accepting.spawn(acceptor.clone().accept(listener));
        }
        accepting.close();
        accepting.wait().await;
        info!(connections = connections.len(), streams = self.serving.cluster.streams(), "stopping");
        self.serving.cluster.end_streams();
        connections.close();
        let cut = match tokio::time::timeout(self.drain, connections.wait()).await {
            Ok(()) => 0,
            Err(_) => connections.len(),
        };
        // Dropping a connection cancels its job; the close below waits for these cancels.
        cutting.cancel();
        connections.wait().await;
        self.serving.cluster.close(Duration::from_secs(2)).await;
        Report { cut }
    }
}
