//! One connection, from its first byte to its last.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Serving, goodbye, http1, http2, proxy_header, tls::Tls};
use crate::{
    Refusal,
    limits::{ClientKey, Full, Place},
    metrics::{Carried, Metrics},
};

/// How long a proxy may take to tell where its client is.
const PROXY_HEADER: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection, and how it is carried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Where it comes from.
    pub(crate) address: SocketAddr,
    /// Whether it is encrypted.
    pub(crate) is_tls: bool,
}

pub(super) struct Connection {
    pub(super) serving: Arc<Serving>,
    /// On sockets where it is spoken.
    pub(super) tls: Option<Tls>,
    /// No new requests.
    pub(super) shutdown: CancellationToken,
}

impl Connection {
    /// Serves requests until the client leaves, or until the front stops and what was begun is answered.
    pub(super) async fn serve(self, mut socket: TcpStream, address: SocketAddr) {
        self.metrics().connections.accepted.count();
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "nodelay");
        }
        let told = self.told_by_proxy(&mut socket, address);
        let address = match self.shutdown.run_until_cancelled(told).await {
            None => return,
            Some(Ok(told)) => told.unwrap_or(address),
            Some(Err(error)) => return debug!(%address, %error, "no header of the PROXY protocol"),
        };
        let place = match self.enter(address) {
            Ok(place) => place,
            Err(full) => {
                let refusal = Refusal::from(full);
                self.metrics().refused(refusal.code());
                return goodbye::say(socket, &refusal.last_words()).await;
            }
        };
        match self.tls.clone() {
            // Apart, since a handshake needs much more room than all else a connection waits for.
            Some(tls) => Box::pin(self.serve_tls(&tls, socket, address, place)).await,
            None => self.serve_plain(socket, address, place).await,
        }
    }

    async fn serve_tls(self, tls: &Tls, socket: TcpStream, address: SocketAddr, _place: Place) {
        let socket = match self.shutdown.run_until_cancelled(tls.accept(socket)).await {
            None => return,
            Some(Ok(socket)) => socket,
            Some(Err(error)) => return debug!(%address, %error, "no TLS"),
        };
        let peer = Peer { address, is_tls: true };
        match socket.get_ref().1.alpn_protocol() {
            Some(b"h2") => {
                let _open = self.metrics().carries(Carried::Http2, true);
                Box::pin(http2::serve(self.serving, socket, peer, self.shutdown)).await;
            }
            _ => {
                let _open = self.metrics().carries(Carried::Http1, true);
                drop(Box::pin(http1::serve(self.serving, socket, peer, self.shutdown)).await);
            }
        }
    }

    async fn serve_plain(self, socket: TcpStream, address: SocketAddr, place: Place) {
        let peer = Peer { address, is_tls: false };
        let first_byte = Duration::from_millis(self.serving.cluster.shared.config.load().http.keep_alive_ms);
        match self.shutdown.run_until_cancelled(timeout(first_byte, http2::is_known(&socket))).await {
            Some(Ok(Ok(false))) => {}
            Some(Ok(Ok(true))) => {
                let _open = self.metrics().carries(Carried::Http2, false);
                return Box::pin(http2::serve(self.serving, socket, peer, self.shutdown)).await;
            }
            // Nothing came: there is nothing to answer.
            _ => return,
        }
        let (tasks, metrics) = (self.serving.cluster.shared.tasks.clone(), self.metrics().clone());
        let open = metrics.carries(Carried::Http1, false);
        if let Some((taken, socket)) = Box::pin(http1::serve(self.serving, socket, peer, self.shutdown)).await
        {
            drop(open);
            let open = metrics.carries(Carried::Events, false);
            if let Ok(writing) = taken.open(socket, (place, open)).await {
                // A task of its own: the one that served HTTP ends, and its memory with it.
                tasks.spawn(writing);
            }
        }
    }

    fn metrics(&self) -> &Arc<Metrics> {
        &self.serving.cluster.shared.metrics
    }

    /// A place among the connections that may be open. Trusted proxies carry many clients.
    fn enter(&self, address: SocketAddr) -> Result<Place, Full> {
        let config = self.serving.cluster.shared.config.load();
        let all = match config.connections_max {
            0 => usize::MAX,
            max => max,
        };
        let address = address.ip().to_canonical();
        let each = if config.trusted_proxies.trust(address) { 0 } else { config.connections_per_client_max };
        self.serving.connections.enter(ClientKey::of(Some(address)), all, each)
    }

    /// Where the client of a trusted proxy is, if proxies are to tell it this way.
    async fn told_by_proxy(
        &self,
        socket: &mut TcpStream,
        address: SocketAddr,
    ) -> std::io::Result<Option<SocketAddr>> {
        let config = self.serving.cluster.shared.config.load();
        if !config.proxy_protocol || !config.trusted_proxies.trust(address.ip().to_canonical()) {
            return Ok(None);
        }
        drop(config);
        timeout(PROXY_HEADER, proxy_header::read(socket)).await?
    }
}
