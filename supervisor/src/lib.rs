//! Starts workers, restarts them when they die, and recovers at once what they held (the seed's *angel*).
//!
//! It is not responsible for finding deaths of workers it did not start: that is the keeper's work. It knows its
//! children by a tag, new for every start, that they build into their worker ids (`TEMPEST_WORKER_TAG`).
//!
//! Each child leads a process group of its own, so that Ctrl-C reaches only the supervisor, and so that what a child
//! leaves behind ends with it: a forgotten loop that still beats would keep a dead lease alive. On Linux with
//! `setpriv` (util-linux) a child also ends when the supervisor is killed; its own children then do not.

mod child;
mod group;
mod output;
mod recover;
mod restart;
mod seat;
mod spawner;
mod spec;

use std::{sync::Arc, time::Duration};

use tempest_broker::{Broker, KeeperOptions, Recovered};
use tempest_protocol::Backoff;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::error;

pub use output::{Line, Origin};
pub use restart::Restarts;
pub use spawner::Spawner;
pub use spec::WorkerSpec;

use seat::Seat;

/// How children are treated.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a child may take to end after `SIGTERM`.
    pub grace: Duration,
    /// How long to wait before a start after one that failed or died.
    pub backoff: Backoff,
    /// A child that lived this long has its earlier deaths forgotten.
    pub settled: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            backoff: Backoff { base_ms: 100, cap_ms: 10_000 },
            settled: Duration::from_secs(10),
        }
    }
}

/// The workers of one machine.
pub struct Supervisor {
    broker: Broker,
    workers: Vec<WorkerSpec>,
    options: Options,
    restarts: Restarts,
}

/// How supervision ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Children started.
    pub started: u64,
    /// Children that ended although nobody had asked them to.
    pub died: u64,
    /// Children that had to be killed because they did not stop in time.
    pub killed: u64,
    /// What became of the jobs of children that are gone.
    pub recovered: Recovered,
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.started += other.started;
        self.died += other.died;
        self.killed += other.killed;
        self.recovered += other.recovered;
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { started, died, killed, recovered } = self;
        write!(f, "workers: {started} started, {died} died, {killed} killed at their end; jobs: {recovered}")
    }
}

impl Supervisor {
    /// A supervisor of these workers; nothing is started yet.
    pub fn new(broker: Broker, workers: Vec<WorkerSpec>, options: Options) -> Self {
        let restarts = Restarts::of(&workers);
        Self { broker, workers, options, restarts }
    }

    /// Restarts its workers while it runs.
    pub fn restarts(&self) -> Restarts {
        self.restarts.clone()
    }

    /// Runs the workers until `shutdown`, then stops them: `SIGTERM`, grace, `SIGKILL`, recovery. What they print,
    /// and what the supervisor has to say of them, goes to `output`; whoever holds its other end must read on.
    ///
    /// Not cancel-safe: dropping it kills the children and recovers nothing.
    pub async fn run(self, output: mpsc::Sender<Line>, shutdown: CancellationToken) -> Report {
        self.broker.keep(KeeperOptions::default());
        let spawner = Arc::new(Spawner::start());
        let mut seats = JoinSet::new();
        for spec in self.workers.into_iter().map(Arc::new) {
            for number in 1..=spec.count {
                let seat = Seat {
                    label: format!("{}.{number}", spec.name),
                    spec: spec.clone(),
                    options: self.options,
                    broker: self.broker.clone(),
                    spawner: spawner.clone(),
                    output: output.clone(),
                    wanted: self.restarts.of_worker(&spec.name),
                };
                seats.spawn(seat.run(shutdown.clone()));
            }
        }
        let mut report = Report::default();
        while let Some(seat) = seats.join_next().await {
            match seat {
                Ok(seat) => report += seat,
                Err(error) => error!(%error, "the watch over a worker failed"),
            }
        }
        report
    }
}
