//! A background job by its id, without a search: where its record says it is, there it is looked for. Changes nothing.
//!
//! Jobs move while they are looked for: the record is read again when a job is not where it said.

use redis::{Value, pipe};
use tempest_protocol::{Job, JobId, Queue, WorkerId};

use crate::{Broker, Error, Record, Shelf, State, Whereabouts, claim::next, look::Entry};

/// Jobs looked at near each end of a list.
const NEAR: isize = 100;
/// How often a job is looked for that is not where its record says.
const LOOKS: usize = 3;

/// What is known of a background job.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Its queue.
    pub queue: Queue,
    /// What its record says.
    pub record: Record,
    /// Where it was seen, and the job. None: it is done; or it waits deep in a long lane, or among many that are set aside
    /// for its key, where nobody looks; or its record tells of a time long gone, as with workers that write none.
    pub seen: Option<(Whereabouts, Job)>,
}

impl Broker {
    /// A job that has a record, and what is seen of it where the record says it is. Reads at most some hundred jobs.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn sight(&self, queue: &Queue, id: &JobId) -> Result<Option<Sighting>, Error> {
        for look in 1.. {
            let Some(record) = self.record(queue, id).await? else { break };
            let seen = self.see(queue, id, &record).await?;
            if seen.is_some() || record.state == State::Done || look == LOOKS {
                return Ok(Some(Sighting { queue: queue.clone(), record, seen }));
            }
        }
        Ok(None)
    }

    /// Those of these queues in which a job of this id has a record. One write.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn queues_with(&self, queues: &[Queue], id: &JobId) -> Result<Vec<Queue>, Error> {
        let mut commands = pipe();
        for queue in queues {
            commands.cmd("HGET").arg(self.keys().record(queue, id)).arg("state");
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        let mut with = Vec::new();
        for queue in queues {
            if next::<Value>(&mut answers)? != Value::Nil {
                with.push(queue.clone());
            }
        }
        Ok(with)
    }

    async fn see(
        &self,
        queue: &Queue,
        id: &JobId,
        record: &Record,
    ) -> Result<Option<(Whereabouts, Job)>, Error> {
        match (record.state, record.due_ms, record.died_at_ms) {
            (State::Waiting, ..) => self.see_waiting(queue, id, record).await,
            (State::Running, ..) => self.see_held(queue, id, record.worker.as_ref()).await,
            (State::Later, Some(due_ms), _) => {
                let entry = self.shelved_at(queue, Shelf::Later, due_ms, id).await?;
                Ok(entry.and_then(|entry| Some((Whereabouts::Later, entry.job?))))
            }
            (State::Dead, _, Some(died_at_ms)) => {
                let entry = self.shelved_at(queue, Shelf::Dead, died_at_ms, id).await?;
                Ok(entry.and_then(|entry| Some((Whereabouts::Dead, entry.job?))))
            }
            _ => Ok(None),
        }
    }

    /// In its lane; or, if it was set aside once, among the jobs of its key that are.
    async fn see_waiting(
        &self,
        queue: &Queue,
        id: &JobId,
        record: &Record,
    ) -> Result<Option<(Whereabouts, Job)>, Error> {
        let lane = record.lane;
        if let Some(job) = self.near_the_ends(&self.keys().lane(queue, lane), id).await? {
            return Ok(Some((Whereabouts::Waiting(lane), job)));
        }
        let Some(key) = record.key.clone() else { return Ok(None) };
        let job = self.near_the_ends(&self.keys().aside(queue, &key), id).await?;
        Ok(job.map(|job| (Whereabouts::SetAside { lane, key }, job)))
    }

    async fn near_the_ends(&self, list: &str, id: &JobId) -> Result<Option<Job>, Error> {
        let mut commands = pipe();
        commands.cmd("LRANGE").arg(list).arg(-NEAR).arg(-1);
        commands.cmd("LRANGE").arg(list).arg(0).arg(NEAR - 1);
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        for _ in 0..2 {
            let frames: Vec<Vec<u8>> = next(&mut answers)?;
            if let Some(job) = frames.into_iter().rev().find_map(|frame| self.job_of(frame, id)) {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    async fn see_held(
        &self,
        queue: &Queue,
        id: &JobId,
        worker: Option<&WorkerId>,
    ) -> Result<Option<(Whereabouts, Job)>, Error> {
        let mut entries: Vec<Entry> = self.entries(queue).await?;
        entries.retain(|entry| worker == Some(&entry.worker));
        let held = self.find_held(queue, id, &entries).await?;
        Ok(held.map(|(entry, job)| (Whereabouts::Held(entry.worker.clone()), job)))
    }
}
