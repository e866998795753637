//! What signals do to `tempest front` and `tempest up`: reload, stop, end at once; and what they do not do.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Child,
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    server::{Server, eventually},
    shop::Shop,
};

/// A process that runs, and what it says.
pub(crate) struct Running {
    shop: Shop,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    address: String,
}

impl Running {
    /// Starts a command in a shop and waits until it has said where its front is.
    fn start(shop: Shop, arguments: &[&str]) -> Self {
        let mut child = shop.command(arguments).spawn().expect("the tool starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let said = said.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().expect("no panic").push(line);
                }
            });
        }
        let mut running = Self { shop, child, said, address: String::new() };
        eventually("its address is said", || {
            let line = running.lines().into_iter().find(|line| line.starts_with("redis redis://"));
            line.is_some()
        });
        let front = running.line("front http://");
        running.address = front.trim_start_matches("front http://").to_owned();
        running
    }

    pub(crate) fn front(server: &Server, file: &str, arguments: &[&str]) -> Self {
        let shop = Shop::at(server.url());
        shop.write("tempest.toml", file);
        Self::start(shop, &[&["front", "--listen", "127.0.0.1:0"], arguments].concat())
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.said.lock().expect("no panic").clone()
    }

    /// The first line with this text, once it is said.
    pub(crate) fn line(&self, text: &str) -> String {
        let mut found = None;
        eventually(&format!("{text:?} is said"), || {
            found = self.lines().into_iter().find(|line| line.contains(text));
            found.is_some()
        });
        found.expect("said")
    }

    /// Writes another configuration and has it read.
    pub(crate) fn reload(&self, file: &str) {
        self.shop.write("tempest.toml", file);
        self.said.lock().expect("no panic").clear();
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not 0");
        kill_process(pid, signal).expect("it runs");
    }

    fn request(&self, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the front listens");
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("it can be set");
        write!(stream, "{head}\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
        stream
    }

    pub(crate) fn status(&self, path: &str) -> String {
        let mut answer = String::new();
        self.request(&format!("GET {path} HTTP/1.1")).read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).expect("a status").to_owned()
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A table whose only path leads to an empty folder: it is told apart from no route by nothing but its file.
fn table(path: &str, more: &str) -> String {
    format!("{more}\n[[route]]\npath = \"{path}/{{*file}}\"\nstatic = \".\"\n")
}

#[test]
fn a_changed_file_is_in_force_after_sighup_and_the_changes_are_said() {
    let server = Server::start();
    let front = Running::front(&server, &table("/old", ""), &["--timeout-ms", "4000"]);
    assert_eq!(
        (front.status("/old/tempest.toml"), front.status("/new/tempest.toml")),
        ("200".into(), "404".into())
    );
    let more = "[front]\ntimeout_ms = 9000\nheartbeat_ms = 3000\nlisten = \"127.0.0.1:1\"\n[redis]\nprefix = \"other\"\n[log]\nfilter = \"debug\"";
    front.reload(&table("/new", more));
    let line = front.line("reloaded: ");
    for part in [
        "front.heartbeat_ms 25000 → 3000",
        "log.filter info → debug",
        "routes new: /new/{*file}; routes gone: /old/{*file}",
        "needs a restart: redis.prefix tempest → other",
    ] {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
    for part in ["timeout_ms", "front.listen"] {
        assert!(!line.contains(part), "an option hides the file, so nothing has changed: {line}");
    }
    assert_eq!(
        (front.status("/old/tempest.toml"), front.status("/new/tempest.toml")),
        ("404".into(), "200".into())
    );
    TcpStream::connect(&front.address).expect("the front listens").write_all(b"GET / HT").expect("sent");
    assert!(front.line("DEBUG").contains("a connection ended early"));
    front.reload(&table("/new", more));
    let line = front.line("reloaded: ");
    let expected = "reloaded: nothing has changed; needs a restart: redis.prefix tempest → other";
    assert!(line.ends_with(expected), "what waits for a restart is said again: {line}");
}

#[test]
fn every_mistake_in_a_file_is_said_and_nothing_changes() {
    let server = Server::start();
    let front = Running::front(&server, &table("/old", ""), &[]);
    let wrong = "[front]\ntimeout_ms = \"soon\"\nlisen = \"a:1\"\n[[route]]\npath = \"/x\"\n";
    front.reload(&table("/new", wrong));
    front.line("nothing was reloaded; what was in force still is");
    front.line("tempest.toml:2: front.timeout_ms must be a whole number");
    front.line("tempest.toml:3: [front] has no lisen; did you mean listen?");
    front.line("tempest.toml:4: route \"/x\" needs exactly one of queue, topic, static and jobs");
    // Only the whole table shows that a path stands twice.
    front.reload(&(table("/new", "") + &table("/new", "")));
    front.line("stands twice");
    front.line("nothing was reloaded");
    assert_eq!(
        (front.status("/old/tempest.toml"), front.status("/new/tempest.toml")),
        ("200".into(), "404".into())
    );
    front.reload(&table("/new", ""));
    front.line("routes new: /new/{*file}");
}

#[test]
fn a_cluster_reloads_its_front_and_its_workers_and_names_what_it_does_not_reload() {
    let shop = Shop::new();
    shop.write("tempest.toml", &table("/old", ""));
    let up = Running::start(shop, &["up", "--listen", "127.0.0.1:0", "--redis-port", "0"]);
    up.reload(&table(
        "/new",
        "[[worker]]\nname = \"w\"\ncommand = \"sleep 100\"\n[supervisor]\ngrace_ms = 5",
    ));
    let line = up.line("reloaded: ");
    assert!(line.contains("routes new: /new/{*file}"), "{line}");
    assert!(line.ends_with("workers new: w; needs a restart: supervisor.grace_ms 10000 → 5"), "{line}");
    assert_eq!(up.status("/new/tempest.toml"), "200");
    up.signal(Signal::USR2);
    up.line("SIGUSR2: only tempest front can be replaced");
    assert_eq!(up.status("/new/tempest.toml"), "200");
}

#[test]
fn a_second_signal_ends_a_front_at_once_with_one_line() {
    let server = Server::start();
    server.run(&["SADD", "tempest:queues", "default"]);
    server.run(&["SADD", "tempest:{default}:workers", "hand-1-a.0"]);
    server.run(&["SET", "tempest:{default}:lease:hand-1-a", "{}"]);
    let mut front = Running::front(&server, "", &["--drain-ms", "600000"]);
    let mut held = front.request("GET /held HTTP/1.1");
    eventually("it waits", || server.cli("LLEN tempest:{default}").integer() == 1);
    front.signal(Signal::TERM);
    front.line("stopping");
    front.signal(Signal::TERM);
    assert_eq!(front.ended(), Some(130));
    front.line("tempest: a second signal: ended at once, whatever was in flight is lost");
    let mut rest = Vec::new();
    held.read_to_end(&mut rest).ok();
    assert_eq!(rest, b"");
}

#[test]
fn a_descriptor_that_is_no_socket_is_one_line() {
    let shop = Shop::new().with("LISTEN_FDS", "1").with("LISTEN_FDNAMES", "http");
    // Nothing was passed: descriptor 3 is whatever the program has opened, or nothing.
    let line = shop.call(&["front", "--redis-url", "redis://127.0.0.1:1"]).one_line(1);
    assert!(line.starts_with("LISTEN_FDS, descriptor 3 (\"http\"): "), "{line}");
}
