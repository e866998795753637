//! Who serves which queue, and what waits there: as the keeper last saw it, readable without asking Redis; and the
//! same, fresh, for whoever inspects.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use bytes::Bytes;
use serde_json::Value;
use tempest_protocol::{Lane, Queue, WorkerId};

use crate::{
    Broker, Error,
    look::{Load, QueueLook},
    recovery::has_tag,
};

/// What the keeper saw at its last look. It stays as it is while Redis is away.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    queues: HashMap<Queue, Attendance>,
    memory_full: bool,
    seen: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Attendance {
    /// It was served before Redis was in trouble, and its workers had no time to beat since.
    is_trusted: bool,
    workers: usize,
    slots: u32,
    lanes: [Load; 3],
    running: u64,
    later: u64,
    dead: u64,
}

/// What a new job meets: see [`Presence::slots`], and what waits in its lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prospect {
    /// Slots of all workers of the queue.
    pub slots: u32,
    /// What waits in the lane.
    pub load: Load,
}

/// Where the last view is kept; all clones of a broker share it.
#[derive(Default)]
pub(crate) struct Shown(RwLock<Arc<Presence>>);

impl Shown {
    fn current(&self) -> Arc<Presence> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn show(&self, presence: Presence) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(presence);
    }
}

impl Presence {
    pub(crate) fn of(looks: &[QueueLook], memory_full: bool) -> Self {
        let attendance = |look: &QueueLook| Attendance {
            is_trusted: false,
            workers: look.alive(),
            slots: look.slots(),
            lanes: look.lanes,
            running: look.running(),
            later: look.later,
            dead: look.dead,
        };
        let queues = looks.iter().map(|look| (look.queue.clone(), attendance(look))).collect();
        Self { queues, memory_full, seen: Some(Instant::now()) }
    }

    /// Takes queues for served that were so before, whatever leases are missing now. Redis may even have forgotten them.
    pub(crate) fn trust(&mut self, before: &Self) {
        for queue in before.queues.keys().filter(|queue| before.is_served(queue)) {
            self.queues.entry(queue.clone()).or_default().is_trusted = true;
        }
    }

    /// Whether a worker with a lease works on this queue; in the first seconds after a trouble with Redis, whether one did
    /// before. A queue that was never used is not served.
    pub fn is_served(&self, queue: &Queue) -> bool {
        self.queues.get(queue).is_some_and(|attendance| attendance.workers > 0 || attendance.is_trusted)
    }

    /// Workers with a lease on this queue.
    pub fn workers(&self, queue: &Queue) -> usize {
        self.queues.get(queue).map_or(0, |attendance| attendance.workers)
    }

    /// Slots of all workers with a lease on this queue: how many jobs they run at once.
    pub fn slots(&self, queue: &Queue) -> u32 {
        self.queues.get(queue).map_or(0, |attendance| attendance.slots)
    }

    /// Jobs waiting in a lane.
    pub fn depth(&self, queue: &Queue, lane: Lane) -> u64 {
        self.load(queue, lane).jobs
    }

    /// Bytes waiting in a lane, as Redis estimates them.
    pub fn bytes(&self, queue: &Queue, lane: Lane) -> u64 {
        self.load(queue, lane).bytes
    }

    /// Jobs claimed and not acked.
    pub fn running(&self, queue: &Queue) -> u64 {
        self.queues.get(queue).map_or(0, |attendance| attendance.running)
    }

    /// Jobs delayed or to be tried again.
    pub fn later(&self, queue: &Queue) -> u64 {
        self.queues.get(queue).map_or(0, |attendance| attendance.later)
    }

    /// Jobs given up.
    pub fn dead(&self, queue: &Queue) -> u64 {
        self.queues.get(queue).map_or(0, |attendance| attendance.dead)
    }

    /// Whether Redis uses more than [`tempest_protocol::limits::MEMORY_PERCENT_MAX`] of its `maxmemory`.
    pub fn memory_full(&self) -> bool {
        self.memory_full
    }

    /// When the keeper last looked; none before its first look.
    pub fn seen(&self) -> Option<Instant> {
        self.seen
    }

    /// The queues it saw, in no order.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.queues.keys()
    }

    /// What a new job for this lane meets.
    pub fn prospect(&self, queue: &Queue, lane: Lane) -> Prospect {
        let of = |attendance: &Attendance| Prospect {
            slots: attendance.slots,
            load: attendance.lanes[lane as usize],
        };
        self.queues.get(queue).map(of).unwrap_or_default()
    }

    fn load(&self, queue: &Queue, lane: Lane) -> Load {
        self.prospect(queue, lane).load
    }
}

impl QueueLook {
    /// Workers with a lease.
    pub(crate) fn alive(&self) -> usize {
        self.leases.values().filter(|lease| lease.is_some()).count()
    }

    fn running(&self) -> u64 {
        self.entries.iter().map(|entry| entry.held).sum()
    }

    fn slots(&self) -> u32 {
        let alive = |worker: &WorkerId| self.leases.get(worker).is_some_and(Option::is_some);
        let slots = self.entries.iter().filter(|entry| alive(&entry.worker)).count();
        u32::try_from(slots).unwrap_or(u32::MAX)
    }

    fn held_by(&self, worker: &WorkerId) -> impl Iterator<Item = u64> {
        self.entries.iter().filter(move |entry| entry.worker == *worker).map(|entry| entry.held)
    }
}

/// A queue, for whoever inspects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// The queue.
    pub queue: Queue,
    /// Jobs waiting and the bytes they take, in the order of [`Lane::ALL`].
    pub waiting: [Load; 3],
    /// Jobs claimed and not acked.
    pub running: u64,
    /// Jobs delayed or to be tried again.
    pub later: u64,
    /// Jobs given up.
    pub dead: u64,
    /// Workers with a lease.
    pub workers: usize,
}

/// A worker on one of its queues, for whoever inspects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerState {
    /// The worker.
    pub worker: WorkerId,
    /// The queue.
    pub queue: Queue,
    /// What it says of itself in its lease; none once the lease has run out. Any bytes are possible.
    pub about: Option<Bytes>,
    /// Slots it registered.
    pub slots: usize,
    /// Jobs it has claimed and not acked.
    pub running: u64,
}

impl WorkerState {
    /// Whether it has a lease.
    pub fn is_alive(&self) -> bool {
        self.about.is_some()
    }

    /// What it says of itself as JSON; null if it says nothing, or something else.
    pub fn said(&self) -> Value {
        self.about.as_deref().and_then(|about| serde_json::from_slice(about).ok()).unwrap_or_default()
    }

    /// Whether it holds jobs and does not tell which (SPEC "Presence", `jobs`): [`Broker::jobs_in_hand`] finds them.
    pub fn hides_jobs(&self) -> bool {
        self.running > 0 && !self.said()["jobs"].is_array()
    }

    /// Whether it belongs to the child process that was started with this tag (`TEMPEST_WORKER_TAG`).
    pub fn has_tag(&self, tag: &str) -> bool {
        has_tag(&self.worker, tag)
    }
}

impl Broker {
    /// What the keeper last saw. Asks Redis nothing; empty before the keeper's first look.
    pub fn presence(&self) -> Arc<Presence> {
        self.shown().current()
    }

    /// Every queue that was used, in order of name, fresh from Redis.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn queue_states(&self) -> Result<Vec<QueueState>, Error> {
        Ok(self.fresh_looks().await?.iter().map(QueueState::of).collect())
    }

    /// One queue, fresh from Redis; none if one of its keys has a wrong type.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn queue_state(&self, queue: &Queue) -> Result<Option<QueueState>, Error> {
        let looks = self.look_at(std::slice::from_ref(queue)).await?;
        Ok(looks.first().map(QueueState::of))
    }

    /// Every registered worker, in order of queue and name, fresh from Redis. One that died stays for a minute.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn worker_states(&self) -> Result<Vec<WorkerState>, Error> {
        Ok(self.fresh_looks().await?.iter().flat_map(WorkerState::all_of).collect())
    }

    /// Both together, of one look.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn states(&self) -> Result<(Vec<QueueState>, Vec<WorkerState>), Error> {
        let looks = self.fresh_looks().await?;
        let workers = looks.iter().flat_map(WorkerState::all_of).collect();
        Ok((looks.iter().map(QueueState::of).collect(), workers))
    }

    async fn fresh_looks(&self) -> Result<Vec<QueueLook>, Error> {
        let queues = self.queues().await?;
        self.look_at(&queues).await
    }
}

impl QueueState {
    fn of(look: &QueueLook) -> Self {
        Self {
            queue: look.queue.clone(),
            waiting: look.lanes,
            running: look.running(),
            later: look.later,
            dead: look.dead,
            workers: look.alive(),
        }
    }
}

impl WorkerState {
    fn all_of(look: &QueueLook) -> Vec<Self> {
        let state = |(worker, about): (&WorkerId, &Option<Bytes>)| Self {
            worker: worker.clone(),
            queue: look.queue.clone(),
            about: about.clone(),
            slots: look.held_by(worker).count(),
            running: look.held_by(worker).sum(),
        };
        look.leases.iter().map(state).collect()
    }
}
