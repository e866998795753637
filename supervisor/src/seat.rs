//! The place of one child: start it, watch it, and start the next when it has died.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tempest_broker::{Broker, Recovered};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Line, Options, Origin, Report, WorkerSpec, child::Child, recover::recover, spawner::Spawner};

/// How long the end waits for recoveries while Redis is away. Any keeper finds what is left.
const LAST_RECOVERY: Duration = Duration::from_secs(3);

pub(crate) struct Seat {
    pub(crate) label: String,
    pub(crate) spec: Arc<WorkerSpec>,
    pub(crate) options: Options,
    pub(crate) broker: Broker,
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) output: mpsc::Sender<Line>,
}

/// Recoveries under way, which do not hold up the next start.
#[derive(Default)]
struct Recoveries {
    tasks: TaskTracker,
    done: Arc<Mutex<Recovered>>,
}

impl Seat {
    /// Keeps the seat taken until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Report {
        let mut report = Report::default();
        let recoveries = Recoveries::default();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            let trouble = match self.start(&mut report).await {
                Ok((child, tag)) => self.live(child, &tag, &shutdown, &recoveries, &mut report).await,
                Err(trouble) => Some(format!("cannot start: {trouble}")),
            };
            let Some(trouble) = trouble else { break };
            failures = if begun.elapsed() >= self.options.settled { 1 } else { failures + 1 };
            let pause = self.options.backoff.bound(failures).mul_f64(fastrand::f64());
            self.note(format!("{trouble}; starting again in {} ms", pause.as_millis()));
            shutdown.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        report.recovered = recoveries.finish().await;
        report
    }

    async fn start(&self, report: &mut Report) -> Result<(Child, String), String> {
        let tag = new_tag();
        let settings = self.broker.settings();
        let child =
            Child::start(&self.spec, &self.label, &tag, settings, &self.spawner, &self.output).await?;
        report.started += 1;
        self.note(format!("started (pid {})", child.id().unwrap_or_default()));
        Ok((child, tag))
    }

    /// Watches a child to its end. Gives how it died, or nothing if it was stopped.
    async fn live(
        &self,
        mut child: Child,
        tag: &str,
        shutdown: &CancellationToken,
        recoveries: &Recoveries,
        report: &mut Report,
    ) -> Option<String> {
        let died = shutdown.run_until_cancelled(child.ended()).await;
        let stopped = died.is_none();
        let death = match died {
            Some(death) => death,
            None => child.stop(self.options.grace).await,
        };
        // First the group, so that nothing goes on beating; then at once what it held.
        child.kill_rest();
        recoveries.begin(self.broker.clone(), tag.to_owned(), death.cause.clone());
        child.drained().await;
        if stopped {
            report.killed += u64::from(death.killed);
            self.note(death.cause);
            return None;
        }
        report.died += 1;
        Some(death.cause)
    }

    /// Says something about the child. Never waits: whoever reads slowly misses it.
    fn note(&self, text: String) {
        let line = Line { label: self.label.clone(), origin: Origin::Supervisor, text };
        self.output.try_send(line).ok();
    }
}

impl Recoveries {
    fn begin(&self, broker: Broker, tag: String, cause: String) {
        let done = self.done.clone();
        self.tasks.spawn(async move {
            let recovered = recover(&broker, &tag, &cause).await;
            *done.lock().unwrap_or_else(PoisonError::into_inner) += recovered;
        });
    }

    async fn finish(self) -> Recovered {
        self.tasks.close();
        timeout(LAST_RECOVERY, self.tasks.wait()).await.ok();
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names one start of one child, for ever.
fn new_tag() -> String {
    format!("{:016x}", fastrand::u64(..))
}
