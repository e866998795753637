//! Starts workers, restarts them when they die, and recovers at once what they held (the seed's *angel*).
//!
//! It is not responsible for finding deaths of workers it did not start: that is the keeper's work. It knows its
//! children by a tag, new for every start, that they build into their worker ids (`TEMPEST_WORKER_TAG`).
//!
//! Each child leads a process group of its own, so that Ctrl-C reaches only the supervisor, and so that what a child
//! leaves behind ends with it: a forgotten loop that still beats would keep a dead lease alive. On Linux with
//! `setpriv` (util-linux) a child also ends when the supervisor is killed; its own children then do not.

mod cancels;
mod child;
mod crew;
mod group;
mod machine;
mod orders;
mod output;
mod reaper;
mod recover;
mod roster;
mod seat;
mod spawner;
mod spec;
mod view;
mod watch;

use std::{sync::Arc, time::Duration};

use tempest_broker::{Broker, KeeperOptions, Recovered};
use tempest_protocol::Backoff;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use orders::{Applied, OrderError, Orders};
pub use output::{Line, Origin};
pub use spawner::Spawner;
pub use spec::{Limits, WorkerSpec};
pub use view::{ChildState, LastDeath, Phase};

use machine::OomKills;
use orders::Order;
use roster::Roster;
use seat::Ground;
use view::Views;
use watch::Watch;

/// How children are treated.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a child may take to end after `SIGTERM`.
    pub grace: Duration,
    /// How long to wait before a start after one that failed or died.
    pub backoff: Backoff,
    /// A child that lived this long has its earlier deaths forgotten.
    pub settled: Duration,
    /// So many that died one after the other are a crash loop, which is said and shown; 0 is none ever.
    pub crashes_max: u32,
    /// How long to wait between the starts of a crash loop, with a quarter of jitter.
    pub crash_pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            backoff: Backoff { base_ms: 100, cap_ms: 10_000 },
            settled: Duration::from_secs(10),
            crashes_max: 10,
            crash_pause: Duration::from_secs(60),
        }
    }
}

/// The workers of one machine.
pub struct Supervisor {
    workers: Vec<WorkerSpec>,
    options: Options,
    broker: Broker,
    views: Views,
    orders: Orders,
    given: mpsc::UnboundedReceiver<Order>,
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
        let (sender, given) = mpsc::unbounded_channel();
        let views = Views::default();
        let orders = Orders::new(sender, views.clone());
        Self { workers, options, broker, views, orders, given }
    }

    /// Gives orders to it while it runs, and shows how its children are.
    pub fn orders(&self) -> Orders {
        self.orders.clone()
    }

    /// Runs the workers until `shutdown`, then stops them: `SIGTERM`, grace, `SIGKILL`, recovery. What they print,
    /// and what the supervisor has to say of them, goes to `output`; whoever holds its other end must read on.
    ///
    /// Not cancel-safe: dropping it kills the children and recovers nothing.
    pub async fn run(self, output: mpsc::Sender<Line>, shutdown: CancellationToken) -> Report {
        self.broker.keep(KeeperOptions::default());
        let spawner = Arc::new(Spawner::start());
        let ground = Ground {
            options: self.options,
            broker: self.broker.clone(),
            spawner: spawner.clone(),
            output,
            views: self.views,
            oom_kills: Arc::new(OomKills::here()),
        };
        let watch = Watch::new(ground.clone(), self.orders.clone());
        let name = watch.name();
        let roster = Roster::new(ground, self.workers, shutdown);
        let report = tokio::select! {
            report = roster.run(self.given) => report,
            () = watch.run() => Report::default(), // never
            () = cancels::obey(&self.broker, &self.orders) => Report::default(), // never
            () = reaper::reap(&spawner) => Report::default(), // never
        };
        // It runs out by itself where that fails.
        self.broker.forget_supervisor(&name).await.ok();
        report
    }
}
