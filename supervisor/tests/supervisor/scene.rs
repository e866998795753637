//! A supervisor over children in shell, against a private redis-server.

use std::time::Duration;

use crate::server::Server;
use rustix::process::{Pid, test_kill_process};
use tempest_broker::{Broker, Settings};
use tempest_protocol::Queue;
use tempest_supervisor::{Line, Options, Orders, Report, Supervisor, WorkerSpec};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A worker in shell: it claims one job and never finishes it.
pub(crate) const CLAIMS: &str = r#"
r() { redis-cli -u "$TEMPEST_REDIS_URL" "$@" >/dev/null; }
w=h-$$-$TEMPEST_WORKER_TAG k="$TEMPEST_PREFIX:{$TEMPEST_QUEUE}"
r SADD tempest:queues "$TEMPEST_QUEUE"
r SADD "$k:workers" "$w.0"
r SET "$k:lease:$w" '{}' PX 60000
echo "ready $w"
r BLMOVE "$k" "$k:run:$w.0" LEFT RIGHT 0
sleep 1000
"#;

pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) shutdown: CancellationToken,
    pub(crate) lines: mpsc::Receiver<Line>,
    pub(crate) run: JoinHandle<Report>,
    pub(crate) broker: Broker,
    pub(crate) orders: Orders,
}

pub(crate) fn shell(name: &str, script: &str) -> WorkerSpec {
    let mut spec = WorkerSpec::new(name, ["sh", "-c", script].map(str::to_owned).into());
    spec.queues = vec![Queue::new("q").expect("a good name")];
    spec
}

pub(crate) async fn scene(workers: Vec<WorkerSpec>) -> Scene {
    scene_with(workers, Options { grace: Duration::from_millis(600), ..Options::default() }).await
}

pub(crate) async fn scene_with(workers: Vec<WorkerSpec>, options: Options) -> Scene {
    let server = Server::start_durable();
    let broker = Broker::connect(Settings::new(server.url(), "test")).await.expect("Redis is there");
    let shutdown = CancellationToken::new();
    let (output, lines) = mpsc::channel(1_000);
    let supervisor = Supervisor::new(broker.clone(), workers, options);
    let orders = supervisor.orders();
    let run = tokio::spawn(supervisor.run(output, shutdown.clone()));
    Scene { server, shutdown, lines, run, broker, orders }
}

impl Scene {
    /// Reads on until a line contains a text.
    pub(crate) async fn line(&mut self, text: &str) -> Line {
        let mut seen = Vec::new();
        let wait = async {
            loop {
                let line = self.lines.recv().await.expect("the supervisor runs");
                if line.text.contains(text) {
                    return line;
                }
                seen.push(line);
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), wait).await {
            Ok(line) => line,
            Err(_) => panic!("no line with {text:?} but {seen:#?}"),
        }
    }

    /// The pid in the next line that says a start.
    pub(crate) async fn started(&mut self) -> Pid {
        let line = self.line("started (pid ").await;
        let number = line.text.trim_start_matches("started (pid ").trim_end_matches(')');
        Pid::from_raw(number.parse().expect("a pid")).expect("not 0")
    }

    pub(crate) async fn stop(self) -> Report {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(15), self.run).await.expect("it stops").expect("no panic")
    }
}

pub(crate) fn is_gone(pid: Pid) -> bool {
    test_kill_process(pid).is_err()
}

pub(crate) fn pid_of(line: &Line, before: &str) -> Pid {
    let number = line.text.trim_start_matches(before).trim();
    Pid::from_raw(number.parse().expect("a pid")).expect("not 0")
}

/// A worker in shell that registers, works until it is told to end, and says both.
pub(crate) const WORKS: &str = r#"
r() { redis-cli -u "$TEMPEST_REDIS_URL" "$@" >/dev/null; }
w=h-$$-$TEMPEST_WORKER_TAG k="$TEMPEST_PREFIX:{$TEMPEST_QUEUE}"
trap 'echo "ends $$"; exit 0' TERM
[ ! -e broken ] || exit 3
r SADD tempest:queues "$TEMPEST_QUEUE"
r SADD "$k:workers" "$w.0"
r SET "$k:lease:$w" '{}' PX 60000
echo "works $$"
while :; do sleep 0.05; done
"#;
