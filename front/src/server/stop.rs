//! From the first connection to the last, and the order of stopping.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::info;

use super::{
    Serving,
    accept::Acceptor,
    sockets::{Listening, Spoken},
};

/// How long an idle connection may still bring a request when a front stops. A client that sends one at the very moment
/// its connection is closed cannot know whether it was read; one that is told with a response can.
const LINGER: Duration = Duration::from_secs(1);
/// How long cancels and the last bytes of event streams may take.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// How a front ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections that were cut because the grace was over.
    pub cut: usize,
    /// Jobs whose reply was still waited for at that moment. They were cancelled.
    pub unanswered: usize,
    /// Event streams whose last bytes their client did not take.
    pub streams: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = [
            (self.cut, "connections were cut"),
            (self.unanswered, "jobs were cancelled"),
            (self.streams, "event streams were left open"),
        ];
        let left: Vec<_> =
            left.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        match left.is_empty() {
            true => f.write_str("front: stopped, nothing was left"),
            false => write!(f, "front: stopped, {}", left.join(", ")),
        }
    }
}

/// Serves until `shutdown`, then stops.
pub(super) async fn run(
    serving: Arc<Serving>,
    listening: Vec<Listening>,
    shutdown: CancellationToken,
) -> Report {
    let (closing, idle, cutting) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (accepting, connections) = (TaskTracker::new(), TaskTracker::new());
    for Listening { spoken, listener, .. } in listening {
        let acceptor = Acceptor {
            serving: serving.clone(),
            tls: serving.tls.clone().filter(|_| spoken == Spoken::Https),
            connections: connections.clone(),
            closing: closing.clone(),
            shutdown: idle.clone(),
            cutting: cutting.clone(),
        };
        accepting.spawn(acceptor.accept(listener));
    }
    accepting.close();
    shutdown.cancelled().await;

    let stop = Stop { serving, accepting, connections, closing, idle, cutting };
    stop.in_order().await
}

/// What is needed to stop.
struct Stop {
    serving: Arc<Serving>,
    accepting: TaskTracker,
    connections: TaskTracker,
    /// No new connections.
    closing: CancellationToken,
    /// No new requests.
    idle: CancellationToken,
    /// The grace is over.
    cutting: CancellationToken,
}

impl Stop {
    async fn in_order(self) -> Report {
        let cluster = &self.serving.cluster;
        cluster.drain();
        // What is in force now counts, not what was at the start.
        let config = cluster.shared.config.load_full();
        if !self.serving.replaced.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(config.stop_delay_ms)).await;
        }

        self.serving.closing.store(true, Ordering::Relaxed);
        self.closing.cancel();
        self.accepting.wait().await;
        info!(connections = self.connections.len(), streams = cluster.streams(), "stopping");
        cluster.end_streams();

        let cut = self.wait_for_connections(Duration::from_millis(config.drain_ms)).await;
        let unanswered = cluster.waiting();
        // Dropping a connection cancels its job; the close below waits for these cancels.
        self.cutting.cancel();
        self.connections.wait().await;
        let streams = cluster.close(LAST_MOMENTS).await;
        Report { cut, unanswered, streams }
    }

    /// Gives the number of connections that are left after the grace.
    async fn wait_for_connections(&self, grace: Duration) -> usize {
        let until = Instant::now() + grace;
        self.connections.close();
        timeout(LINGER.min(grace / 2), self.connections.wait()).await.ok();
        self.idle.cancel();
        match timeout_at(until, self.connections.wait()).await {
            Ok(()) => 0,
            Err(_) => self.connections.len(),
        }
    }
}
