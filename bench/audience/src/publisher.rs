//! Where events are published: a Redis, an HTTP server, or everybody directly.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::Context;
use memchr::memmem;

use crate::echo::Echo;

/// Sends events one after the other and does not wait for the answers; they are counted by a thread of their own.
pub(crate) enum Publisher {
    Remote { socket: TcpStream, form: Form, answers: Answers },
    Echo(Echo),
}

/// How an event is put into a request.
pub(crate) enum Form {
    /// `PUBLISH`, with this channel.
    Redis(String),
    /// `POST`, with this path and host.
    Http(String, SocketAddr),
}

/// What a server has answered so far.
pub(crate) struct Answers {
    refused: Arc<AtomicU64>,
    reader: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn connect(server: SocketAddr, form: Form) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(server).with_context(|| format!("cannot publish to {server}"))?;
        socket.set_nodelay(true)?;
        let (refused, answers) = (Arc::new(AtomicU64::new(0)), socket.try_clone()?);
        let reader = std::thread::spawn({
            let (refused, begin) = (refused.clone(), form.refusal());
            move || count(answers, begin, &refused)
        });
        Ok(Self::Remote { socket, form, answers: Answers { refused, reader } })
    }

    /// Sends events, the data of each, in one piece.
    pub(crate) fn publish(&mut self, events: &[Vec<u8>]) -> anyhow::Result<()> {
        match self {
            Self::Remote { socket, form, .. } => {
                let mut bytes = Vec::new();
                events.iter().for_each(|data| form.write(data, &mut bytes));
                socket.write_all(&bytes).context("the publisher's connection broke")
            }
            Self::Echo(echo) => echo.write(events).context("a client of the echo is gone"),
        }
    }

    /// Ends the connection. Gives how many events were refused.
    pub(crate) fn end(self) -> u64 {
        let Self::Remote { socket, answers, .. } = self else { return 0 };
        // Its reader then sees the end, whether or not the server closes first.
        socket.shutdown(std::net::Shutdown::Both).ok();
        answers.reader.join().ok();
        answers.refused.load(Ordering::Relaxed)
    }
}

impl Form {
    fn write(&self, data: &[u8], bytes: &mut Vec<u8>) {
        let head = match self {
            Self::Redis(channel) => {
                format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), data.len())
            }
            Self::Http(path, host) => {
                format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", data.len())
            }
        };
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(data);
        if let Self::Redis(_) = self {
            bytes.extend_from_slice(b"\r\n");
        }
    }

    /// How answers begin that say no.
    fn refusal(&self) -> &'static [&'static [u8]] {
        match self {
            Self::Redis(_) => &[b"-"],
            Self::Http(..) => &[b"HTTP/1.1 4", b"HTTP/1.1 5"],
        }
    }
}

/// Reads answers to the end, and counts what begins with one of these.
fn count(mut socket: TcpStream, begins: &[&[u8]], refused: &AtomicU64) {
    let (mut buffer, mut text) = (vec![0; 64 << 10], Vec::new());
    while let Ok(read @ 1..) = socket.read(&mut buffer) {
        text.extend_from_slice(&buffer[..read]);
        let found: usize = begins.iter().map(|begin| memmem::find_iter(&text, begin).count()).sum();
        refused.fetch_add(u64::try_from(found).unwrap_or_default(), Ordering::Relaxed);
        // A beginning may be cut in two.
        let longest = begins.iter().map(|begin| begin.len()).max().unwrap_or_default();
        text.drain(..text.len().saturating_sub(longest.saturating_sub(1)));
    }
}
