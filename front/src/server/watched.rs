//! The socket under hyper: notices what comes and whether a write is refused, and keeps hyper from refusing a request
//! without a word.
//!
//! hyper answers a head it cannot read with a status and an empty body, by itself, and then ends the connection with an
//! error. What looks like that is held back until hyper is heard: if it failed, a refusal of ours goes out instead; if
//! it goes on, the bytes were those of a body and go out as they are.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tempest_protocol::Code;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{owed::Owed, takeover::Takeover};

/// Longer than any head that hyper makes up.
const BARE_BYTES_MAX: usize = 256;

/// A socket of HTTP/1.
pub(super) struct Watched<IO> {
    socket: IO,
    owed: Owed,
    takeover: Takeover,
    held: Vec<u8>,
    hold: Hold,
}

/// Whether bytes are held back, for the driver of the connection.
#[derive(Clone, Default)]
pub(super) struct Hold(Arc<Flags>);

#[derive(Default)]
struct Flags {
    holds: AtomicBool,
    lets_go: AtomicBool,
}

impl Hold {
    /// Lets go of what is held, with hyper's next flush. Gives whether there was anything.
    pub(super) fn let_go(&self) -> bool {
        let holds = self.0.holds.swap(false, Ordering::Relaxed);
        if holds {
            self.0.lets_go.store(true, Ordering::Relaxed);
        }
        holds
    }
}

impl<IO> Watched<IO> {
    pub(super) fn new(socket: IO, owed: Owed, takeover: Takeover) -> Self {
        Self { socket, owed, takeover, held: Vec::new(), hold: Hold::default() }
    }

    pub(super) fn hold(&self) -> Hold {
        self.hold.clone()
    }

    /// The socket, and what was held back to the end.
    pub(super) fn into_parts(self) -> (IO, Vec<u8>) {
        (self.socket, self.held)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        self.hold.0.holds.store(true, Ordering::Relaxed);
    }

    fn note<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.takeover.note_write(polled.is_pending());
        polled
    }
}

impl<IO: AsyncWrite + Unpin> Watched<IO> {
    /// Writes what is held back: hyper goes on, so it was no refusal.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let polled = Pin::new(&mut self.socket).poll_write(context, &self.held);
            let written = ready!(self.note(polled))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.drain(..written);
        }
        self.hold.0.holds.store(false, Ordering::Relaxed);
        self.hold.0.lets_go.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Watched<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.owed.hear();
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Watched<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_release(context))?;
        let bytes = match bare_refusal(bytes) {
            Some((0, _)) => {
                self.keep(bytes);
                return Poll::Ready(Ok(bytes.len()));
            }
            Some((begin, _)) => &bytes[..begin],
            None => bytes,
        };
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_release(context))?;
        if slices.iter().any(|slice| bare_refusal(slice).is_some()) {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            return self.poll_write(context, first);
        }
        let polled = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hold.0.lets_go.load(Ordering::Relaxed) {
            ready!(self.poll_release(context))?;
        }
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// Where a refusal of hyper's own begins that these bytes end with, and what it says.
pub(super) fn bare_refusal(bytes: &[u8]) -> Option<(usize, Code)> {
    let before = bytes.strip_suffix(b"\r\n\r\n")?;
    let from = before.len().saturating_sub(BARE_BYTES_MAX);
    let mut maybe = memchr::memrchr_iter(b'H', &before[from..]).map(|at| from + at);
    let begin = maybe.find(|at| before[*at..].starts_with(b"HTTP/1."))?;
    let mut lines = before[begin..].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let code = match lines.next()?.get(8..13)? {
        b" 400 " => Code::BadHttp,
        b" 414 " => Code::TargetTooLong,
        b" 431 " => Code::HeadersTooLarge,
        _ => return None,
    };
    let is_its_own = |line: &[u8]| {
        line.starts_with(b"connection: ") || line == b"content-length: 0" || line.starts_with(b"date: ")
    };
    let (mut lines, mut empty) = (lines.peekable(), false);
    lines.peek()?;
    for line in lines {
        empty |= line == b"content-length: 0";
        if !is_its_own(line) {
            return None;
        }
    }
    empty.then_some((begin, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sat, 21 Nov 2026 09:00:00 GMT\r\n\r\n";

    #[test]
    fn a_refusal_of_hyper_is_told_from_a_response() {
        assert_eq!(bare_refusal(BARE), Some((0, Code::BadHttp)));
        let after = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", BARE].concat();
        assert_eq!(bare_refusal(&after), Some((after.len() - BARE.len(), Code::BadHttp)));
        let others = [
            &b"HTTP/1.1 400 Bad Request\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"HTTP/1.\r\n\r\n",
            b"\r\n\r\n",
            b"",
        ];
        for other in others {
            assert_eq!(bare_refusal(other), None, "{}", String::from_utf8_lossy(other));
        }
    }
}
