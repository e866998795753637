//! What becomes of the jobs of a worker that is gone (SPEC "Recovery").
//!
//! Whoever knows of the death recovers by force ([`Broker::recover_tag`]); a [`Recoverer`] finds the deaths nobody
//! saw. Both read a job, decide, and move it with one script, so rivals and a waking worker cannot double or lose it.
//! Arguments of jobs are never read here.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use redis::cmd;
use tempest_protocol::{Code, Content, Failure, Job, JobId, Queue, Reply, WorkerId, dead, limits};
use tracing::{info, warn};

use crate::{Broker, Error, clock::millis, look::Entry, record, script::Run};

mod recoverer;

pub use recoverer::{Patience, Recoverer};

/// Jobs read from a run list at once.
const PAGE: isize = 64;
/// Entries recovered side by side.
const SIDE_BY_SIDE: usize = 16;

/// What is done with the jobs of a worker that is gone.
#[derive(Clone, Copy, Debug, Default)]
pub enum Mode<'a> {
    /// Each returns to its lane, or is given up when its attempts are used up. Those of which this process said or heard
    /// within the last minute that they are cancelled vanish.
    #[default]
    Requeue,
    /// Jobs of these ids were cancelled, however long ago, and vanish without a reply; all others as with [`Mode::Requeue`].
    Drop(&'a [JobId]),
}

/// What became of recovered jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Returned to the head of their lane.
    pub requeued: u64,
    /// Answered with `worker_lost`.
    pub answered: u64,
    /// Kept in `dead`.
    pub buried: u64,
    /// Removed: cancelled, or nobody waits for them any more.
    pub dropped: u64,
}

impl Recovered {
    /// How many jobs in all.
    pub fn total(&self) -> u64 {
        self.requeued + self.answered + self.buried + self.dropped
    }
}

impl std::ops::AddAssign for Recovered {
    fn add_assign(&mut self, other: Self) {
        self.requeued += other.requeued;
        self.answered += other.answered;
        self.buried += other.buried;
        self.dropped += other.dropped;
    }
}

impl std::fmt::Display for Recovered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requeued, answered, buried, dropped } = self;
        write!(f, "{requeued} requeued, {answered} answered, {buried} dead, {dropped} dropped")
    }
}

/// How a death is known.
#[derive(Clone, Copy)]
pub(crate) struct Death<'a> {
    /// Known for sure: the lease is not asked.
    pub(crate) forced: bool,
    /// How it died, for whoever waited: a clause like `killed by signal 9 (SIGKILL)`.
    pub(crate) cause: &'a str,
    pub(crate) mode: Mode<'a>,
}

/// What becomes of one job.
enum Fate {
    Requeue(Bytes),
    Answer { reply_to: String, reply: Bytes },
    Bury(Bytes),
    Drop,
}

/// What the record of a job is told of its recovery.
#[derive(Default)]
struct Told {
    record: Option<String>,
    unique: Option<String>,
    /// How long the record lives from now, in ms; 0: it is removed; empty: there is none.
    age: String,
    /// The id, if the job lets go its unique key.
    lets_go: String,
    fields: Vec<String>,
}

impl Told {
    fn of(broker: &Broker, queue: &Queue, job: Option<&Job>, fate: &Fate, now_ms: String) -> Self {
        let Some(job) = job.filter(|job| job.envelope.reply_to.is_none()) else { return Self::default() };
        let Some(id) = &job.envelope.id else { return Self::default() };
        let (age, fields) = match fate {
            Fate::Requeue(_) => (limits::RECORD_AGE_MAX, record::waiting()),
            Fate::Bury(member) => (limits::DEAD_AGE_MAX, record::dead(member, now_ms)),
            Fate::Answer { .. } | Fate::Drop => (Duration::ZERO, Vec::new()),
        };
        let unique = match fate {
            Fate::Requeue(_) => None,
            _ => job.envelope.unique_at_end(),
        };
        Self {
            record: Some(broker.keys().record(queue, id)),
            unique: unique.map(|key| broker.keys().unique(queue, key)),
            age: millis(age).to_string(),
            lets_go: unique.map(|_| id.to_string()).unwrap_or_default(),
            fields,
        }
    }
}

impl Broker {
    /// Recovers everything the workers of a child process held that is known to be dead: all whose id ends in
    /// `-<tag>` or `-<tag>-<number>`, in every queue. Deletes their leases. `cause` says how it died. Calling it
    /// again is harmless.
    ///
    /// Errors: the first that occurred; all queues are tried nevertheless. Call it again then.
    pub async fn recover_tag(&self, tag: &str, cause: &str, mode: Mode<'_>) -> Result<Recovered, Error> {
        let death = Death { forced: true, cause, mode };
        let queues = self.queues().await?;
        let recoveries: Vec<_> = queues.iter().map(|queue| self.recover_tag_in(queue, tag, death)).collect();
        sum(stream::iter(recoveries).buffer_unordered(SIDE_BY_SIDE)).await
    }

    async fn recover_tag_in(&self, queue: &Queue, tag: &str, death: Death<'_>) -> Result<Recovered, Error> {
        let mut entries = self.entries(queue).await?;
        entries.retain(|entry| has_tag(&entry.worker, tag));
        self.delete_leases(queue, &entries).await?;
        self.recover_entries(queue, &entries, death).await
    }

    async fn delete_leases(&self, queue: &Queue, entries: &[Entry]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let leases: Vec<_> = entries.iter().map(|entry| self.keys().lease(queue, &entry.worker)).collect();
        self.link().ask::<u64>(cmd("DEL").arg(leases)).await.map(drop)
    }

    /// Recovers the run lists of entries side by side.
    pub(crate) async fn recover_entries(
        &self,
        queue: &Queue,
        entries: &[Entry],
        death: Death<'_>,
    ) -> Result<Recovered, Error> {
        let recoveries: Vec<_> =
            entries.iter().map(|entry| self.recover_entry(queue, entry, death)).collect();
        let recovered = sum(stream::iter(recoveries).buffer_unordered(SIDE_BY_SIDE)).await?;
        if recovered.total() > 0 {
            info!(%queue, cause = death.cause, %recovered, "recovered what a worker held");
        }
        Ok(recovered)
    }

    /// Recovers a run list, the last claimed job first: so the first one claimed comes to lie at the head.
    async fn recover_entry(
        &self,
        queue: &Queue,
        entry: &Entry,
        death: Death<'_>,
    ) -> Result<Recovered, Error> {
        let run = self.keys().run_entry(queue, &entry.name);
        let mut recovered = Recovered::default();
        loop {
            let frames: Vec<Vec<u8>> = self.link().ask(cmd("LRANGE").arg(&run).arg(-PAGE).arg(-1)).await?;
            let before = recovered.total();
            let nothing = frames.is_empty();
            for frame in frames.into_iter().rev().map(Bytes::from) {
                recovered += self.recover_job(queue, entry, &run, &frame, death).await?;
            }
            // Nothing was left, or what is left belongs to somebody else or to a worker that lives.
            if nothing || recovered.total() == before {
                return Ok(recovered);
            }
        }
    }

    async fn recover_job(
        &self,
        queue: &Queue,
        entry: &Entry,
        run: &str,
        frame: &Bytes,
        death: Death<'_>,
    ) -> Result<Recovered, Error> {
        let now_ms = self.now_ms();
        let job = Job::decode(frame.clone(), self.keys());
        let lane = job.as_ref().map(|job| job.envelope.lane).unwrap_or_default();
        let fate = match &job {
            Ok(job) if self.is_cancelled(job, death.mode) => Fate::Drop,
            _ => fate(&job, frame, death, now_ms),
        };
        let (new, dead): (&[u8], &[u8]) = match &fate {
            Fate::Requeue(frame) => (frame, b""),
            Fate::Bury(member) => (b"", member),
            Fate::Answer { .. } | Fate::Drop => (b"", b""),
        };
        let keys = self.keys();
        let (lane, lease, grave) =
            (keys.lane(queue, lane), keys.lease(queue, &entry.worker), keys.dead(queue));
        let forced: &[u8] = if death.forced { b"1" } else { b"0" };
        let died_at = now_ms.to_string();
        let told = Told::of(self, queue, job.as_ref().ok(), &fate, died_at.clone());
        let unique = told.unique.as_deref().unwrap_or(run);
        let mut args: Vec<&[u8]> = vec![forced, frame, new, dead, died_at.as_bytes()];
        args.extend([told.age.as_bytes(), told.lets_go.as_bytes()]);
        args.extend(told.fields.iter().map(String::as_bytes));
        let run = Run {
            keys: &[run, &lane, &lease, &grave, told.record.as_deref().unwrap_or(run), unique],
            args: &args,
        };
        match self.scripts().recover.run(self, &run).await? {
            1 => {
                if job.is_err() {
                    self.stats().bad_jobs.count();
                }
                self.conclude(queue, job.as_ref().ok(), fate).await
            }
            _ => Ok(Recovered::default()),
        }
    }

    /// Whether a job was cancelled: so it is known of its worker's death, or this process said or heard it lately.
    fn is_cancelled(&self, job: &Job, mode: Mode<'_>) -> bool {
        job.envelope.id.as_ref().is_some_and(|id| mode.drops(id) || self.cancelled().has(id))
    }

    /// Counts what was done, and tells whoever waited: a client, or the group of a job that was cancelled.
    async fn conclude(&self, queue: &Queue, job: Option<&Job>, fate: Fate) -> Result<Recovered, Error> {
        let mut recovered = Recovered::default();
        match fate {
            Fate::Requeue(_) => recovered.requeued = 1,
            Fate::Bury(_) => recovered.buried = 1,
            Fate::Drop => {
                recovered.dropped = 1;
                if let Err(error) = self.leave_groups(job).await {
                    warn!(%queue, %error, "could not count a cancelled job in its group, which waits until it expires");
                }
            }
            Fate::Answer { reply_to, reply } => {
                recovered.answered = 1;
                // The job is gone from Redis already: its client hears nothing until its deadline, not never.
                if let Err(error) = self.reply(&reply_to, &reply).await {
                    warn!(%queue, %error, "could not say worker_lost to whoever waited");
                }
            }
        }
        self.stats().recovered.add(&recovered);
        Ok(recovered)
    }
}

fn fate(job: &Result<Job, tempest_protocol::Error>, frame: &Bytes, death: Death<'_>, now_ms: u64) -> Fate {
    let job = match job {
        Ok(job) => job,
        Err(error) => {
            let failure = Failure::new(Code::BadJob, error.to_string());
            return Fate::Bury(dead::undecodable(frame, &failure, now_ms));
        }
    };
    let envelope = &job.envelope;
    let lost = Failure::new(Code::WorkerLost, death.cause);
    match (&envelope.reply_to, &envelope.id) {
        (Some(_), _) if envelope.is_expired(now_ms) => Fate::Drop,
        (None, _) if envelope.is_expired(now_ms) => {
            Fate::Bury(dead::dead(job, &Failure::new(Code::Expired, "its deadline passed"), now_ms))
        }
        _ if envelope.attempt < envelope.attempts_max() => {
            Fate::Requeue(job.with_attempt(envelope.attempt + 1))
        }
        (Some(reply_to), Some(id)) => {
            let reply = Reply::last(id.clone(), envelope.attempt, Content::Error(lost));
            match reply.encode(job.encoding()) {
                Ok(reply) => Fate::Answer { reply_to: reply_to.clone(), reply },
                Err(_) => Fate::Drop,
            }
        }
        // Nobody can be told, and what somebody waits for never enters dead: it carries cookies.
        (Some(_), None) => Fate::Drop,
        (None, _) => Fate::Bury(dead::dead(job, &lost, now_ms)),
    }
}

impl Mode<'_> {
    fn drops(&self, id: &JobId) -> bool {
        matches!(self, Self::Drop(ids) if ids.contains(id))
    }
}

/// Whether a worker belongs to the child process that was started with this tag (`TEMPEST_WORKER_TAG`).
pub fn has_tag(worker: &WorkerId, tag: &str) -> bool {
    tags_of(worker).any(|of| of == tag)
}

/// What may be the tag of the child process a worker belongs to: its id ends in `-<tag>` or `-<tag>-<number>`.
pub(crate) fn tags_of(worker: &WorkerId) -> impl Iterator<Item = &str> {
    let mut parts = worker.as_str().rsplit('-');
    let last = parts.next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    let before = parts.next().filter(|_| is_number);
    std::iter::once(last).chain(before).filter(|tag| !tag.is_empty())
}

/// Waits for all; gives the sum, or the first error.
async fn sum(recoveries: impl Stream<Item = Result<Recovered, Error>>) -> Result<Recovered, Error> {
    let mut all = Ok(Recovered::default());
    let mut recoveries = std::pin::pin!(recoveries);
    while let Some(recovered) = recoveries.next().await {
        match (&mut all, recovered) {
            (Ok(all), Ok(recovered)) => *all += recovered,
            (Ok(_), Err(error)) => all = Err(error),
            (Err(_), _) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_the_workers_of_one_child() {
        let is = |id: &str, tag: &str| has_tag(&WorkerId::new(id).unwrap(), tag);
        assert!(is("host-12-abc", "abc"));
        assert!(is("host-12-abc-2", "abc"));
        assert!(!is("host-12-xabc", "abc"), "a tag is not the tail of another");
        assert!(!is("host-12-abc-x", "abc"));
        assert!(!is("host-12-abcd", "abc"));
        assert!(is("host-12-34-2", "34"), "digits alone are a tag, too");
        assert!(!is("host-12-", ""), "an empty tag names nobody");
        assert!(!is("host--2", ""), "nor does one before a number");
    }
}
