//! Jobs that are not due yet (SPEC "Later"): moves those that are to their lanes, and keeps `dead` bounded.

use bytes::Bytes;
use redis::{cmd, pipe};
use tempest_protocol::{Code, Failure, Job, JobId, Lane, Queue, dead, limits};

use crate::{Broker, Error, clock::millis, script::Run};

/// Jobs read from `later` at once, and moved at once: Redis serves nobody else meanwhile.
const LOOK: usize = 128;

/// An entry that is due, and the id of its job.
type Due = (Bytes, Option<JobId>);

impl Broker {
    /// Moves jobs that are due to the end of their lanes, until none is. Gives how many.
    pub(crate) async fn promote(&self, queue: &Queue) -> Result<u64, Error> {
        let mut promoted = 0;
        loop {
            let due = self.due(queue).await?;
            let full = due.len() == LOOK;
            let (mut lanes, broken) = self.sort_by_lane(due);
            for (lane, jobs) in Lane::ALL.into_iter().zip(&mut lanes) {
                promoted += self.promote_to(queue, lane, jobs).await?;
            }
            for (entry, error) in broken {
                self.bury_entry(queue, &entry, &error).await?;
            }
            if !full {
                break;
            }
        }
        Ok(promoted)
    }

    /// When the next job is due, in milliseconds of Redis time.
    pub(crate) async fn next_due_ms(&self, queue: &Queue) -> Result<Option<u64>, Error> {
        let mut look = cmd("ZRANGE");
        look.arg(self.keys().later(queue)).arg(0).arg(0).arg("WITHSCORES");
        let next: Vec<(Vec<u8>, f64)> = self.link().ask(&look).await?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // `as` saturates; scores are milliseconds
        Ok(next.first().map(|(_, due)| due.ceil() as u64))
    }

    async fn due(&self, queue: &Queue) -> Result<Vec<Bytes>, Error> {
        let mut look = cmd("ZRANGE");
        look.arg(self.keys().later(queue)).arg("-inf").arg(self.now_ms()).arg("BYSCORE");
        look.arg("LIMIT").arg(0).arg(LOOK);
        let due: Vec<Vec<u8>> = self.link().ask(&look).await?;
        Ok(due.into_iter().map(Bytes::from).collect())
    }

    /// Jobs by the lane they belong to, in the order of [`Lane::ALL`]; and entries that are no jobs.
    fn sort_by_lane(&self, due: Vec<Bytes>) -> ([Vec<Due>; 3], Vec<(Bytes, tempest_protocol::Error)>) {
        let mut lanes: [Vec<Due>; 3] = Default::default();
        let mut broken = Vec::new();
        for entry in due {
            match Job::decode(entry.clone(), self.keys()) {
                Ok(job) => lanes[job.envelope.lane as usize].push((entry, job.envelope.id)),
                Err(error) => broken.push((entry, error)),
            }
        }
        (lanes, broken)
    }

    async fn promote_to(&self, queue: &Queue, lane: Lane, jobs: &[Due]) -> Result<u64, Error> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let (later, lane) = (self.keys().later(queue), self.keys().lane(queue, lane));
        let record = |id: &Option<JobId>| id.as_ref().map(|id| self.keys().record(queue, id));
        let records: Vec<_> = jobs.iter().map(|(_, id)| record(id)).collect();
        let records = records.iter().map(|record| record.as_deref().unwrap_or(&later));
        let keys: Vec<_> = [&*later, &*lane].into_iter().chain(records).collect();
        let args: Vec<&[u8]> = jobs.iter().map(|(entry, _)| entry.as_ref()).collect();
        let moved = self.scripts().promote.run(self, &Run { keys: &keys, args: &args }).await?;
        Ok(moved.unsigned_abs())
    }

    async fn bury_entry(
        &self,
        queue: &Queue,
        entry: &Bytes,
        error: &tempest_protocol::Error,
    ) -> Result<(), Error> {
        self.stats().bad_jobs.count();
        let now_ms = self.now_ms();
        let member = dead::undecodable(entry, &Failure::new(Code::BadJob, error.to_string()), now_ms);
        let (later, grave) = (self.keys().later(queue), self.keys().dead(queue));
        let died_at = now_ms.to_string();
        let args: [&[u8]; 3] = [entry, &member, died_at.as_bytes()];
        self.scripts().bury.run(self, &Run { keys: &[&later, &grave], args: &args }).await.map(drop)
    }

    /// Removes what is too old or too much in `dead`, the oldest first.
    pub(crate) async fn trim_dead(&self, queue: &Queue, jobs_max: usize) -> Result<(), Error> {
        let key = self.keys().dead(queue);
        let oldest_ms = self.now_ms().saturating_sub(millis(limits::DEAD_AGE_MAX));
        let mut commands = pipe();
        commands.cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(format!("({oldest_ms}"));
        commands.cmd("ZREMRANGEBYRANK").arg(&key).arg(0).arg(format!("-{}", jobs_max + 1));
        self.link().ask_all(&commands).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }
}
