//! The transcripts of SPEC.md, typed into redis-cli against a private redis-server, one after the other. Needs
//! `redis-server` and `redis-cli` on the path.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A redis-server of this test's own, killed when it is dropped.
struct Redis {
    child: Child,
    port: String,
    folder: PathBuf,
}

impl Redis {
    fn start() -> Self {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let folder = std::env::temp_dir().join(format!("tempest-transcripts-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let port = port.to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is on the path");
        let redis = Self { child, port, folder };
        let begin = Instant::now();
        while redis.type_in("PING\n").trim() != "PONG" {
            assert!(begin.elapsed() < Duration::from_secs(10), "redis-server does not answer");
            sleep(Duration::from_millis(20));
        }
        redis
    }

    fn type_in(&self, commands: &str) -> String {
        let mut cli = Command::new("redis-cli")
            .args(["-h", "127.0.0.1", "-p", &self.port, "--no-raw"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-cli is on the path");
        let mut keyboard = cli.stdin.take().expect("a keyboard");
        keyboard.write_all(commands.as_bytes()).expect("redis-cli reads");
        drop(keyboard);
        let output = cli.wait_with_output().expect("redis-cli ends");
        String::from_utf8(output.stdout).expect("redis-cli writes text")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            eprintln!("redis-server: {error}");
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{}: {error}", self.folder.display());
        }
    }
}

/// redis-cli says how long a slow command took, and `PING` answers bare only outside of `--no-raw`.
fn is_answer(line: &str) -> bool {
    !(line.is_empty() || (line.starts_with('(') && line.ends_with("s)")))
}

#[test]
fn transcripts_are_true() {
    let spec = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SPEC.md")).expect("SPEC.md");
    let transcripts: Vec<&str> =
        spec.split("```redis\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(transcripts.len() > 5, "SPEC.md has hardly any transcript");

    let redis = Redis::start();
    for transcript in transcripts {
        let (commands, due): (Vec<&str>, Vec<&str>) =
            transcript.lines().partition(|line| line.starts_with("> "));
        let commands: String =
            commands.iter().map(|line| format!("{}\n", line.trim_start_matches("> "))).collect();
        let typed = redis.type_in(&commands);
        let got: Vec<&str> = typed.lines().filter(|line| is_answer(line)).collect();
        assert_eq!(got, due, "Redis answers otherwise to\n{transcript}\n");
    }
}
