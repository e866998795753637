//! HTTP/1 on a connection, until it ends or an event stream takes its socket over.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Serving,
    connection::Peer,
    owed::Owed,
    takeover::{Taken, Takeover},
};
use crate::exchange;

/// How long a client may take to send its header.
const HEADER_READ: Duration = Duration::from_secs(30);

/// Serves requests until the connection ends, or until an event stream takes the socket over.
pub(super) async fn serve<IO>(
    serving: Arc<Serving>,
    socket: IO,
    peer: Peer,
    shutdown: CancellationToken,
) -> Option<(Taken, IO)>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (takeover, owed) = (Takeover::default(), Owed::default());
    let io = TokioIo::new(takeover.watch(socket));
    let service = service_fn(|request: Request<Incoming>| {
        let (serving, takeover, debt) = (serving.clone(), takeover.clone(), owed.one());
        Box::pin(async move {
            let mut request = request.map(Body::new);
            // What takes a socket over writes plaintext.
            if !peer.is_tls {
                request.extensions_mut().insert(takeover);
            }
            Ok::<_, Infallible>(debt.with(exchange::answer(&serving, request, peer).await))
        })
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ);
    let mut connection = builder.serve_connection(io, service);
    let mut stopping = pin!(shutdown.cancelled());
    let mut told = false;
    let taken = std::future::poll_fn(|context| {
        if !told && stopping.as_mut().poll(context).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match connection.poll_without_shutdown(context) {
            Poll::Ready(ended) => Poll::Ready(Err(ended)),
            Poll::Pending => match takeover.taken() {
                Some(taken) => Poll::Ready(Ok(taken)),
                // hyper would wait for the rest of a head.
                None if told && owed.nothing() && takeover.is_flushed() => Poll::Ready(Err(Ok(()))),
                None => Poll::Pending,
            },
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

/// Ends a connection hyper is done with.
async fn close(ended: hyper::Result<()>, peer: Peer, mut socket: impl AsyncWrite + Unpin) {
    if let Err(error) = ended {
        debug!(peer = %peer.address, %error, "a connection ended early");
    }
    // The peer may be gone already; there is nobody left to tell.
    tokio::io::AsyncWriteExt::shutdown(&mut socket).await.ok();
}
