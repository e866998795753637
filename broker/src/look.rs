//! One look at everything that works on a queue: what recovery, presence and the inspecting commands stand on.
//! Changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use redis::{Pipeline, Value, cmd, pipe};
use tempest_protocol::{Envelope, Job, Keys, Lane, Queue, WorkerId};
use tracing::warn;

use crate::{Broker, Error, claim::next};

/// How many bytes of jobs are read to learn how long the oldest have waited.
const OLDEST_BYTES_MAX: u64 = 4 << 20;
/// What a job counts for at least.
const JOB_BYTES_MIN: u64 = 16 << 10;

/// Queues looked at side by side.
const SIDE_BY_SIDE: usize = 16;

/// A queue as one look found it.
#[derive(Clone, Debug)]
pub(crate) struct QueueLook {
    pub(crate) queue: Queue,
    /// Every registered slot.
    pub(crate) entries: Vec<Entry>,
    /// Every registered worker, with the value of its lease if it has one.
    pub(crate) leases: BTreeMap<WorkerId, Option<Bytes>>,
    /// Waiting jobs and the bytes they take, by [`Lane::ALL`].
    pub(crate) lanes: [Load; 3],
    pub(crate) later: u64,
    pub(crate) dead: u64,
    /// Keys that have jobs set aside.
    pub(crate) asides: u64,
}

/// What waits in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs waiting.
    pub jobs: u64,
    /// Memory they take, in bytes, as Redis estimates it.
    pub bytes: u64,
}

/// A registered slot of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// `<worker>.<slot>`.
    pub(crate) name: String,
    pub(crate) worker: WorkerId,
    /// Jobs in its run list.
    pub(crate) held: u64,
}

impl Broker {
    /// Every queue that was used, in order. Members that are no queue names are left out.
    pub async fn queues(&self) -> Result<Vec<Queue>, Error> {
        let names: BTreeSet<String> = self.link().ask(cmd("SMEMBERS").arg(self.keys().queues())).await?;
        Ok(names.iter().filter_map(|name| Queue::new(name).ok()).collect())
    }

    /// What lies first in each of these run lists: workers, their queues and how many slots are looked at. The jobs come
    /// whole; what cannot be read is left out. One write.
    ///
    /// Errors: Redis is away.
    pub async fn jobs_in_hand(
        &self,
        workers: &[(&Queue, &WorkerId, usize)],
    ) -> Result<Vec<(WorkerId, Envelope)>, Error> {
        let (mut commands, mut owners) = (pipe(), Vec::new());
        for (queue, worker, slots) in workers {
            for slot in 0..*slots {
                commands.cmd("LINDEX").arg(self.keys().run(queue, worker, slot)).arg(-1);
                owners.push(*worker);
            }
        }
        let answers = self.link().ask_all(&commands).await?;
        let envelope = |answer: Result<Value, Error>| {
            let frame: Option<Vec<u8>> = redis::from_redis_value(answer.ok()?).ok()?;
            Some(Job::decode(frame?.into(), self.keys()).ok()?.envelope)
        };
        let held = owners.into_iter().zip(answers);
        Ok(held.filter_map(|(worker, answer)| Some((worker.clone(), envelope(answer)?))).collect())
    }

    /// Looks at queues side by side. A queue with a key of a wrong type is said and left out, so that it harms no
    /// other.
    ///
    /// Errors: the first other one.
    pub(crate) async fn look_at(&self, queues: &[Queue]) -> Result<Vec<QueueLook>, Error> {
        let looks: Vec<_> = queues.iter().map(|queue| self.look_at_queue(queue)).collect();
        let mut looks = stream::iter(looks).buffered(SIDE_BY_SIDE);
        let mut seen = Vec::with_capacity(queues.len());
        for queue in queues {
            match looks.next().await {
                Some(Ok(look)) => seen.push(look),
                Some(Err(Error::Refused { word, .. })) if word == "WRONGTYPE" => {
                    warn!(%queue, "a key of this queue has a wrong type; the queue is not looked after");
                }
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
        Ok(seen)
    }

    /// The registered slots of a queue.
    pub(crate) async fn entries(&self, queue: &Queue) -> Result<Vec<Entry>, Error> {
        let names: BTreeSet<String> =
            self.link().ask(cmd("SMEMBERS").arg(self.keys().workers(queue))).await?;
        let entry = |name: String| Some(Entry { worker: Keys::worker_of(&name)?, name, held: 0 });
        Ok(names.into_iter().filter_map(entry).collect())
    }

    /// How long the job at the head of each of these lanes has waited; none for an empty lane, for a job that does not
    /// say since when, and where the jobs are too large to be read for that. One write; the jobs come whole, small ones
    /// first, up to 4 MiB together as far as their lanes' loads tell.
    ///
    /// Errors: Redis is away.
    pub async fn oldest(&self, lanes: &[(&Queue, Lane, Load)]) -> Result<Vec<Option<Duration>>, Error> {
        let loads: Vec<_> = lanes.iter().map(|(.., load)| *load).collect();
        let (read, mut commands) = (readable(&loads), pipe());
        for (queue, lane, _) in read.iter().filter_map(|&index| lanes.get(index)) {
            commands.cmd("LINDEX").arg(self.keys().lane(queue, *lane)).arg(0);
        }
        let now_ms = self.now_ms();
        let answers = self.link().ask_all(&commands).await?;
        let age = |frame: Vec<u8>| {
            let queued_at_ms = Job::decode(frame.into(), self.keys()).ok()?.envelope.queued_at_ms?;
            Some(Duration::from_millis(now_ms.saturating_sub(queued_at_ms)))
        };
        let mut ages = vec![None; lanes.len()];
        for (index, answer) in read.into_iter().zip(answers) {
            // A key of a wrong type has no head.
            let head =
                answer.ok().and_then(|it| redis::from_redis_value::<Option<Vec<u8>>>(it).ok()).flatten();
            if let Some(place) = ages.get_mut(index) {
                *place = head.and_then(age);
            }
        }
        Ok(ages)
    }

    async fn look_at_queue(&self, queue: &Queue) -> Result<QueueLook, Error> {
        let mut entries = self.entries(queue).await?;
        let workers: BTreeSet<_> = entries.iter().map(|entry| entry.worker.clone()).collect();
        let answers = self.link().ask_all(&self.questions(queue, &entries, &workers)).await?;
        let mut answers = answers.into_iter();
        let later = next(&mut answers)?;
        let dead = next(&mut answers)?;
        let asides = next(&mut answers).unwrap_or_default();
        let mut lanes = [Load::default(); 3];
        for load in &mut lanes {
            load.jobs = next(&mut answers)?;
            // Not every account may ask for it; then only the number of jobs is capped.
            load.bytes = next::<Option<u64>>(&mut answers).unwrap_or_default().unwrap_or_default();
        }
        let mut leases = BTreeMap::new();
        for worker in workers {
            leases.insert(worker, next::<Option<Vec<u8>>>(&mut answers)?.map(Bytes::from));
        }
        for entry in &mut entries {
            entry.held = next(&mut answers)?;
        }
        Ok(QueueLook { queue: queue.clone(), entries, leases, lanes, later, dead, asides })
    }

    fn questions(&self, queue: &Queue, entries: &[Entry], workers: &BTreeSet<WorkerId>) -> Pipeline {
        let keys = self.keys();
        let mut commands = pipe();
        commands.cmd("ZCARD").arg(keys.later(queue));
        commands.cmd("ZCARD").arg(keys.dead(queue));
        commands.cmd("SCARD").arg(keys.asides(queue));
        for lane in Lane::ALL {
            commands.cmd("LLEN").arg(keys.lane(queue, lane));
            commands.cmd("MEMORY").arg("USAGE").arg(keys.lane(queue, lane));
        }
        for worker in workers {
            commands.cmd("GET").arg(keys.lease(queue, worker));
        }
        for entry in entries {
            commands.cmd("LLEN").arg(keys.run_entry(queue, &entry.name));
        }
        commands
    }
}

/// Which lanes have a head that can be read: small jobs first, as many as are not too much together.
fn readable(loads: &[Load]) -> Vec<usize> {
    let mut sizes: Vec<_> = loads
        .iter()
        .enumerate()
        // Where Redis does not tell sizes, each counts for something all the same.
        .filter_map(|(index, load)| Some((load.bytes.checked_div(load.jobs)?.max(JOB_BYTES_MIN), index)))
        .collect();
    sizes.sort_unstable();
    let mut bytes_left = OLDEST_BYTES_MAX;
    let fits = sizes.into_iter().map_while(|(bytes, index)| {
        bytes_left = bytes_left.checked_sub(bytes)?;
        Some(index)
    });
    fits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_far_as_they_are_not_too_much() {
        let load = |jobs, bytes| Load { jobs, bytes };
        assert_eq!(
            readable(&[load(0, 0), load(2, 100), load(1, 5 << 20)]),
            [1],
            "not of empty lanes, not large ones"
        );
        assert_eq!(
            readable(&[load(1, 3 << 20), load(1, 1 << 20), load(1, 2 << 20)]),
            [1, 2],
            "small ones first"
        );
        assert_eq!(readable(&[load(1, 0); 1_000]).len(), 256, "what is not known counts, too");
    }
}
