//! The place of one child: start it, watch it, and start the next when it has died or when somebody wants a new one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tempest_broker::{Broker, Recovered};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Line, Options, Origin, Report, WorkerSpec,
    child::{Child, Death},
    recover::recover,
    restart::Wanted,
    spawner::Spawner,
};

/// How long the end waits for recoveries while Redis is away. Any keeper finds what is left.
const LAST_RECOVERY: Duration = Duration::from_secs(3);
/// How long a child that is to take another's place may take to have its leases. One that still runs then is believed
/// to work without.
const COME_UP: Duration = Duration::from_secs(5);
/// How often its leases are looked for.
const LOOK: Duration = Duration::from_millis(50);

pub(crate) struct Seat {
    pub(crate) label: String,
    pub(crate) spec: Arc<WorkerSpec>,
    pub(crate) options: Options,
    pub(crate) broker: Broker,
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) output: mpsc::Sender<Line>,
    pub(crate) wanted: Wanted,
}

/// What a seat has done so far, and what it has left to others.
#[derive(Default)]
struct Done {
    report: Report,
    recoveries: Recoveries,
    /// Children that were replaced and finish what they hold. Each gives whether it had to be killed.
    leaving: JoinSet<bool>,
}

/// Recoveries under way, which do not hold up the next start.
#[derive(Clone, Default)]
struct Recoveries {
    tasks: TaskTracker,
    done: Arc<Mutex<Recovered>>,
}

/// A child and the tag in its worker ids.
struct Started {
    child: Child,
    tag: String,
}

/// What happens to a child.
enum Event {
    Died(Death),
    Replace,
    Stop,
}

impl Seat {
    /// Keeps the seat taken until `shutdown`.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Report {
        let mut done = Done::default();
        let mut failures = 0;
        while !shutdown.is_cancelled() {
            let begun = Instant::now();
            self.wanted.met();
            let trouble = match self.start(&mut done).await {
                Ok(child) => self.live(child, &shutdown, &mut done).await,
                Err(trouble) => Some(format!("cannot start: {trouble}")),
            };
            let Some(trouble) = trouble else { break };
            failures = if begun.elapsed() >= self.options.settled { 1 } else { failures + 1 };
            let pause = self.options.backoff.bound(failures).mul_f64(fastrand::f64());
            self.note(format!("{trouble}; starting again in {} ms", pause.as_millis()));
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.heard() => failures = 0,
            }
        }
        done.finish().await
    }

    async fn start(&self, done: &mut Done) -> Result<Started, String> {
        let tag = new_tag();
        let settings = self.broker.settings();
        let child =
            Child::start(&self.spec, &self.label, &tag, settings, &self.spawner, &self.output).await?;
        done.report.started += 1;
        self.note(format!("started (pid {})", child.id().unwrap_or_default()));
        Ok(Started { child, tag })
    }

    /// Watches a child, and those that take its place, to the end. Gives how it died, or nothing if it was stopped.
    async fn live(
        &mut self,
        mut now: Started,
        shutdown: &CancellationToken,
        done: &mut Done,
    ) -> Option<String> {
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => Event::Stop,
                death = now.child.ended() => Event::Died(death),
                () = self.wanted.heard() => Event::Replace,
            };
            match event {
                Event::Stop => {
                    let death = now.child.stop(self.options.grace).await;
                    self.bury(now, &death, done).await;
                    done.report.killed += u64::from(death.killed);
                    self.note(death.cause);
                    return None;
                }
                Event::Died(death) => {
                    self.bury(now, &death, done).await;
                    done.report.died += 1;
                    self.broker.stats().deaths.count(&death.cause);
                    return Some(death.cause);
                }
                Event::Replace => {
                    if let Some(next) = self.next(shutdown, done).await {
                        self.leave(std::mem::replace(&mut now, next), done);
                    }
                }
            }
        }
    }

    /// Starts the child that is to take the place of the one that works. Gives it when it works, too.
    async fn next(&mut self, shutdown: &CancellationToken, done: &mut Done) -> Option<Started> {
        let mut next = match self.start(done).await {
            Ok(next) => next,
            Err(trouble) => {
                self.note(format!("cannot start: {trouble}; the one before works on until the next change"));
                return None;
            }
        };
        let died = tokio::select! {
            death = next.child.ended() => death,
            () = self.works(&next.tag) => return Some(next),
            () = shutdown.cancelled() => return Some(next),
        };
        self.bury(next, &died, done).await;
        done.report.died += 1;
        self.note(format!(
            "{} before it took a job; the one before works on until the next change",
            died.cause
        ));
        None
    }

    /// Waits until the child with this tag has a lease on every queue, but not for long: it may have none at all.
    async fn works(&self, tag: &str) {
        let there = async {
            loop {
                let states = self.broker.worker_states().await.unwrap_or_default();
                let mine = || states.iter().filter(|state| state.is_alive() && state.has_tag(tag));
                if self.spec.queues.iter().all(|queue| mine().any(|state| state.queue == *queue)) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(COME_UP, there).await.ok();
    }

    /// Lets a child that was replaced finish what it holds, which holds up nobody.
    fn leave(&self, mut before: Started, done: &mut Done) {
        let (grace, recoveries, broker) = (self.options.grace, done.recoveries.clone(), self.broker.clone());
        let (pid, output, label) = (before.child.id(), self.output.clone(), self.label.clone());
        done.leaving.spawn(async move {
            let death = before.child.stop(grace).await;
            before.child.kill_rest();
            recoveries.begin(broker, before.tag, death.cause.clone());
            before.child.drained().await;
            note(&output, &label, format!("replaced (pid {}, {})", pid.unwrap_or_default(), death.cause));
            death.killed
        });
    }

    /// First the group, so that nothing goes on beating; then at once what it held.
    async fn bury(&self, dead: Started, death: &Death, done: &Done) {
        dead.child.kill_rest();
        done.recoveries.begin(self.broker.clone(), dead.tag, death.cause.clone());
        dead.child.drained().await;
    }

    fn note(&self, text: String) {
        note(&self.output, &self.label, text);
    }
}

/// Says something about a child. Never waits: whoever reads slowly misses it.
fn note(output: &mpsc::Sender<Line>, label: &str, text: String) {
    output.try_send(Line { label: label.to_owned(), origin: Origin::Supervisor, text }).ok();
}

impl Done {
    /// Waits for what was left to others.
    async fn finish(mut self) -> Report {
        while let Some(left) = self.leaving.join_next().await {
            self.report.killed += u64::from(left.unwrap_or_default());
        }
        self.report.recovered = self.recoveries.finish().await;
        self.report
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
