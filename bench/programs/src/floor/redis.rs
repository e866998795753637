//! One connection to Redis, without a task of its own: commands are written together, then their answers are read.

use anyhow::{Context, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct Redis {
    stream: TcpStream,
    out: Vec<u8>,
    input: BytesMut,
}

/// One answer. After `Several` come so many more.
pub(crate) enum Answer {
    Value(Bytes),
    Nothing,
    Several(usize),
    Done,
}

impl Redis {
    pub(crate) async fn connect(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("Redis cannot be reached")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, out: Vec::with_capacity(1 << 16), input: BytesMut::with_capacity(1 << 16) })
    }

    fn number(&mut self, sign: u8, number: usize) {
        self.out.push(sign);
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn word(&mut self, word: &[u8]) {
        self.number(b'$', word.len());
        self.out.extend_from_slice(word);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Adds a command to the next write.
    pub(crate) fn command<W: AsRef<[u8]>>(&mut self, words: &[W]) {
        self.number(b'*', words.len());
        words.iter().for_each(|word| self.word(word.as_ref()));
    }

    /// Adds a push of all values to the end of a list.
    pub(crate) fn push(&mut self, list: &str, values: &[Vec<u8>]) {
        self.number(b'*', 2 + values.len());
        self.word(b"RPUSH");
        self.word(list.as_bytes());
        values.iter().for_each(|value| self.word(value));
    }

    pub(crate) async fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// Whether more has come than was read.
    pub(crate) fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    pub(crate) async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            if let Some(answer) = self.parse()? {
                return Ok(answer);
            }
            self.input.reserve(1 << 14);
            ensure!(self.stream.read_buf(&mut self.input).await? > 0, "Redis has gone away");
        }
    }

    fn parse(&mut self) -> anyhow::Result<Option<Answer>> {
        let Some(end) = self.input.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = self.input.get(1..end - 1).context("an empty line")?;
        let sign = self.input[0];
        if sign == b'-' {
            bail!("Redis says {}", String::from_utf8_lossy(line));
        }
        let size: Option<usize> = str::from_utf8(line)?.parse().ok();
        let answer = match (sign, size) {
            (b'$', Some(size)) => {
                if self.input.len() < end + 1 + size + 2 {
                    return Ok(None);
                }
                self.input.advance(end + 1);
                let value = self.input.split_to(size).freeze();
                self.input.advance(2);
                return Ok(Some(Answer::Value(value)));
            }
            (b'*', Some(size)) => Answer::Several(size),
            (b'$' | b'*', None) => Answer::Nothing,
            _ => Answer::Done,
        };
        self.input.advance(end + 1);
        Ok(Some(answer))
    }
}
