//! Takes connections in.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{
    Serving,
    connection::Connection,
    listen::{self, BACKLOG},
    tls::Tls,
};

/// How long to wait when the system has no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections in, and what each of them is given.
pub(super) struct Acceptor {
    pub(super) serving: Arc<Serving>,
    /// On sockets where it is spoken.
    pub(super) tls: Option<Tls>,
    pub(super) connections: TaskTracker,
    /// No new connections.
    pub(super) closing: CancellationToken,
    /// No new requests on old ones.
    pub(super) shutdown: CancellationToken,
    /// The grace is over.
    pub(super) cutting: CancellationToken,
}

impl Acceptor {
    pub(super) async fn accept(self, listener: Arc<TcpListener>) {
        if let Err(error) = listen::limit_patience(&listener) {
            debug!(%error, "clients that take nothing are not cut");
        }
        while let Some(accepted) = self.closing.run_until_cancelled(listener.accept()).await {
            if self.take(accepted).is_err() {
                self.closing.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
        }
        // The system has told these clients that they are connected; closing the socket would break that.
        for _ in 0..BACKLOG {
            let Some(accepted) = listener.accept().now_or_never() else { return };
            if self.take(accepted).is_err() {
                return;
            }
        }
    }

    fn take(&self, accepted: io::Result<(TcpStream, SocketAddr)>) -> io::Result<()> {
        let (socket, peer) = accepted.inspect_err(|error| warn!(%error, "a connection was not accepted"))?;
        let connection = Connection {
            serving: self.serving.clone(),
            tls: self.tls.clone(),
            shutdown: self.shutdown.clone(),
        };
        let serving = connection.serve(socket, peer);
        self.connections.spawn(self.cutting.clone().run_until_cancelled_owned(serving));
        Ok(())
    }
}
