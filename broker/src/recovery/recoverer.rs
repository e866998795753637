//! Finds the deaths nobody saw: a lease that is missing at two looks, over one connection that is settled.
//!
//! Any error, and any new connection, forgets all suspicions: else each pause of Redis that is longer than a lease
//! would kill every worker.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use redis::cmd;
use tempest_protocol::{Queue, WorkerId, limits};
use tracing::{debug, info};

use super::{Death, Mode, Recovered};
use crate::{
    Broker, Error,
    look::{Entry, QueueLook},
};

/// How long a recoverer hesitates.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long the connection must have been up before a missing lease means anything.
    pub settled: Duration,
    /// How far two looks at a missing lease must be apart.
    pub apart: Duration,
    /// How long a worker must be gone, with nothing in its run list, before its registration is removed.
    pub gone: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { settled: limits::LINK_SETTLED, apart: limits::LOOKS_APART, gone: limits::GONE }
    }
}

/// Remembers who was missing at earlier looks.
pub struct Recoverer {
    broker: Broker,
    patience: Patience,
    /// Since when the connection of the remembered looks is up.
    up_since: Option<Instant>,
    /// Workers without a lease, since the first look that missed it.
    missing: HashMap<(Queue, WorkerId), Instant>,
    /// Slots of such workers that held nothing, since the first look that found them so.
    empty: HashMap<(Queue, String), Instant>,
}

impl Recoverer {
    /// A recoverer that suspects nobody yet.
    pub fn new(broker: Broker, patience: Patience) -> Self {
        Self { broker, patience, up_since: None, missing: HashMap::new(), empty: HashMap::new() }
    }

    /// Looks at every queue and recovers what belongs to workers that are gone. Call it about once a second.
    ///
    /// Errors: the first that occurred; then all suspicions are forgotten.
    pub async fn look(&mut self) -> Result<Recovered, Error> {
        let looked = async {
            let queues = self.broker.queues().await?;
            self.prove_writable(&queues).await?;
            self.broker.look_at(&queues).await
        };
        match looked.await {
            Ok(looks) => self.take(&looks).await,
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }

    /// Forgets all suspicions.
    pub(crate) fn forget(&mut self) {
        self.up_since = None;
        self.missing.clear();
        self.empty.clear();
    }

    /// While Redis refuses writes (`OOM`, `READONLY`) no worker can renew its lease. A write that changes nothing
    /// shows whether it does.
    pub(crate) async fn prove_writable(&self, queues: &[Queue]) -> Result<(), Error> {
        self.broker.announce(queues).await
    }

    /// Compares what a look found with the looks before.
    pub(crate) async fn take(&mut self, looks: &[QueueLook]) -> Result<Recovered, Error> {
        if !self.is_settled() {
            return Ok(Recovered::default());
        }
        let mut recovered = Recovered::default();
        for look in looks {
            match self.take_queue(look).await {
                Ok(more) => recovered += more,
                Err(error) => {
                    self.forget();
                    return Err(error);
                }
            }
        }
        self.keep_only(looks);
        Ok(recovered)
    }

    /// Whether looks mean anything: over one connection that has been up for long enough. Forgets what was seen
    /// over another one.
    fn is_settled(&mut self) -> bool {
        let up_since = self.broker.up_since();
        if up_since != self.up_since {
            self.forget();
            self.up_since = up_since;
        }
        up_since.is_some_and(|since| since.elapsed() >= self.patience.settled)
    }

    async fn take_queue(&mut self, look: &QueueLook) -> Result<Recovered, Error> {
        let gone = self.gone(look);
        if gone.is_empty() {
            return Ok(Recovered::default());
        }
        let entries: Vec<_> =
            look.entries.iter().filter(|entry| gone.contains(&entry.worker)).cloned().collect();
        let mut recovered = Recovered::default();
        for worker in &gone {
            let held: Vec<_> =
                entries.iter().filter(|entry| entry.worker == *worker && entry.held > 0).cloned().collect();
            if held.is_empty() {
                continue;
            }
            info!(queue = %look.queue, %worker, "a worker is gone: its lease ran out");
            let cause = format!("worker {worker} went silent: its lease ran out");
            let death = Death { forced: false, cause: &cause, mode: Mode::Requeue };
            let more = self.broker.recover_entries(&look.queue, &held, death).await?;
            if more.total() > 0 {
                self.broker.stats().deaths.lease.count();
            }
            recovered += more;
        }
        self.unregister(&look.queue, &entries).await?;
        Ok(recovered)
    }

    /// The workers whose lease was missing long enough.
    fn gone(&mut self, look: &QueueLook) -> BTreeSet<WorkerId> {
        let now = Instant::now();
        let mut gone = BTreeSet::new();
        for (worker, lease) in &look.leases {
            let name = (look.queue.clone(), worker.clone());
            if lease.is_some() {
                self.missing.remove(&name);
            } else if now.duration_since(*self.missing.entry(name).or_insert(now)) >= self.patience.apart {
                gone.insert(worker.clone());
            }
        }
        for entry in look.entries.iter().filter(|entry| !gone.contains(&entry.worker)) {
            self.empty.remove(&(look.queue.clone(), entry.name.clone()));
        }
        gone
    }

    /// Removes registrations of slots that have been gone and empty for long enough.
    async fn unregister(&mut self, queue: &Queue, entries: &[Entry]) -> Result<(), Error> {
        let now = Instant::now();
        let mut names = Vec::new();
        for entry in entries {
            let name = (queue.clone(), entry.name.clone());
            if entry.held > 0 {
                self.empty.remove(&name);
            } else if now.duration_since(*self.empty.entry(name).or_insert(now)) >= self.patience.gone {
                names.push(entry.name.as_str());
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        debug!(%queue, ?names, "removing registrations of workers that are gone");
        let key = self.broker.keys().workers(queue);
        self.broker.link().ask::<u64>(cmd("SREM").arg(key).arg(names)).await.map(drop)
    }

    /// Forgets what is no longer registered, so that the memory is bounded by what is.
    fn keep_only(&mut self, looks: &[QueueLook]) {
        let registered: HashSet<(&Queue, &str)> = looks
            .iter()
            .flat_map(|look| look.entries.iter().map(|entry| (&look.queue, entry.name.as_str())))
            .collect();
        let workers: HashSet<(&Queue, &WorkerId)> =
            looks.iter().flat_map(|look| look.leases.keys().map(|worker| (&look.queue, worker))).collect();
        self.empty.retain(|(queue, name), _| registered.contains(&(queue, name.as_str())));
        self.missing.retain(|(queue, worker), _| workers.contains(&(queue, worker)));
    }
}
