//! Sockets: listening, one task a connection, and the order of stopping.

use std::{convert::Infallible, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::Duration};

use axum::{body::Body, extract::ConnectInfo, response::IntoResponse};
use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tempest_broker::Broker;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    Cluster, Error, FrontConfig, Route, framing,
    router::Router,
    takeover::{Taken, Takeover},
};

/// How long a client may take to send its header.
const HEADER_READ: Duration = Duration::from_secs(30);

/// A front that listens.
pub struct Front {
    cluster: Cluster,
    router: Arc<Router>,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    drain: Duration,
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
            listeners.extend(listen(address).await?);
        }
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let drain = Duration::from_millis(config.drain_ms);
        let cluster = Cluster::open(broker, config).await?;
        let router = Arc::new(Router::new(&cluster, &routes)?);
        cluster.announce(router.queues().to_vec());
        Ok(Self { cluster, router, listeners, addresses, drain })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What its services share.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Serves until `shutdown`, then stops in order: no new connections, event streams end with a hint to
    /// reconnect, replies in flight are waited for, the rest is cut.
    pub async fn run(self, shutdown: CancellationToken) -> Report {
        let (connections, cutting) = (TaskTracker::new(), CancellationToken::new());
        let accepting = TaskTracker::new();
        for listener in self.listeners {
            let acceptor = Acceptor {
                cluster: self.cluster.clone(),
                router: self.router.clone(),
                connections: connections.clone(),
                shutdown: shutdown.clone(),
                cutting: cutting.clone(),
            };
            accepting.spawn(acceptor.accept(listener));
        }
        accepting.close();
        accepting.wait().await;
        info!(connections = connections.len(), streams = self.cluster.streams(), "stopping");
        self.cluster.end_streams();
        connections.close();
        let cut = match tokio::time::timeout(self.drain, connections.wait()).await {
            Ok(()) => 0,
            Err(_) => connections.len(),
        };
        // Dropping a connection cancels its job; the close below waits for these cancels.
        cutting.cancel();
        connections.wait().await;
        self.cluster.close(Duration::from_secs(2)).await;
        Report { cut }
    }
}

/// Listens on every address a host name stands for.
async fn listen(address: &str) -> Result<Vec<TcpListener>, Error> {
    let bind = |source| Error::Bind { address: address.to_owned(), source };
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut last = None;
    for mut socket in lookup_host(address).await.map_err(bind)? {
        // Port 0: the same free port on all addresses.
        if let Some(first) = listeners.first().and_then(|listener| listener.local_addr().ok()) {
            socket.set_port(first.port());
        }
        match TcpListener::bind(socket).await {
            Ok(listener) => listeners.push(listener),
            // A machine may have no IPv6 although `localhost` names it.
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => last = Some(error),
            Err(error) => return Err(bind(error)),
        }
    }
    match (listeners.is_empty(), last) {
        (true, Some(error)) => Err(bind(error)),
        (true, None) => Err(bind(std::io::Error::other("it stands for no address"))),
        _ => Ok(listeners),
    }
}

/// Takes connections in, and what each of them is given.
struct Acceptor {
    cluster: Cluster,
    router: Arc<Router>,
    connections: TaskTracker,
    /// No new connections, and no new requests on old ones.
    shutdown: CancellationToken,
    /// The grace is over.
    cutting: CancellationToken,
}

impl Acceptor {
    async fn accept(self, listener: TcpListener) {
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
        let connection = Connection { cluster: self.cluster.clone(), router: self.router.clone(), peer };
        let (shutdown, cutting) = (self.shutdown.clone(), self.cutting.clone());
        self.connections.spawn(cutting.run_until_cancelled_owned(connection.serve(socket, shutdown)));
    }
}

struct Connection {
    cluster: Cluster,
    router: Arc<Router>,
    peer: SocketAddr,
}

impl Connection {
    async fn serve(self, socket: TcpStream, shutdown: CancellationToken) {
        if let Err(error) = socket.set_nodelay(true) {
            debug!(%error, "nodelay");
        }
        let peer = self.peer;
        let tasks = self.cluster.shared.tasks.clone();
        if let Some((taken, socket)) = Box::pin(self.serve_http(socket, shutdown)).await {
            // A task of its own: the one that served HTTP ends, and its memory with it.
            tasks.spawn(async move {
                taken.write(socket).await;
                debug!(%peer, "an event stream has ended");
            });
        }
    }

    /// Serves requests until the connection ends, or until an event stream takes the socket over.
    async fn serve_http(self, socket: TcpStream, shutdown: CancellationToken) -> Option<(Taken, TcpStream)> {
        let takeover = Takeover::default();
        let io = TokioIo::new(takeover.watch(socket));
        let (router, peer) = (self.router, self.peer);
        let service = service_fn(|request: Request<Incoming>| {
            let (router, takeover) = (router.clone(), takeover.clone());
            Box::pin(async move { Ok::<_, Infallible>(answer(&router, request, peer, takeover).await) })
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ);
        let mut connection = builder.serve_connection(io, service);
        let mut stopping = pin!(shutdown.cancelled());
        let mut told = false;
        let taken = std::future::poll_fn(|context| {
            if !told && stopping.as_mut().poll(context).is_ready() {
                told = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
            match connection.poll_without_shutdown(context) {
                Poll::Ready(ended) => Poll::Ready(Err(ended)),
                Poll::Pending => takeover.taken().map_or(Poll::Pending, |taken| Poll::Ready(Ok(taken))),
            }
        })
        .await;
        let socket = connection.into_parts().io.into_inner().socket;
        match taken {
            Ok(taken) => Some((taken, socket)),
            Err(ended) => {
                close(ended, peer, socket).await;
                None
            }
        }
    }
}

/// Ends a connection hyper is done with.
async fn close(ended: hyper::Result<()>, peer: SocketAddr, mut socket: TcpStream) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended early");
    }
    // The peer may be gone already; there is nobody left to tell.
    tokio::io::AsyncWriteExt::shutdown(&mut socket).await.ok();
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn answer(
    router: &Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    takeover: Takeover,
) -> Response<Body> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    request.extensions_mut().insert(takeover);
    let (method, target) = (request.method().clone(), request.uri().clone());
    let response = match framing::check(&request) {
        Ok(()) => router.handle(request).await,
        // What follows on this connection cannot be trusted either.
        Err(refusal) => closing(refusal.into_response()),
    };
    debug!(%peer, %method, %target, status = response.status().as_u16(), "answered");
    response
}
