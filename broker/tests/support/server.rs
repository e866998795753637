//! A private redis-server for a test, and a plain client to look at it from outside.
//!
//! Include it with `#[path = "../support/server.rs"] mod server;`. The server ends with the value, and also when the
//! test process is killed: a shell waits at the other end of a pipe.
#![allow(dead_code, unreachable_pub)] // every test target uses another part of it

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a server may take to answer, or a client wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A redis-server on a loopback port of its own.
pub struct Server {
    port: u16,
    dir: TempDir,
    options: Vec<String>,
    running: Option<Running>,
}

struct Running {
    pid: Pid,
    /// Ends the server when its stdin closes.
    keeper: Child,
}

impl Server {
    /// A server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// A server that keeps its data over [`Server::kill`] and [`Server::restart`].
    pub fn start_durable() -> Self {
        Self::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"])
    }

    /// A server with options of its own.
    pub fn start_with(options: &[&str]) -> Self {
        let dir = TempDir::new().expect("a temporary folder");
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        for _ in 0..10 {
            let port = free_port();
            if let Some(running) = launch(port, &dir, &options) {
                return Self { port, dir, options, running: Some(running) };
            }
        }
        panic!("no {} could be started; is it installed?", program());
    }

    /// A server that also speaks TLS, with the certificate of these files; it takes clients without one unless it
    /// `wants` a certificate of this authority. Gives the port of that.
    pub fn start_tls(authority: &Path, cert: &Path, key: &Path, wants: bool) -> (Self, u16) {
        let text = |path: &Path| path.to_str().expect("a path of text").to_owned();
        let (authority, cert, key, port) = (text(authority), text(cert), text(key), free_port());
        let name = port.to_string();
        let tls = ["--tls-port", &name, "--tls-ca-cert-file", &authority, "--tls-cert-file", &cert];
        let rest =
            ["--tls-key-file", &key, "--save", "", "--tls-auth-clients", if wants { "yes" } else { "no" }];
        (Self::start_with(&[&tls[..], &rest].concat()), port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Makes an account with these rules, which also outlives [`Server::restart`]. Gives the URL that uses it.
    pub fn account(&mut self, name: &str, rules: &[String]) -> String {
        let words: Vec<_> = ["on", ">secret"].into_iter().chain(rules.iter().map(String::as_str)).collect();
        let set = self.run(&[&["ACL", "SETUSER", name], &words[..]].concat());
        assert_eq!(set, Answer::Text(b"OK".to_vec()), "{words:?}");
        let option = ["--user", name].into_iter().chain(words).map(str::to_owned);
        self.options.extend(option);
        self.url().replace("//", &format!("//{name}:secret@"))
    }

    /// The commands, keys and channels that were denied to an account since the server started; none if it is gone.
    pub fn denied(&self, name: &str) -> Vec<String> {
        let Ok(mut client) = Client::connect(self.port) else { return Vec::new() };
        let Answer::List(entries) = client.run(&["ACL", "LOG"]) else { return Vec::new() };
        let text = |answer: &Answer| match answer {
            Answer::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let object = |entry: Answer| {
            let Answer::List(fields) = entry else { return None };
            let words: Vec<_> = fields.iter().map(text).collect();
            let field = |name: &str| words.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
            (field("username")? == name).then(|| field("object")).flatten()
        };
        entries.into_iter().filter_map(object).collect()
    }

    pub fn pid(&self) -> Pid {
        self.running.as_ref().expect("the server runs").pid
    }

    /// Ends the server like a crash.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            kill_process(running.pid, Signal::KILL).ok();
            drop(running.keeper.stdin.take());
            running.keeper.wait().ok();
        }
    }

    /// Starts it again on the same port with the data it kept.
    pub fn restart(&mut self) {
        self.kill();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(running) = launch(self.port, &self.dir, &self.options) {
                self.running = Some(running);
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("redis-server did not start again on port {}", self.port);
    }

    /// Stops it in the middle of whatever it does (`SIGSTOP`).
    pub fn pause(&self) {
        kill_process(self.pid(), Signal::STOP).expect("the server can be stopped");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("the server can go on");
    }

    /// A new connection to look at it from outside.
    pub fn client(&self) -> Client {
        Client::connect(self.port).expect("the server takes connections")
    }

    /// One command on a connection of its own; words are split at blanks. For arguments with blanks see
    /// [`Server::run`].
    pub fn cli(&self, line: &str) -> Answer {
        self.run(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// One command on a connection of its own.
    pub fn run<A: AsRef<[u8]>>(&self, command: &[A]) -> Answer {
        self.client().run(command)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port nobody listens on at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("a bound listener has an address").port()
}

const KEEPER: &str = r#""$0" "$@" >/dev/null 2>&1 & echo $!; read -r _; kill -9 $! 2>/dev/null; wait"#;

/// The program: `TEMPEST_TEST_REDIS` names another one that speaks like Redis, such as `valkey-server`.
fn program() -> String {
    std::env::var("TEMPEST_TEST_REDIS")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "redis-server".into())
}

fn launch(port: u16, dir: &TempDir, options: &[String]) -> Option<Running> {
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, &program(), "--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]);
    command.arg(dir.path()).args(options);
    let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
    let mut pid = String::new();
    BufReader::new(keeper.stdout.take().expect("piped")).read_line(&mut pid).expect("a pid");
    let pid = Pid::from_raw(pid.trim().parse().expect("a pid")).expect("a pid is not 0");
    let running = Running { pid, keeper };
    if answers(port, pid) { Some(running) } else { end(running) }
}

fn end(mut running: Running) -> Option<Running> {
    drop(running.keeper.stdin.take());
    running.keeper.wait().ok();
    None
}

/// Waits until this very process answers at the port.
fn answers(port: u16, pid: Pid) -> bool {
    let own = format!("process_id:{}\r", pid.as_raw_nonzero());
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && rustix::process::test_kill_process(pid).is_ok() {
        if let Ok(mut client) = Client::connect(port)
            && client.run(&["PING"]) == Answer::Text(b"PONG".to_vec())
        {
            return client.run(&["INFO", "server"]).text().contains(&own);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Nil,
    Integer(i64),
    Text(Vec<u8>),
    List(Vec<Answer>),
    Error(String),
}

impl Answer {
    /// Text, lossy; "" for nil. Panics for anything else.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(bytes) => bytes.clone(),
            Self::Nil => Vec::new(),
            other => panic!("text was expected, Redis answered {other:?}"),
        }
    }

    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("an integer was expected, Redis answered {other:?}"),
        }
    }

    #[track_caller]
    pub fn list(&self) -> Vec<Vec<u8>> {
        match self {
            Self::List(items) => items.iter().map(Answer::bytes).collect(),
            other => panic!("a list was expected, Redis answered {other:?}"),
        }
    }

    pub fn is_nil(&self) -> bool {
        *self == Self::Nil
    }
}

/// A plain blocking connection: what a person at a prompt would have.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a command and waits for its answer. A broken connection is an [`Answer::Error`].
    pub fn run<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Answer {
        self.send(command)
            .and_then(|()| self.receive())
            .unwrap_or_else(|error| Answer::Error(error.to_string()))
    }

    /// Sends a command.
    pub fn send<A: AsRef<[u8]>>(&mut self, command: &[A]) -> std::io::Result<()> {
        let mut out = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command.iter().map(AsRef::as_ref) {
            out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&out)
    }

    /// Waits for the next answer, or the next message of a subscription.
    pub fn receive(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let length = || rest.parse::<i64>().map_err(std::io::Error::other);
        Ok(match kind {
            "+" => Answer::Text(rest.as_bytes().to_vec()),
            "-" => Answer::Error(rest.to_owned()),
            ":" => Answer::Integer(length()?),
            "$" => match usize::try_from(length()?) {
                Ok(length) => Answer::Text(self.exactly(length)?),
                Err(_) => Answer::Nil,
            },
            "*" => match usize::try_from(length()?) {
                Ok(length) => Answer::List((0..length).map(|_| self.receive()).collect::<Result<_, _>>()?),
                Err(_) => Answer::Nil,
            },
            _ => return Err(std::io::Error::other(format!("not RESP: {line:?}"))),
        })
    }

    fn exactly(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Waits until something is true. Panics with `what` if it does not become so.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
