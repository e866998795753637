//! Takes connections in.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{Serving, connection::Connection};

/// Takes connections in, and what each of them is given.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) serving: Arc<Serving>,
    pub(super) connections: TaskTracker,
    /// No new connections, and no new requests on old ones.
    pub(super) shutdown: CancellationToken,
    /// The grace is over.
    pub(super) cutting: CancellationToken,
}

impl Acceptor {
    pub(super) async fn accept(self, listener: TcpListener) {
        while let Some(accepted) = self.shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((socket, peer)) => self.take(socket, peer),
                Err(error) => {
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn take(&self, socket: TcpStream, peer: SocketAddr) {
        let connection = Connection { serving: self.serving.clone(), shutdown: self.shutdown.clone() };
        let serving = connection.serve(socket, peer);
        self.connections.spawn(self.cutting.clone().run_until_cancelled_owned(serving));
    }
}
