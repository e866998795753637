//! What is known of the children: shown to whoever asks, and judged by the watch.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};
use tempest_broker::Registered;
use tokio::sync::mpsc;

use crate::{WorkerSpec, seat::Wish};

/// What a seat does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A child runs in it.
    Running,
    /// The child died or did not start; the next one is started after a pause.
    Waiting,
    /// So many died one after the other that the pauses are long.
    CrashLoop,
    /// The child was told to end, and nobody takes its place.
    Stopping,
}

impl Phase {
    /// The word that is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::CrashLoop => "crash_loop",
            Self::Stopping => "stopping",
        }
    }
}

/// A child that died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastDeath {
    /// A clause: `killed by signal 9 (SIGKILL)`.
    pub cause: String,
    /// When, in milliseconds of Redis time.
    pub at_ms: u64,
}

/// A seat and its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildState {
    /// The name of its `[[worker]]`.
    pub name: String,
    /// Its number among those of that name, from 1.
    pub number: usize,
    /// What it does.
    pub phase: Phase,
    /// Since when, in milliseconds of Redis time.
    pub since_ms: u64,
    /// The process, while one runs.
    pub pid: Option<u32>,
    /// What its worker ids end in, while one runs.
    pub tag: Option<String>,
    /// Resident memory of its process group, in bytes, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Starts after the first.
    pub restarts: u64,
    /// How the last child died that nobody had asked to end.
    pub last_death: Option<LastDeath>,
}

impl ChildState {
    /// As it stands in what the supervisor says of itself (SPEC "Supervisors").
    pub fn to_json(&self) -> Value {
        let death = |death: &LastDeath| json!({"cause": death.cause, "at": death.at_ms});
        json!({
            "name": self.name, "number": self.number, "state": self.phase.as_str(), "since": self.since_ms,
            "pid": self.pid, "tag": self.tag, "memory": self.memory_bytes, "restarts": self.restarts,
            "last_death": self.last_death.as_ref().map(death),
        })
    }
}

/// Tells seats apart: one that is being given up may have the same number as a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeatId(u64);

impl SeatId {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A seat, and what its child is judged by.
pub(crate) struct Seen {
    pub(crate) state: ChildState,
    pub(crate) spec: Arc<WorkerSpec>,
    pub(crate) started: Instant,
    pub(crate) wishes: mpsc::UnboundedSender<Wish>,
}

/// All seats and all children that are beaten for. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Views {
    seats: Arc<Mutex<BTreeMap<SeatId, Seen>>>,
    pulses: Arc<Mutex<BTreeMap<String, Beaten>>>,
}

/// A child whose lease the supervisor holds.
#[derive(Clone)]
pub(crate) struct Beaten {
    pub(crate) registered: Registered,
    /// The process, and with it its group, once it is started.
    pub(crate) pid: Option<u32>,
}

/// As long as it lives, the supervisor beats for a child.
pub(crate) struct Pulse {
    views: Views,
    tag: String,
}

impl Views {
    pub(crate) fn seats(&self) -> MutexGuard<'_, BTreeMap<SeatId, Seen>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pulses(&self) -> MutexGuard<'_, BTreeMap<String, Beaten>> {
        self.pulses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every seat, in order of name and number.
    pub(crate) fn states(&self) -> Vec<ChildState> {
        let mut states: Vec<_> = self.seats().values().map(|seen| seen.state.clone()).collect();
        states.sort_by(|one, other| (&one.name, one.number).cmp(&(&other.name, other.number)));
        states
    }

    /// Those that are beaten for.
    pub(crate) fn beaten(&self) -> Vec<Beaten> {
        self.pulses().values().cloned().collect()
    }

    /// Beats for a child from now on.
    pub(crate) fn pulse(&self, tag: &str, registered: Registered) -> Pulse {
        self.pulses().insert(tag.to_owned(), Beaten { registered, pid: None });
        Pulse { views: self.clone(), tag: tag.to_owned() }
    }
}

impl Pulse {
    /// The child was started.
    pub(crate) fn of(&self, pid: Option<u32>) {
        if let Some(beaten) = self.views.pulses().get_mut(&self.tag) {
            beaten.pid = pid;
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.views.pulses().remove(&self.tag);
    }
}
