//! What the jobs of a worker share while they run.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tempest_broker::{Broker, Control, Rarely, RunList};
use tempest_protocol::{Action, JobId, Lane};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Context,
    handler::{Handler, Handlers},
    hooks::Hooks,
    memory::Memory,
    options::Options,
    report::Counts,
};

/// Replies that Redis refused and that wait beside the slots for another try; more than these keep their slots.
const KEPT_REPLIES_MAX: usize = 256;
/// Jobs in hand that the lease tells.
const TOLD_JOBS_MAX: usize = 16;

/// A claimed job that this worker answers for: its bytes and the run list they lie in.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) run: RunList,
    pub(crate) frame: Bytes,
    /// Its ack may take the next job of this lane into the same run list, in the same write.
    pub(crate) chain: Option<Lane>,
    /// When it was started, by a worker that had its lease.
    pub(crate) begun: Instant,
}

/// What a job's ack brought along.
#[derive(Debug)]
pub(crate) enum Next {
    /// It did not ask for another job.
    Unasked,
    /// It asked, and this came: a job that lies in the same run list, or none.
    Came(Option<Bytes>),
    /// It asked, and the answer was lost: there may be one in the run list.
    Lost,
}

pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) counts: Counts,
    pub(crate) run_max: Duration,
    /// The time to finish is over: running handlers are cut short.
    pub(crate) abort: CancellationToken,
    /// Replies that are kept beside the slots, and the permits for them.
    pub(crate) kept: TaskTracker,
    pub(crate) kept_permits: Arc<Semaphore>,
    /// Bytes that are no job.
    pub(crate) undecodable: Rarely,
    handlers: Handlers,
    pub(crate) hooks: Hooks,
    /// This worker has nothing to do.
    resting: AtomicBool,
    running: Mutex<Running>,
    memory: Mutex<Memory>,
}

impl Shared {
    pub(crate) fn new(
        broker: Broker,
        handlers: Handlers,
        hooks: Hooks,
        options: &Options,
        abort: CancellationToken,
    ) -> Self {
        Self {
            resting: AtomicBool::default(),
            broker,
            counts: Counts::default(),
            run_max: options.run_max,
            abort,
            kept: TaskTracker::new(),
            kept_permits: Arc::new(Semaphore::new(KEPT_REPLIES_MAX)),
            undecodable: Rarely::default(),
            handlers: hooks.wrap(handlers),
            hooks,
            running: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    pub(crate) fn handler(&self, action: &Action) -> Option<&Handler> {
        self.handlers.get(action.as_str())
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a job cancellable, and known to be in hand, for as long as the guard lives.
    pub(crate) fn enter(&self, job: InHand) -> Entered<'_> {
        let context = job.context.clone();
        let number = self.running().enter(job);
        if context.id().is_some_and(|id| self.memory().is_cancelled(id)) {
            context.cancellation().cancel(); // told in the moment between the first look and this
        }
        Entered { shared: self, number }
    }

    /// Says whether this worker has nothing to do.
    pub(crate) fn rest(&self, idle: bool) {
        self.resting.store(idle, Ordering::Relaxed);
    }

    /// What each beat tells anew (SPEC "Presence"): the jobs in hand, those that run longest first, and how many were
    /// finished.
    pub(crate) fn told(&self) -> serde_json::Map<String, serde_json::Value> {
        let jobs: serde_json::Value =
            self.running().jobs.values().take(TOLD_JOBS_MAX).map(InHand::to_json).collect();
        let told = [
            ("jobs", jobs),
            ("done", self.counts.finished().into()),
            ("resting", self.resting.load(Ordering::Relaxed).into()),
        ];
        told.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Cancels a job: the running one now, one that comes within the next minute then.
    pub(crate) fn cancel(&self, id: &JobId) {
        self.memory().cancel(id);
        let running = self.running();
        running
            .jobs
            .values()
            .map(|job| &job.context)
            .filter(|context| context.id() == Some(id))
            .for_each(|context| context.cancellation().cancel());
    }

    /// Carries out a control line. True: it tells this worker to drain.
    pub(crate) fn obey(&self, control: &Control, me: &tempest_protocol::WorkerId) -> bool {
        match control {
            Control::Cancel(id) => {
                self.cancel(id);
                false
            }
            // To whoever keeps this worker, not to itself.
            Control::Kill(..) | Control::Limits => false,
            Control::Drain(worker) => worker.as_ref().is_none_or(|worker| worker == me),
        }
    }
}

/// A job whose handler runs.
pub(crate) struct InHand {
    pub(crate) context: Context,
    /// When it came into hand, in milliseconds of Redis time.
    pub(crate) since_ms: u64,
}

impl InHand {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "id": self.context.id().map(JobId::as_str),
            "action": self.context.action(),
            "queue": self.context.queue(),
            "since": self.since_ms,
        })
    }
}

/// The jobs that run, in the order in which they were begun.
#[derive(Default)]
struct Running {
    jobs: BTreeMap<u64, InHand>,
    next: u64,
}

impl Running {
    fn enter(&mut self, job: InHand) -> u64 {
        let number = self.next;
        self.next += 1;
        self.jobs.insert(number, job);
        number
    }
}

/// A job that is in hand until this is dropped.
pub(crate) struct Entered<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.shared.running().jobs.remove(&self.number);
    }
}
