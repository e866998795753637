//! Empties a queue of what waits in it, in chunks.

use bytes::Bytes;
use redis::cmd;
use tempest_protocol::{Code, Content, Failure, Job, Lane, Queue, Reply, Tag};

use crate::{
    Broker, Error, Filter, Shelf,
    discard::{Discard, Place},
};

/// Jobs read and removed at once.
const CHUNK: usize = 100;

/// What is to go.
#[derive(Clone, Debug)]
pub struct Purge {
    /// What waits in these lanes.
    pub lanes: Vec<Lane>,
    /// What is delayed, or to be tried again.
    pub later: bool,
    /// What was given up.
    pub dead: bool,
}

impl Default for Purge {
    fn default() -> Self {
        Self { lanes: Lane::ALL.to_vec(), later: false, dead: false }
    }
}

/// How many jobs went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Of those that waited.
    pub waiting: u64,
    /// Of those that were to run later.
    pub later: u64,
    /// Of those that were dead.
    pub dead: u64,
}

impl Broker {
    /// Removes what waits in a queue, with all that is known of it; what runs runs on. As many jobs as wait at the
    /// beginning: a queue that is pushed to meanwhile does not keep it busy. Whoever waits for a reply is told at once.
    ///
    /// Errors: Redis is away or refuses; what was removed before stays removed.
    pub async fn purge(&self, queue: &Queue, purge: &Purge) -> Result<Purged, Error> {
        let mut purged = Purged::default();
        for lane in &purge.lanes {
            let key = self.keys().lane(queue, *lane);
            purged.waiting += self.purge_list(queue, &key, Place::Head).await?;
        }
        if purge.lanes.len() == Lane::ALL.len() {
            for tag in self.asides(queue).await? {
                let key = self.keys().aside(queue, &tag);
                purged.waiting += self.purge_list(queue, &key, Place::Aside(&tag)).await?;
            }
        }
        if purge.later {
            purged.later = self.discard_all(queue, Shelf::Later, &Filter::default()).await?.done;
        }
        if purge.dead {
            purged.dead = self.discard_all(queue, Shelf::Dead, &Filter::default()).await?.done;
        }
        Ok(purged)
    }

    /// The keys of a queue that have jobs set aside.
    pub(crate) async fn asides(&self, queue: &Queue) -> Result<Vec<Tag>, Error> {
        let keys: Vec<String> = self.link().ask(cmd("SMEMBERS").arg(self.keys().asides(queue))).await?;
        Ok(keys.iter().filter_map(|key| Tag::new(key).ok()).collect())
    }

    async fn purge_list(&self, queue: &Queue, key: &str, place: Place<'_>) -> Result<u64, Error> {
        let mut left: usize = self.link().ask(cmd("LLEN").arg(key)).await?;
        let mut purged = 0;
        while left > 0 {
            let last = left.min(CHUNK) - 1;
            let entries: Vec<Vec<u8>> = self.link().ask(cmd("LRANGE").arg(key).arg(0).arg(last)).await?;
            if entries.is_empty() {
                break;
            }
            left = left.saturating_sub(entries.len());
            purged += self.purge_chunk(queue, key, place, entries).await?;
        }
        Ok(purged)
    }

    async fn purge_chunk(
        &self,
        queue: &Queue,
        key: &str,
        place: Place<'_>,
        entries: Vec<Vec<u8>>,
    ) -> Result<u64, Error> {
        let entries: Vec<_> = entries.into_iter().map(Bytes::from).collect();
        let jobs: Vec<_> = entries.iter().map(|entry| Job::decode(entry.clone(), self.keys()).ok()).collect();
        let pairs: Vec<_> = entries.iter().zip(jobs.iter().map(Option::as_ref)).collect();
        let removed = self.run_discard(&Discard { queue, key, place, jobs: &pairs }).await?;
        let removed = jobs.iter().zip(removed).filter(|(_, is_removed)| *is_removed);
        let mut purged = 0;
        for (job, _) in removed {
            purged += 1;
            if let Some(job) = job {
                self.tell_removed(job, "the queue was purged").await?;
            }
        }
        Ok(purged)
    }

    /// Whoever waits for the reply of a job that was removed learns that there will be none, with the code `cancelled`.
    /// Says whether somebody waited.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn tell_removed(&self, job: &Job, why: &str) -> Result<bool, Error> {
        let (Some(id), Some(reply_to)) = (&job.envelope.id, &job.envelope.reply_to) else { return Ok(false) };
        let told = Failure::new(Code::Cancelled, why);
        let reply = Reply::last(id.clone(), job.envelope.attempt, Content::Error(told));
        self.reply(reply_to, &reply.encode(job.encoding())?).await?;
        Ok(true)
    }
}
