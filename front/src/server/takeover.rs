//! An event stream takes its socket back from hyper: an idle one then costs a task and a socket, no HTTP machinery.
//! Only plaintext HTTP/1 connections of this front's own server can; elsewhere the stream is a response body.
//!
//! The service puts the stream into the [`Takeover`] it finds in the request and never resolves; the driver of the
//! connection sees it, once hyper has written all that came before, and parts hyper from the socket.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::SystemTime,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::listen::PATIENCE;
use crate::{Refusal, stream::EventStream};

/// A connection's offer to give its socket away. Lives in the extensions of each request.
#[derive(Clone, Default)]
pub(crate) struct Takeover {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    taken: Mutex<Option<Taken>>,
    /// Whether the socket refused the last write: hyper still holds bytes of earlier responses.
    blocked: AtomicBool,
}

/// A stream and the head to write before it.
pub(crate) struct Taken {
    head: Response<()>,
    stream: EventStream,
}

impl Takeover {
    /// Asks for the socket. Never resolves: the connection is parted from hyper while this is pending.
    pub(crate) async fn take(
        self,
        head: Response<()>,
        stream: EventStream,
    ) -> Result<Response<Body>, Refusal> {
        *self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(Taken { head, stream });
        std::future::pending().await
    }

    /// The stream that wants the socket, once hyper owes the client nothing more. Call it when hyper is pending.
    pub(crate) fn taken(&self) -> Option<Taken> {
        if !self.is_flushed() {
            return None;
        }
        self.shared.taken.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether hyper holds no bytes of responses back. Ask when hyper is pending.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.shared.blocked.load(Ordering::Relaxed)
    }

    /// Whether the socket has refused the last write.
    pub(crate) fn note_write(&self, refused: bool) {
        self.shared.blocked.store(refused, Ordering::Relaxed);
    }
}

impl Taken {
    /// Writes the stream until it ends or the client leaves. The end of the connection is the end of the body.
    pub(crate) async fn write(self, mut socket: TcpStream) {
        let Self { head, mut stream } = self;
        if write_all(&mut socket, &head_bytes(head)).await.is_err() {
            return;
        }
        while let Some(bytes) = next(&mut stream, &socket).await {
            if write_all(&mut socket, &bytes).await.is_err() {
                return;
            }
        }
        // The peer may be gone already; there is nobody left to tell.
        socket.shutdown().await.ok();
    }
}

async fn write_all(socket: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    tokio::time::timeout(PATIENCE, socket.write_all(bytes)).await?
}

/// The next bytes of the stream; none when it ends or the client has left.
async fn next(stream: &mut EventStream, socket: &TcpStream) -> Option<Bytes> {
    poll_fn(|context| match stream.poll_bytes(context) {
        Poll::Ready(bytes) => Poll::Ready(bytes),
        Poll::Pending => poll_left(socket, context).map(|()| None),
    })
    .await
}

/// Ready when the client closes its side. What it sends meanwhile means nothing and is thrown away.
///
/// Asked in this way and not with a future, the socket forgets whom it was to wake before: that was the task that served
/// HTTP, whose memory would be kept for as long as the stream is idle.
fn poll_left(socket: &TcpStream, context: &mut Context<'_>) -> Poll<()> {
    while ready!(socket.poll_read_ready(context)).is_ok() {
        match socket.try_read(&mut [0; 512]) {
            Ok(0) => break,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
            Ok(_) | Err(_) => {}
        }
    }
    Poll::Ready(())
}

fn head_bytes(head: Response<()>) -> Vec<u8> {
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    let mut headers = head.into_parts().0.headers;
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        headers.insert(header::DATE, date);
    }
    for (name, value) in &headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}
