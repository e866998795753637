//! Workers that rest, because they have nothing to do (SPEC "Presence"): they beat more rarely, or leave their lease to
//! their supervisor, whose keeper renews those of all its children in one write. A thousand then cost Redis little.
//!
//! A lease is renewed only while its worker says that it rests, holds no job, and lives: nobody is kept alive here that
//! a beat of its own would not have.

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
    time::Instant,
};

use bytes::Bytes;
use redis::pipe;
use serde_json::Value;
use tempest_protocol::{Queue, WorkerId, limits};

use crate::{Broker, Error, clock::millis, look::QueueLook};

/// Children whose leases are kept while they rest.
#[derive(Default)]
pub(crate) struct Sheltered(RwLock<Children>);

#[derive(Default)]
struct Children {
    tags: HashSet<String>,
    named: Option<Instant>,
}

impl Sheltered {
    fn has(&self, worker: &WorkerId) -> bool {
        let children = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let is_current = children.named.is_some_and(|at| at.elapsed() < limits::LEASE);
        is_current && tags_of(worker).any(|tag| children.tags.contains(tag))
    }
}

impl Broker {
    /// Keeps the leases of these children, named by their tags (`TEMPEST_WORKER_TAG`), while they rest. They must run,
    /// and not be stopped. It is forgotten after [`limits::LEASE`]: say it each second.
    pub fn shelter(&self, tags: HashSet<String>) {
        *self.sheltered().0.write().unwrap_or_else(PoisonError::into_inner) =
            Children { tags, named: Some(Instant::now()) };
    }
}

/// How a worker rests that says of itself `"resting": true`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// It beats more rarely, each time for longer.
    #[default]
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
        let mut commands = pipe();
        for look in looks {
            let busy: HashSet<_> =
                look.entries.iter().filter(|entry| entry.held > 0).map(|entry| &entry.worker).collect();
            let idle = look.leases.iter().filter(|(worker, _)| !busy.contains(worker));
            for (worker, lease) in idle.filter(|(worker, _)| broker.sheltered().has(worker)) {
                let name = (look.queue.clone(), worker.clone());
                let key = broker.keys().lease(&look.queue, worker);
                let about = match lease {
                    Some(about) if says_it_rests(about) => {
                        commands.cmd("PEXPIRE").arg(key).arg(millis(limits::LEASE));
                        about.clone()
                    }
                    Some(_) => continue,
                    None => {
                        let Some(about) = before.remove(&name) else { continue };
                        let lease = commands.cmd("SET").arg(key).arg(about.as_ref());
                        lease.arg("NX").arg("PX").arg(millis(limits::LEASE));
                        about
                    }
                };
                self.resting.insert(name, about);
            }
        }
        broker.link().do_all(&commands).await
    }
}

fn says_it_rests(about: &[u8]) -> bool {
    serde_json::from_slice(about).is_ok_and(|about| rests(&about))
}

/// What may be the tag of the child a worker belongs to: `…-<tag>` or `…-<tag>-<number>`.
fn tags_of(worker: &WorkerId) -> impl Iterator<Item = &str> {
    worker.as_str().rsplit('-').take(2)
}
