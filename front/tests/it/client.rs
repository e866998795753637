//! An HTTP/1 client that sends exactly the bytes it is given and shows exactly what comes back.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// All values of a header, in order; `name` in lower case.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let values = self.headers.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The value of a header that comes once at most.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        assert!(values.len() <= 1, "{name} comes more than once: {values:?}");
        values.pop()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the front listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream.set_nodelay(true).expect("nodelay");
        Self { stream: BufReader::new(stream) }
    }

    /// Goes on where another reader stopped.
    pub(crate) fn from_reader(stream: BufReader<TcpStream>) -> Self {
        Self { stream }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the front reads");
    }

    /// Sends what the front may no longer want to read.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).ok();
    }

    /// The response to anything but HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    #[track_caller]
    pub(crate) fn response_to(&mut self, method: &str) -> Response {
        let (version, status, headers) = self.head();
        let mut response = Response { version, status, headers, body: Vec::new() };
        if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            return response;
        }
        let length =
            response.header("content-length").map(|length| length.parse::<usize>().expect("a length"));
        if response.header("transfer-encoding").as_deref() == Some("chunked") {
            let mut chunks = Chunks { stream: &mut self.stream, left: 0, is_over: false };
            chunks.read_to_end(&mut response.body).expect("chunks");
            return response;
        }
        match length {
            Some(length) => {
                response.body = vec![0; length];
                self.stream.read_exact(&mut response.body).expect("the whole body");
            }
            None => drop(self.stream.read_to_end(&mut response.body).expect("a body to the end")),
        }
        response
    }

    /// Status line and headers alone.
    #[track_caller]
    pub(crate) fn head(&mut self) -> (String, u16, Vec<(String, Vec<u8>)>) {
        let line = self.line();
        let mut words = line.splitn(3, ' ');
        let version = words.next().expect("a version").to_owned();
        let status =
            words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no status: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return (version, status, headers);
            }
            let (name, value) = line.split_once(':').expect("a header");
            // The client reads bytes as ISO-8859-1; the values go back to bytes here.
            let value =
                value.trim().chars().map(|char| u8::try_from(u32::from(char)).expect("a byte")).collect();
            headers.push((name.to_ascii_lowercase(), value));
        }
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line");
        assert!(line.ends_with(b"\r\n"), "the connection ended after {:?}", line.escape_ascii().to_string());
        line.truncate(line.len() - 2);
        line.into_iter().map(char::from).collect()
    }

    /// Everything until the front closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("an end");
        bytes
    }

    /// Everything until the connection ends, in whatever way.
    pub(crate) fn rest_of_broken(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).ok();
        bytes
    }

    /// The socket, for what only a socket can do.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.socket().shutdown(Shutdown::Write).expect("still connected");
    }

    /// The reader with what it has buffered.
    pub(crate) fn into_reader(self) -> BufReader<TcpStream> {
        self.stream
    }
}

/// A chunked body (RFC 9112 section 7.1), as it comes.
pub(crate) struct Chunks<R> {
    stream: R,
    left: usize,
    is_over: bool,
}

impl Chunks<BufReader<TcpStream>> {
    /// The body that begins here.
    pub(crate) fn of(stream: BufReader<TcpStream>) -> Self {
        Self { stream, left: 0, is_over: false }
    }
}

impl<R: BufRead> Read for Chunks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.is_over {
            return Ok(0);
        }
        let mut line = String::new();
        if self.left == 0 {
            self.stream.read_line(&mut line)?;
            self.left = usize::from_str_radix(line.trim(), 16).expect("the size of a chunk");
            self.is_over = self.left == 0;
        }
        let wanted = buffer.len().min(self.left);
        let read = self.stream.read(&mut buffer[..wanted])?;
        self.left -= read;
        if self.left == 0 {
            self.stream.read_line(&mut String::new())?;
        }
        Ok(read)
    }
}
