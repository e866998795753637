//! What a process did on the bus, counted: plain atomics that whoever shows them reads. Nothing is decided by them but
//! whether the process is fit to serve, which is a matter of progress, not of open connections.

mod commands;
mod durations;

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{Faults, Recovered, clock::millis};

pub use commands::Commands;
pub use durations::{Durations, Measured};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn count(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When something last happened.
#[derive(Debug)]
pub struct Stamp(AtomicU64);

/// No time: it never happened.
const NEVER: u64 = u64::MAX;

impl Default for Stamp {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Stamp {
    /// It happens now.
    pub(crate) fn set(&self) {
        self.0.store(millis(epoch().elapsed()), Ordering::Relaxed);
    }

    /// How long ago that was, to the millisecond; none if it never happened.
    pub fn age(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            NEVER => None,
            at => Some(epoch().elapsed().saturating_sub(Duration::from_millis(at))),
        }
    }
}

/// What stamps count from.
fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// What this process did on the bus; all clones of a broker share it.
#[derive(Debug, Default)]
pub struct Stats {
    /// From the write of a command, or of several together, to its answer.
    pub round_trip: Durations,
    /// Commands sent.
    pub commands: Commands,
    /// Connections that came up again, and when the command connection was last lost.
    pub reconnects: Reconnects,
    /// When the command connection was last lost.
    pub lost: Stamp,
    /// When the mailbox was last looked into, with or without a reply in it.
    pub mailbox_read: Stamp,
    /// When Redis last took a write of this process's beats.
    pub written: Stamp,
    /// Replies that could not be read.
    pub bad_replies: Counter,
    /// Jobs that could not be read, found by this process among what was delayed or held by a worker that is gone.
    pub bad_jobs: Counter,
    /// Replies that nobody waits for: late ones, and those that came twice.
    pub late_replies: Counter,
    /// Events that came for topics somebody listens to.
    pub events_heard: Counter,
    /// Events given to subscribers: one event for ten of them counts ten.
    pub events_delivered: Counter,
    /// What became of jobs this process recovered.
    pub recovered: RecoveredJobs,
    /// Workers whose death this process saw.
    pub deaths: Deaths,
    /// Troubles with Redis.
    pub faults: Faults,
}

/// Connections that came up again, by what they are for.
#[derive(Debug, Default)]
pub struct Reconnects {
    /// For commands.
    pub commands: Counter,
    /// For the mailbox.
    pub mailbox: Counter,
    /// For topics.
    pub topics: Counter,
}

/// What became of recovered jobs, as in [`Recovered`].
#[derive(Debug, Default)]
pub struct RecoveredJobs {
    /// Returned to the head of their lane.
    pub requeued: Counter,
    /// Answered with `worker_lost`.
    pub answered: Counter,
    /// Kept in `dead`.
    pub buried: Counter,
    /// Removed: cancelled, or nobody waits for them any more.
    pub dropped: Counter,
}

impl RecoveredJobs {
    pub(crate) fn add(&self, recovered: &Recovered) {
        self.requeued.add(recovered.requeued);
        self.answered.add(recovered.answered);
        self.buried.add(recovered.buried);
        self.dropped.add(recovered.dropped);
    }
}

/// Deaths of workers by their cause.
#[derive(Debug, Default)]
pub struct Deaths {
    /// Killed by a signal.
    pub signal: Counter,
    /// Ended by themselves.
    pub exit: Counter,
    /// Silent until their lease had run out, with a job in hand.
    pub lease: Counter,
    /// Anything else.
    pub other: Counter,
}

impl Deaths {
    /// Counts the death of a child; `cause` is the clause that whoever waited is told.
    pub fn count(&self, cause: &str) {
        let counter = if cause.starts_with("killed by signal ") {
            &self.signal
        } else if cause.starts_with("exited with code ") {
            &self.exit
        } else {
            &self.other
        };
        counter.count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_has_no_age() {
        let stamp = Stamp::default();
        assert_eq!(stamp.age(), None);
        stamp.set();
        assert!(stamp.age().is_some_and(|age| age < Duration::from_secs(60)));
    }

    #[test]
    fn deaths_are_told_apart_by_their_cause() {
        let deaths = Deaths::default();
        for cause in
            ["killed by signal 9 (SIGKILL)", "exited with code 0", "exited with code 1", "lost: gone"]
        {
            deaths.count(cause);
        }
        let counted = [&deaths.signal, &deaths.exit, &deaths.lease, &deaths.other].map(Counter::value);
        assert_eq!(counted, [1, 2, 0, 1]);
    }
}
