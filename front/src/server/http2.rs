//! HTTP/2 (RFC 9113): by ALPN in TLS, by prior knowledge in plaintext. Event streams are response bodies here.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Request, Uri, header, uri::PathAndQuery};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Serving, connection::Peer, owed::Owed};
use crate::exchange;

/// What a client that knows beforehand sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks for the rest of a preface, and how many there are: clients send it at once.
const LOOK: Duration = Duration::from_millis(5);
const LOOKS: usize = 100;

/// Requests that a client may have in flight on one connection.
const STREAMS_MAX: u32 = 250;
/// How much a client may send of one body, and of all, before it must wait.
const WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of a response that are held for a client that does not take them.
const SEND_BUFFER: usize = 64 << 10;
/// A client that does not answer for this long is gone.
const PING: Duration = Duration::from_secs(20);

/// Whether a client in plaintext begins with HTTP/2. Takes no byte from the socket.
pub(super) async fn is_known(socket: &TcpStream) -> std::io::Result<bool> {
    let mut seen = [0; PREFACE.len()];
    for _ in 0..LOOKS {
        let length = socket.peek(&mut seen).await?;
        if length == PREFACE.len() || !PREFACE.starts_with(&seen[..length]) || length == 0 {
            return Ok(seen == PREFACE);
        }
        // What was seen stays readable, so there is nothing to wait for but time.
        tokio::time::sleep(LOOK).await;
    }
    Ok(false)
}

/// Serves requests until the client leaves, or until the front stops and what was begun is answered.
pub(super) async fn serve<IO>(serving: Arc<Serving>, io: IO, peer: Peer, shutdown: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let cut = CancellationToken::new();
    let _guard = cut.clone().drop_guard();
    let config = serving.cluster.shared.config.load_full();
    let owed = Owed::default();
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, debt) = (serving.clone(), owed.one());
        Box::pin(async move {
            let mut request = request.map(Body::new);
            // Two hosts are left for the check that refuses them.
            as_origin_form(&mut request);
            Ok::<_, Infallible>(debt.with(exchange::answer(&serving, request, peer, None).await))
        })
    });
    let mut builder = http2::Builder::new(Streams(cut));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(config.http.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let idle = Duration::from_millis(config.http.keep_alive_ms);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => { connection.as_mut().graceful_shutdown(); connection.await }
        () = idle_for(&owed, idle) => { connection.as_mut().graceful_shutdown(); connection.await }
    };
    if let Err(error) = ended {
        debug!(peer = %peer.address, %error, "a connection ended early");
    }
}

/// Resolves when nothing was owed at each of several looks over this time.
async fn idle_for(owed: &Owed, idle: Duration) {
    const LOOKS: u32 = 8;
    let mut quiet = 0;
    while quiet < LOOKS {
        tokio::time::sleep(idle / LOOKS).await;
        quiet = if owed.nothing() { quiet + 1 } else { 0 };
    }
}

/// Makes of a request what it would be in HTTP/1: a target without authority, and the authority as `Host`.
fn as_origin_form(request: &mut Request<Body>) {
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
        match request.headers().get(header::HOST) {
            Some(other) if other != host => drop(request.headers_mut().append(header::HOST, host)),
            _ => drop(request.headers_mut().insert(header::HOST, host)),
        }
    }
    let target = request.uri().path_and_query().cloned();
    if request.method() != http::Method::CONNECT {
        *request.uri_mut() = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
    }
}

/// Runs the streams of one connection, no longer than it lives.
#[derive(Clone)]
struct Streams(CancellationToken);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(self.0.clone().run_until_cancelled_owned(stream));
    }
}
