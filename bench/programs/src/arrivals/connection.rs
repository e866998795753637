//! One connection: a request, and its answer up to the last byte.

use memchr::memmem;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::record::Answer;

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(1 << 10) })
    }

    /// Asks, and gives the answer and whether another one may be asked for; none if the connection broke first.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Option<(Answer, bool)> {
        self.buffer.clear();
        self.stream.write_all(request).await.ok()?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await.ok()? == 0 {
                return None;
            }
            if let Some(answer) = whole(&self.buffer) {
                return Some(answer);
            }
        }
    }
}

/// The answer in these bytes, and whether its connection stays open; none until all of it is there.
fn whole(bytes: &[u8]) -> Option<(Answer, bool)> {
    let head_bytes = memmem::find(bytes, b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..head_bytes)?).ok()?;
    let field = |name: &str| head.split("\r\n").find_map(|line| value(line, name));
    let length: usize = field("content-length")?.parse().ok()?;
    let body = bytes.get(head_bytes + 4..)?;
    if body.len() < length {
        return None;
    }
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let stays = field("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
    Some((Answer { status, code: code(status, body) }, stays))
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim())
}

/// The word in `503 queue_full: the sentence`.
fn code(status: u16, body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let word = text.strip_prefix(&format!("{status} ")).and_then(|rest| rest.split(':').next());
    word.filter(|_| status >= 400).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_with_its_last_byte() {
        let text = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 22\r\n\r\n503 queue_full: Later.\n";
        assert_eq!(whole(&text[..text.len() - 2]), None);
        let answer = Answer { status: 503, code: "queue_full".into() };
        assert_eq!(whole(&text[..text.len() - 1]), Some((answer, true)));
    }

    #[test]
    fn the_last_answer_of_a_connection_is_known() {
        let text = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
        assert_eq!(whole(text), Some((Answer { status: 200, code: String::new() }, false)));
    }
}
