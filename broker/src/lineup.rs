//! What runs in a queue, and what comes next, for whoever looks. Changes nothing.

use bytes::Bytes;
use redis::{Value, cmd, pipe};
use tempest_protocol::{Job, JobId, Lane, Queue, WorkerId};

use crate::{Broker, Error, Record, claim::next, look::Entry};

/// Jobs read of each run list; a worker claims at most 16 at once.
const HELD_MAX: isize = 64;

/// A job in the hands of a worker.
#[derive(Clone, Debug)]
pub struct InHand {
    /// Its queue.
    pub queue: Queue,
    /// Who has it.
    pub worker: WorkerId,
    /// The job; none: what was claimed is none.
    pub job: Option<Job>,
    /// What its record says; none if it has none. One that began a moment ago says that it waits.
    pub record: Option<Record>,
}

/// A job in a lane.
#[derive(Clone, Debug)]
pub struct InLine {
    /// Its queue.
    pub queue: Queue,
    /// Its lane.
    pub lane: Lane,
    /// The job; none: what waits there is none.
    pub job: Option<Job>,
    /// The entry as it lies there.
    pub entry: Bytes,
}

impl Broker {
    /// What the workers of a queue have in hand, up to `limit` jobs, with their records. Three questions.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn in_hand(&self, queue: &Queue, limit: usize) -> Result<Vec<InHand>, Error> {
        let entries: Vec<Entry> = self.entries(queue).await?;
        let mut commands = pipe();
        for entry in &entries {
            commands.cmd("LRANGE").arg(self.keys().run_entry(queue, &entry.name)).arg(0).arg(HELD_MAX - 1);
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        let mut held: Vec<InHand> = Vec::new();
        for Entry { worker, .. } in entries {
            for frame in next::<Vec<Vec<u8>>>(&mut answers)? {
                let job = Job::decode(frame.into(), self.keys()).ok();
                held.push(InHand { queue: queue.clone(), worker: worker.clone(), job, record: None });
            }
        }
        held.truncate(limit);
        let ids: Vec<_> = held.iter().map(|held| held.job.as_ref()?.envelope.id.clone()).collect();
        let records = self.records(queue, &ids).await?;
        for (held, record) in held.iter_mut().zip(records) {
            held.record = record;
        }
        Ok(held)
    }

    /// The first jobs of a lane, up to `limit`.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn in_line(&self, queue: &Queue, lane: Lane, limit: usize) -> Result<Vec<InLine>, Error> {
        let Some(last) = limit.checked_sub(1) else { return Ok(Vec::new()) };
        let key = self.keys().lane(queue, lane);
        let frames: Vec<Vec<u8>> = self.link().ask(cmd("LRANGE").arg(key).arg(0).arg(last)).await?;
        let in_line = |frame: Vec<u8>| {
            let entry = Bytes::from(frame);
            InLine { queue: queue.clone(), lane, job: Job::decode(entry.clone(), self.keys()).ok(), entry }
        };
        Ok(frames.into_iter().map(in_line).collect())
    }

    /// What the records of these jobs say, in their order. One write.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn records(&self, queue: &Queue, ids: &[Option<JobId>]) -> Result<Vec<Option<Record>>, Error> {
        let mut commands = pipe();
        for id in ids.iter().flatten() {
            commands.cmd("HGETALL").arg(self.keys().record(queue, id));
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        let record = |id: &Option<JobId>| match id {
            Some(_) => Ok(Record::of(next(&mut answers)?)),
            None => Ok(None),
        };
        ids.iter().map(record).collect()
    }

    /// How many jobs of a queue wait because others of their key run.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn set_aside(&self, queue: &Queue) -> Result<u64, Error> {
        let mut commands = pipe();
        for tag in self.asides(queue).await? {
            commands.cmd("LLEN").arg(self.keys().aside(queue, &tag));
        }
        let lengths = self.link().ask_all(&commands).await?.into_iter();
        lengths.map(|length: Result<Value, Error>| next::<u64>(&mut std::iter::once(length))).sum()
    }
}
