//! An EventSource client that shows the blocks of a stream as they come.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
};

use crate::client::{Client, Response};

/// An open stream.
pub(crate) struct EventSource {
    pub(crate) head: Response,
    stream: BufReader<TcpStream>,
    chunked: bool,
    bytes: Vec<u8>,
}

impl EventSource {
    /// Opens a stream and waits for its head.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut client = Client::connect(address);
        client.send(format!("GET {path} HTTP/1.1\r\nhost: example\r\naccept: text/event-stream\r\n\r\n"));
        let stream = Self::of(client);
        assert_eq!(stream.head.status, 200, "{path}");
        stream
    }

    /// The stream whose head comes next on this connection.
    pub(crate) fn of(mut client: Client) -> Self {
        let (version, status, headers) = client.head();
        let head = Response { version, status, headers, body: Vec::new() };
        let chunked = head.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        Self { head, chunked, stream: client.into_reader(), bytes: Vec::new() }
    }

    /// The next block, up to and without its blank line; none when the stream has ended properly.
    pub(crate) fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.bytes.windows(2).position(|bytes| bytes == b"\n\n") {
                let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
                return Some(String::from_utf8(block[..end].to_vec()).expect("UTF-8"));
            }
            if !self.more() {
                assert!(
                    self.bytes.is_empty(),
                    "it ended in the middle of {:?}",
                    self.bytes.escape_ascii().to_string()
                );
                return None;
            }
        }
    }

    /// The next event; comments and hints are passed over. None when the stream has ended.
    pub(crate) fn event(&mut self) -> Option<String> {
        loop {
            let block = self.block()?;
            if !block.starts_with(':') && !block.starts_with("retry:") {
                return Some(block);
            }
        }
    }

    /// Reads until the end; gives the blocks that still came.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.block()).collect()
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Reads some bytes of the body. False at its end.
    fn more(&mut self) -> bool {
        if !self.chunked {
            let read = self.stream.fill_buf().expect("a readable stream").to_vec();
            self.stream.consume(read.len());
            self.bytes.extend_from_slice(&read);
            return !read.is_empty();
        }
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a chunk");
        let length = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("no chunk: {line:?}"));
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk).expect("the whole chunk");
        self.bytes.extend_from_slice(&chunk[..length]);
        length > 0
    }
}
