//! An event stream takes its socket back from hyper: an idle one then costs a task and a socket, no HTTP machinery.
//! Only plaintext HTTP/1 connections of this front's own server can; elsewhere the stream is a response body.
//!
//! The service puts the stream into the [`Takeover`] it finds in the request and never resolves; the driver of the
//! connection sees it, once hyper has written all that came before, and parts hyper from the socket.

use std::{
    future::poll_fn,
    io,
    net::Shutdown,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::SystemTime,
};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::{HeaderValue, Response, header};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep, timeout},
};

use tracing::debug;

use super::listen::PATIENCE;
use crate::{Refusal, stream::EventStream};

/// Writes of one stream before other tasks have their turn.
const WRITES_MAX: usize = 32;

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
    /// Writes the head. What is to be done then lives as long as the stream, and keeps what it is given for as long.
    pub(crate) async fn open<K>(self, socket: TcpStream, kept: K) -> io::Result<Writing<K>> {
        let Self { head, mut stream } = self;
        let mut head = Bytes::from(head_bytes(head));
        let writing = async {
            while !head.is_empty() {
                poll_fn(|context| poll_write(&socket, &mut head, context)).await?;
            }
            Ok::<_, io::Error>(())
        };
        timeout(PATIENCE, writing).await??;
        let socket = Arc::new(socket);
        let outlet = socket.clone();
        // An error is met again, and told apart, by the task that writes what is left.
        stream.write_through(Box::new(move |bytes| outlet.try_write(bytes).unwrap_or(0)));
        Ok(Writing { stream, socket, rest: Bytes::new(), late: None, _kept: kept })
    }
}

/// An event stream on a socket of its own: resolves when it has ended or its client has left. The end of the connection
/// is the end of the body.
///
/// Events are written by whoever hears them while this has nothing to write: it is woken only if the socket has no room
/// for all of them. There is one for every stream that is open, so it is put together by hand: an `async fn` would hold
/// most of it twice.
pub(crate) struct Writing<K> {
    stream: EventStream,
    socket: Arc<TcpStream>,
    /// What has yet to be written.
    rest: Bytes,
    /// When the client is given up: since it has not taken all of `rest`.
    late: Option<Pin<Box<Sleep>>>,
    _kept: K,
}

impl<K: Unpin> Future for Writing<K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let polled = self.poll_end(context);
        if polled.is_ready() {
            debug!(address = ?self.socket.peer_addr().ok(), "an event stream has ended");
        }
        polled
    }
}

impl<K> Writing<K> {
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..WRITES_MAX {
            while !self.rest.is_empty() {
                match poll_write(&self.socket, &mut self.rest, context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {
                        let late = self.late.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
                        return late.as_mut().poll(context);
                    }
                }
            }
            self.late = None;
            match self.stream.poll_bytes(context) {
                Poll::Ready(Some(bytes)) => self.rest = bytes,
                Poll::Ready(None) => {
                    // The peer may be gone already; there is nobody left to tell.
                    SockRef::from(&*self.socket).shutdown(Shutdown::Write).ok();
                    return Poll::Ready(());
                }
                Poll::Pending => return poll_left(&self.socket, context),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Writes what there is room for. Asked in this way for the same reason as in `poll_left`.
fn poll_write(socket: &TcpStream, rest: &mut Bytes, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    loop {
        match socket.try_write(rest) {
            Ok(0) if !rest.is_empty() => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => {
                rest.advance(written);
                return Poll::Ready(Ok(()));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                ready!(socket.poll_write_ready(context))?;
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
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
