//! What a process did on the bus, counted: plain atomics that whoever shows them reads. Nothing is decided by them but
//! whether the process is fit to serve, which is a matter of progress, not of open connections.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::clock::millis;

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
    /// When the command connection was last lost.
    pub lost: Stamp,
    /// When the mailbox was last looked into, with or without a reply in it.
    pub mailbox_read: Stamp,
    /// When Redis last took a write of this process's beats.
    pub written: Stamp,
}
