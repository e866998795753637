//! `tempest up`: Redis, front and workers as one, and what is left of them afterwards (nothing).

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ExitStatus},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::{
    server::{Answer, Client, eventually},
    shop::Shop,
};

/// A crash-safe worker in shell. `/slow` never ends.
pub(crate) const WORKER: &str = r#"
w=h-$$-$TEMPEST_WORKER_TAG k="$TEMPEST_PREFIX:{$TEMPEST_QUEUE}" n=0
r() { redis-cli -u "$TEMPEST_REDIS_URL" --raw "$@"; }
echo "pid $$"
r SADD tempest:queues "$TEMPEST_QUEUE" >/dev/null
r SADD "$k:workers" "$w.0" >/dev/null
trap 'exit 0' TERM
while :; do
  r SET "$k:lease:$w" '{"lang":"sh"}' PX 9000 >/dev/null
  job=$(r BLMOVE "$k" "$k:run:$w.0" LEFT RIGHT 2)
  [ -n "$job" ] || continue
  id=$(printf %s "$job" | sed 's/.*"id":"\([^"]*\)".*/\1/')
  to=$(printf %s "$job" | sed 's/.*"reply_to":"\([^"]*\)".*/\1/')
  case $job in *'"url":"/slow'*) sleep 100 ;; esac
  n=$((n+1))
  r RPUSH "$to" "{\"id\":\"$id\",\"status\":200,\"body\":\"Hello world! #$n\"}" >/dev/null
  r LREM "$k:run:$w.0" 1 "$job" >/dev/null
done
"#;

/// A cluster that runs in a shop.
pub(crate) struct Up {
    pub(crate) shop: Shop,
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
    about: Value,
}

impl Up {
    fn start(file: &str, arguments: &[&str]) -> Self {
        let shop = Shop::new();
        shop.write("worker.sh", WORKER);
        shop.write("tempest.toml", file);
        Self::start_in(shop, arguments)
    }

    pub(crate) fn start_in(shop: Shop, arguments: &[&str]) -> Self {
        let usual = ["up", "--listen", "127.0.0.1:0", "--redis-port", "0", "--grace-ms", "2000"];
        let mut child = shop.command(&[&usual[..], arguments].concat()).spawn().expect("the tool starts");
        let printed = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for stream in streams {
            let printed = printed.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    printed.lock().expect("no panic").push(line);
                }
            });
        }
        let path = shop.dir.path().join(".tempest/up.json");
        let mut up = Self { shop, child, printed, about: Value::Null };
        eventually("up.json is there", || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            up.about = serde_json::from_str(&text).unwrap_or_default();
            assert!(up.child.try_wait().expect("a child").is_none(), "it ended: {:#?}", up.lines());
            // One that was killed has left its own.
            up.about["pid"] == up.child.id()
        });
        up
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("not 0")
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.printed.lock().expect("no panic").clone()
    }

    fn redis_port(&self) -> u16 {
        let url = self.about["redis_url"].as_str().expect("a URL");
        url.rsplit_once(':').expect("a port").1.parse().expect("a port")
    }

    fn redis(&self) -> Client {
        Client::connect(self.redis_port()).expect("Redis accepts")
    }

    /// The pids the workers said, in the order of their starts.
    pub(crate) fn workers(&self) -> Vec<Pid> {
        let pid = |line: &String| line.split_once("| pid ")?.1.trim().parse().ok().and_then(Pid::from_raw);
        self.lines().iter().filter_map(pid).collect()
    }

    fn redis_pid(&self) -> Pid {
        let info = self.redis().run(&["INFO", "server"]).text();
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("a pid");
        Pid::from_raw(pid.trim().parse().expect("a pid")).expect("not 0")
    }

    fn request(&self, method: &str, path: &str) -> TcpStream {
        let address = self.about["front"].as_str().expect("a URL").trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the front listens");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
        let length = if method == "POST" { "content-length: 0\r\n" } else { "" };
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\n{length}connection: close\r\n\r\n")
            .expect("sent");
        stream
    }

    fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }

    pub(crate) fn get(&self, path: &str) -> String {
        Self::answer(self.request("GET", path))
    }

    pub(crate) fn post(&self, path: &str) -> String {
        Self::answer(self.request("POST", path))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

pub(crate) const ONE: &str = "[[worker]]\nname = \"sh\"\ncommand = \"sh worker.sh\"\n";

#[test]
fn a_cluster_answers_and_leaves_nothing_behind() {
    let mut up = Up::start(ONE, &[]);
    let answer = up.get("/");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("Hello world! #1"), "{answer}");
    assert_eq!(up.shop.call(&["push", "default", "url", "{}", "--wait"]).good(), "Hello world! #2");
    let workers = up.shop.call(&["workers", "--json"]).json();
    assert_eq!(workers[0]["about"]["lang"], "sh");
    let front = format!("front {}", up.about["front"].as_str().unwrap());
    eventually("the addresses are said", || {
        let lines = up.lines();
        lines.contains(&front) && lines.iter().any(|line| line.contains("(redis-cli -p "))
    });
    let children = [up.workers(), vec![up.redis_pid()]].concat();
    assert_eq!(children.len(), 2);
    let second = up.shop.call(&["up", "--redis-port", "0", "--listen", "127.0.0.1:0"]).one_line(1);
    assert!(second.contains("runs in this folder already"), "{second}");
    up.signal(Signal::INT);
    assert_eq!(up.ended().code(), Some(0));
    assert!(children.iter().all(|pid| is_gone(*pid)), "{:#?}", up.lines());
    assert!(!up.shop.dir.path().join(".tempest/up.json").exists());
    let lines = up.lines();
    let at = |text: &str| lines.iter().position(|line| line.starts_with(text)).expect(text);
    assert!(at("front: stopped") < at("redis: stopped"), "{lines:#?}");
}

#[test]
fn what_was_queued_outlives_the_cluster() {
    let mut up = Up::start("", &[]);
    up.shop.call(&["push", "mail", "welcome"]).good();
    up.signal(Signal::TERM);
    assert_eq!(up.ended().code(), Some(0));
    let shop = std::mem::replace(&mut up.shop, Shop::new());
    let up = Up::start_in(shop, &[]);
    assert_eq!(up.redis().run(&["LLEN", "tempest:{mail}"]).integer(), 1);
}

#[test]
fn a_second_signal_ends_at_once() {
    let stubborn = "[[worker]]\nname = \"sh\"\ncommand = [\"sh\", \"-c\", \"trap '' TERM; echo pid $$; while :; do sleep 0.1; done\"]\n";
    let mut up = Up::start(stubborn, &["--grace-ms", "60000"]);
    eventually("the worker runs", || up.workers().len() == 1);
    let children = [up.workers(), vec![up.redis_pid()]].concat();
    up.signal(Signal::INT);
    eventually("it stops", || up.lines().iter().any(|line| line.starts_with("stopping")));
    let begun = Instant::now();
    up.signal(Signal::INT);
    assert_eq!(up.ended().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    eventually("nothing runs", || children.iter().all(|pid| is_gone(*pid)));
}

#[test]
fn children_end_with_a_cluster_that_is_killed() {
    let mut up = Up::start(ONE, &[]);
    eventually("the worker runs", || up.workers().len() == 1);
    let children = [up.workers(), vec![up.redis_pid()]].concat();
    up.signal(Signal::KILL);
    up.ended();
    eventually("nothing runs", || children.iter().all(|pid| is_gone(*pid)));
    let told = up.shop.call(&["queues", "--redis-url", "redis://127.0.0.1:1"]);
    assert_eq!(told.code, Some(1));
    let shop = std::mem::replace(&mut up.shop, Shop::new());
    let up = Up::start_in(shop, &[]);
    assert!(up.get("/").contains("200"), "what it left does not hinder the next");
}

#[test]
fn a_worker_killed_in_mid_request_costs_no_timeout() {
    let two = format!("{ONE}count = 2\n");
    let up = Up::start(&two, &[]);
    let held = up.request("POST", "/slow");
    let mut redis = up.redis();
    let holder = |redis: &mut Client| {
        let entries = redis.run(&["SMEMBERS", "tempest:{default}:workers"]).list();
        let names = entries.iter().map(|entry| String::from_utf8_lossy(entry).into_owned());
        names
            .into_iter()
            .find(|name| redis.run(&["LLEN", &format!("tempest:{{default}}:run:{name}")]).integer() > 0)
    };
    let mut name = None;
    eventually("a worker holds it", || {
        name = holder(&mut redis);
        name.is_some()
    });
    let pid = name.expect("held").split('-').nth(1).expect("h-pid-tag").parse().ok().and_then(Pid::from_raw);
    let begun = Instant::now();
    kill_process(pid.expect("a pid"), Signal::KILL).expect("it runs");
    let answer = Up::answer(held);
    println!("killed to 502: {:?}", begun.elapsed());
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(up.get("/").starts_with("HTTP/1.1 200 "));
    eventually("it is replaced", || up.workers().len() == 3);
}

#[test]
fn the_private_redis_is_started_again_with_its_data() {
    let up = Up::start(ONE, &[]);
    let before = up.redis_pid();
    up.shop.call(&["push", "mail", "welcome"]).good();
    std::thread::sleep(Duration::from_millis(1_200)); // its file is written each second
    let begun = Instant::now();
    kill_process(before, Signal::KILL).unwrap();
    eventually("it is back", || {
        Client::connect(up.redis_port())
            .is_ok_and(|mut it| it.run(&["PING"]) == Answer::Text(b"PONG".to_vec()))
    });
    println!("redis back after {:?}", begun.elapsed());
    assert_ne!(up.redis_pid(), before);
    assert_eq!(up.redis().run(&["LLEN", "tempest:{mail}"]).integer(), 1);
    eventually("the cluster answers again", || up.get("/").starts_with("HTTP/1.1 200 "));
    println!("serving again after {:?}", begun.elapsed());
}

#[test]
fn a_redis_that_is_named_is_used_and_left_alone() {
    let server = crate::server::Server::start();
    let shop = Shop::at(server.url());
    shop.write("worker.sh", WORKER);
    shop.write("tempest.toml", ONE);
    let mut up = Up::start_in(shop, &[]);
    assert_eq!(up.about["redis_url"], server.url());
    assert!(up.get("/").contains("Hello world!"));
    up.signal(Signal::INT);
    assert_eq!(up.ended().code(), Some(0));
    assert_eq!(server.cli("PING").text(), "PONG");
    assert!(!up.shop.dir.path().join(".tempest/redis").exists());
}
