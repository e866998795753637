//! What the jobs of a worker share while they run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tempest_broker::{Broker, Control, Rarely, RunList};
use tempest_protocol::{Action, JobId, Lane};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    handler::{Handler, Handlers},
    memory::Memory,
    options::Options,
    report::Counts,
};

/// Replies that Redis refused and that wait beside the slots for another try; more than these keep their slots.
const KEPT_REPLIES_MAX: usize = 256;

/// A claimed job that this worker answers for: its bytes and the run list they lie in.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) run: RunList,
    pub(crate) frame: Bytes,
    /// Its ack may take the next job of this lane into the same run list, in the same write.
    pub(crate) chain: Option<Lane>,
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
    running: Mutex<HashMap<JobId, CancellationToken>>,
    memory: Mutex<Memory>,
}

impl Shared {
    pub(crate) fn new(
        broker: Broker,
        handlers: Handlers,
        options: &Options,
        abort: CancellationToken,
    ) -> Self {
        Self {
            broker,
            counts: Counts::default(),
            run_max: options.run_max,
            abort,
            kept: TaskTracker::new(),
            kept_permits: Arc::new(Semaphore::new(KEPT_REPLIES_MAX)),
            undecodable: Rarely::default(),
            handlers,
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

    fn running(&self) -> MutexGuard<'_, HashMap<JobId, CancellationToken>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a job cancellable for as long as the guard lives.
    pub(crate) fn enter(&self, id: Option<&JobId>, cancelled: &CancellationToken) -> Entered<'_> {
        if let Some(id) = id {
            self.running().insert(id.clone(), cancelled.clone());
            if self.memory().is_cancelled(id) {
                cancelled.cancel(); // told in the moment between the first look and this
            }
        }
        Entered { shared: self, id: id.cloned() }
    }

    /// Cancels a job: the running one now, one that comes within the next minute then.
    pub(crate) fn cancel(&self, id: &JobId) {
        self.memory().cancel(id);
        if let Some(cancelled) = self.running().get(id) {
            cancelled.cancel();
        }
    }

    /// Carries out a control line. True: it tells this worker to drain.
    pub(crate) fn obey(&self, control: &Control, me: &tempest_protocol::WorkerId) -> bool {
        match control {
            Control::Cancel(id) => {
                self.cancel(id);
                false
            }
            Control::Drain(worker) => worker.as_ref().is_none_or(|worker| worker == me),
        }
    }
}

/// A job that can be cancelled.
pub(crate) struct Entered<'a> {
    shared: &'a Shared,
    id: Option<JobId>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(id) = &self.id {
            self.shared.running().remove(id);
        }
    }
}
