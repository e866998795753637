//! Workers that rest, because they have nothing to do (SPEC "Presence"): they beat more rarely, or leave their lease to
//! their supervisor, whose keeper renews those of all its children in one write. A thousand then cost Redis little.
//!
//! A lease is renewed only while its worker says that it rests, holds no job, and lives: nobody is kept alive here that
//! a beat of its own would not have.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use bytes::Bytes;
use redis::{Pipeline, pipe};
use serde_json::Value;
use tempest_protocol::{Queue, WorkerId, limits};

use crate::{Broker, Error, clock::millis, look::QueueLook, recovery::tags_of};

/// Children whose leases are kept while they rest.
#[derive(Default)]
pub(crate) struct Sheltered(RwLock<Children>);

#[derive(Clone, Default)]
struct Children {
    tags: Arc<HashSet<String>>,
    named: Option<Instant>,
}

impl Sheltered {
    /// Their tags, as far as somebody has named them lately.
    fn tags(&self) -> Arc<HashSet<String>> {
        let Children { tags, named } = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_current = named.is_some_and(|at| at.elapsed() < limits::LEASE);
        if is_current { tags } else { Arc::default() }
    }
}

impl Broker {
    /// Keeps the leases of these children, named by their tags (`TEMPEST_WORKER_TAG`), while they rest. They must run,
    /// and not be stopped. It is forgotten after [`limits::LEASE`]: say it each second.
    pub fn shelter(&self, tags: HashSet<String>) {
        *self.sheltered().0.write().unwrap_or_else(PoisonError::into_inner) =
            Children { tags: Arc::new(tags), named: Some(Instant::now()) };
    }
}

/// How a worker rests that says of itself `"resting": true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It beats more rarely, each time for longer.
    Slow,
    /// It beats no more until it has something to do or to say: its supervisor keeps its lease.
    Kept,
}

/// Whether a worker that says this of itself rests.
pub(crate) fn rests(about: &Value) -> bool {
    about["resting"] == true
}

/// The leases a keeper renews, and what stood in them.
#[derive(Default)]
pub(crate) struct Renewals {
    resting: HashMap<(Queue, WorkerId), Bytes>,
}

impl Renewals {
    /// Renews the leases of children that rest. One that ran out meanwhile, because Redis stood still, is set again.
    ///
    /// Errors: Redis is away or refuses.
    pub(crate) async fn renew(&mut self, broker: &Broker, looks: &[QueueLook]) -> Result<(), Error> {
        let mut before = std::mem::take(&mut self.resting);
        let tags = broker.sheltered().tags();
        if tags.is_empty() {
            return Ok(()); // this process has no children
        }
        let mut commands = pipe();
        for look in looks {
            for (worker, lease) in
                idle(look).filter(|(worker, _)| tags_of(worker).any(|tag| tags.contains(tag)))
            {
                let name = (look.queue.clone(), worker.clone());
                let key = broker.keys().lease(&look.queue, worker);
                let Some(about) = renewal(key, lease.as_ref(), before.remove(&name), &mut commands) else {
                    continue;
                };
                self.resting.insert(name, about);
            }
        }
        broker.link().do_all(&commands).await
    }
}

/// The workers of a queue that hold nothing, and their leases.
fn idle(look: &QueueLook) -> impl Iterator<Item = (&WorkerId, &Option<Bytes>)> {
    let held = look.entries.iter().filter(|entry| entry.held > 0);
    let busy: HashSet<_> = held.map(|entry| &entry.worker).collect();
    look.leases.iter().filter(move |(worker, _)| !busy.contains(worker))
}

/// Adds what renews a lease: one that is there and says so, or one that said so before. Gives what stands in it.
fn renewal(
    key: String,
    lease: Option<&Bytes>,
    before: Option<Bytes>,
    commands: &mut Pipeline,
) -> Option<Bytes> {
    let lasts = millis(limits::LEASE);
    match lease {
        Some(about) => {
            let about = says_it_rests(about).then(|| about.clone())?;
            commands.cmd("PEXPIRE").arg(key).arg(lasts);
            Some(about)
        }
        None => {
            let about = before?;
            commands.cmd("SET").arg(key).arg(about.as_ref()).arg("NX").arg("PX").arg(lasts);
            Some(about)
        }
    }
}

fn says_it_rests(about: &[u8]) -> bool {
    serde_json::from_slice(about).is_ok_and(|about| rests(&about))
}
