//! The Redis that `tempest up` starts for itself: a real one, with its data in `.tempest/redis`, on a loopback port.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempest_protocol::RECONNECT;
use tempest_supervisor::Spawner;
use tokio::{
    net::TcpStream,
    process::Child,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::failure::Failure;

/// Programs that are a Redis, the first found wins.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// How long a server may take to accept connections.
const START: Duration = Duration::from_secs(20);
/// How long a server may take to write its data and end.
const END: Duration = Duration::from_secs(10);

/// A private Redis that runs, and is started again if it dies.
pub(crate) struct PrivateRedis {
    port: u16,
    stop: CancellationToken,
    watch: JoinHandle<()>,
}

/// The port that is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// 0: any free one.
    pub(crate) port: u16,
    /// Somebody named it: no other will do.
    pub(crate) named: bool,
}

impl PrivateRedis {
    /// Starts a server whose data lies in `folder`. Says if it takes another port than the usual one.
    ///
    /// Errors: no program, the named port is taken, or the server does not start; one line that says what to do.
    pub(crate) async fn start(folder: &Path, wish: Wish, spawner: Arc<Spawner>) -> Result<Self, Failure> {
        let port = choose_port(wish)?;
        let server = Server { program: program()?, folder: absolute(folder)?, port, spawner };
        let mut child = server.launch().await.map_err(Failure::new)?;
        server.accepts(&mut child).await.map_err(Failure::new)?;
        let stop = CancellationToken::new();
        let watch = tokio::spawn(server.watch(child, stop.clone()));
        Ok(Self { port, stop, watch })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How to reach it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server and waits until its data is written.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.watch.await {
            warn!(%error, "the watch over the private Redis failed");
        }
    }
}

struct Server {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    spawner: Arc<Spawner>,
}

impl Server {
    fn log_file(&self) -> PathBuf {
        self.folder.join("redis.log")
    }

    async fn launch(&self) -> Result<Child, String> {
        let mut command = self.spawner.command(&self.program, &[]);
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(&self.folder);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no", "--logfile"]);
        command.arg(self.log_file());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).kill_on_drop(true);
        let cannot = |error| format!("cannot start {}: {error}", self.program.display());
        self.spawner.spawn(command).await.map_err(cannot)
    }

    /// Waits until it accepts connections.
    async fn accepts(&self, child: &mut Child) -> Result<(), String> {
        let until = Instant::now() + START;
        while Instant::now() < until {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the private Redis ended at once ({status}): {}", self.last_words()));
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(format!("the private Redis does not start; see {}", self.log_file().display()))
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or_else(
            || "it left no log".into(),
            |line| format!("{} says {line}", self.log_file().display()),
        )
    }

    /// Starts it again, with its data and on its port, whenever it ends before it is told to.
    async fn watch(self, mut child: Child, stop: CancellationToken) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            match stop.run_until_cancelled(child.wait()).await {
                None => return end(&mut child).await,
                Some(Ok(status)) => warn!(%status, "the private Redis ended; starting it again"),
                Some(Err(error)) => warn!(%error, "the private Redis is lost; starting it again"),
            }
            failures = if begun.elapsed() > START { 0 } else { failures + 1 };
            loop {
                let pause = RECONNECT.bound(failures.max(1)).mul_f64(fastrand::f64());
                if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                    return;
                }
                match self.launch().await {
                    Ok(started) => {
                        child = started;
                        break;
                    }
                    Err(error) => warn!(error, "the private Redis does not start; trying again"),
                }
                failures += 1;
            }
        }
    }
}

async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
        kill_process(pid, Signal::TERM).ok();
    }
    if timeout(END, child.wait()).await.is_err() {
        warn!("the private Redis did not end in time and is killed");
        child.kill().await.ok();
    }
}

fn program() -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let mut programs = PROGRAMS.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    programs.find(|path| path.is_file()).ok_or_else(|| {
        Failure::new(
            "there is no redis-server or valkey-server on this machine; install one, or name a running Redis with --redis-url",
        )
    })
}

fn absolute(folder: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(folder)
        .map_err(|error| Failure::new(format!("there is no folder {}: {error}", folder.display())))
}

fn choose_port(wish: Wish) -> Result<u16, Failure> {
    match free_port(wish.port) {
        Some(port) => Ok(port),
        None if wish.named => Err(Failure::new(format!(
            "port {} for the private Redis is taken; name another with --redis-port, or use what runs there with --redis-url redis://127.0.0.1:{}",
            wish.port, wish.port
        ))),
        None => free_port(0).ok_or_else(|| Failure::new("no port is free for the private Redis")),
    }
}

/// The port if nobody listens there; for 0 any.
fn free_port(port: u16) -> Option<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    listener.local_addr().ok().map(|address| address.port())
}
