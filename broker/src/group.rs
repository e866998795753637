//! Groups: several jobs of which one more is told when all are done (SPEC "Background jobs", Groups).

use std::collections::BTreeMap;

use bytes::Bytes;
use redis::{cmd, pipe};
use tempest_protocol::{Code, Error as WireError, Group, Job, JobId, Keys, Queue, Raw, completing, limits};
use tracing::warn;

use crate::{Broker, Error, claim::next, clock::millis, record, script::Run};

/// What the script `count` gives when a result does not fit.
const NO_ROOM: i64 = -2;

impl Broker {
    /// Opens a group, before its jobs are pushed: `then` is pushed to this queue when all of them are done.
    ///
    /// Errors: `bad_job`: no job, or more than [`limits::GROUP_JOBS_MAX`], or `then` is no job with an id; Redis is away or
    /// refuses.
    pub async fn open_group(
        &self,
        queue: &Queue,
        group: &Group,
        jobs: &[JobId],
        then: &Bytes,
    ) -> Result<(), Error> {
        let bad = |detail: &'static str| Err(WireError::new(Code::BadJob, detail).into());
        if jobs.is_empty() || jobs.len() > limits::GROUP_JOBS_MAX {
            return bad("a group has 1 to 10000 jobs");
        }
        if Job::decode(then.clone(), self.keys())?.envelope.id.is_none() {
            return bad("the job that ends a group needs an id");
        }
        let ids: Vec<_> = jobs.iter().map(JobId::as_str).collect();
        let listed = serde_json::to_string(&ids).unwrap_or_default();
        let [hash, pending, _] = keys_of(self.keys(), queue, group);
        let (age, now_ms) = (millis(limits::RECORD_AGE_MAX), self.now_ms());
        let mut commands = pipe();
        commands.cmd("HSET").arg(&hash).arg("then").arg(then.as_ref());
        commands.arg("jobs").arg(listed).arg("queued_at").arg(now_ms);
        commands.cmd("SADD").arg(&pending).arg(ids);
        commands.cmd("PEXPIRE").arg(&hash).arg(age);
        commands.cmd("PEXPIRE").arg(&pending).arg(age);
        self.link().transact::<redis::Value>(&commands).await.map(drop)
    }

    /// Removes a group whose jobs were not all pushed: what ends it never comes.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn forget_group(&self, queue: &Queue, group: &Group) -> Result<(), Error> {
        let [hash, pending, _] = keys_of(self.keys(), queue, group);
        self.link().ask::<u64>(cmd("UNLINK").arg(hash).arg(pending)).await.map(drop)
    }

    /// Counts a job as done in its group, and ends the group if it was the last. To be done before the job is acked; doing it
    /// again is harmless.
    ///
    /// Errors: `too_large`: with this result those of the group would have more than [`limits::GROUP_RESULTS_BYTES_MAX`],
    /// and it is not counted; Redis is away or refuses.
    pub async fn count_in_group(
        &self,
        (queue, group): &(Queue, Group),
        id: &JobId,
        result: &Raw,
    ) -> Result<(), Error> {
        if result.bytes().len() > limits::GROUP_RESULTS_BYTES_MAX {
            return Err(no_room(queue, group, result).into());
        }
        let [hash, pending, results] = keys_of(self.keys(), queue, group);
        let bytes_max = limits::GROUP_RESULTS_BYTES_MAX.to_string();
        let run = Run {
            keys: &[&hash, &pending, &results],
            args: &[id.as_str().as_bytes(), result.bytes(), bytes_max.as_bytes()],
        };
        match self.scripts().count.run(self, &run).await? {
            NO_ROOM => Err(no_room(queue, group, result).into()),
            0 => self.complete_anyway(queue, group).await,
            _ => Ok(()),
        }
    }

    /// Counts jobs that somebody has removed as over, with null in their places among the results, and ends the groups of
    /// which they were the last. To be done after their removal; doing it again is harmless. Jobs without a group are
    /// passed over. Some hundred at most: they are counted in one write.
    ///
    /// Errors: the first that occurred: Redis is away or refuses; all groups are tried nevertheless. One that was not
    /// ended waits until it expires.
    pub async fn leave_groups<'a>(&self, jobs: impl IntoIterator<Item = &'a Job>) -> Result<(), Error> {
        let mut members: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for envelope in jobs.into_iter().map(|job| &job.envelope) {
            if let (Some(group), Some(id)) = (envelope.member_of(), &envelope.id) {
                members.entry(group).or_default().push(id.as_str());
            }
        }
        if members.is_empty() {
            return Ok(());
        }
        let mut commands = pipe();
        for ((queue, group), ids) in &members {
            let pending = self.keys().pending(queue, group);
            commands.cmd("SREM").arg(&pending).arg(ids);
            commands.cmd("SCARD").arg(&pending);
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        let mut left = Ok(());
        for (queue, group) in members.into_keys() {
            let (removed, waits_for) = (next::<u64>(&mut answers), next::<u64>(&mut answers));
            let ended = match removed.and(waits_for) {
                Ok(0) => self.complete_anyway(queue, group).await,
                waits_for => waits_for.map(drop),
            };
            left = left.and(ended);
        }
        left
    }

    /// Ends a group. That the job which ends it is none is only said: nothing that is done again would mend it.
    async fn complete_anyway(&self, queue: &Queue, group: &Group) -> Result<(), Error> {
        match self.complete(queue, group).await {
            Err(Error::Wire(error)) => {
                warn!(%queue, %group, %error, "the job that ends this group is none");
                Ok(())
            }
            completed => completed,
        }
    }

    async fn complete(&self, queue: &Queue, group: &Group) -> Result<(), Error> {
        let keys = self.keys();
        let [hash, pending, results] = keys_of(keys, queue, group);
        let about: (Option<Vec<u8>>, Option<String>) =
            self.link().ask(cmd("HMGET").arg(&hash).arg("then").arg("jobs")).await?;
        // Somebody else was quicker.
        let (Some(then), Some(jobs)) = about else { return Ok(()) };
        let jobs: Vec<String> = serde_json::from_str(&jobs).unwrap_or_default();
        let kept: Vec<Option<Vec<u8>>> = match jobs.is_empty() {
            true => Vec::new(),
            false => self.link().ask(cmd("HMGET").arg(&results).arg(jobs)).await?,
        };
        let kept: Vec<_> = kept.into_iter().map(|result| result.map(Bytes::from)).collect();
        let now_ms = self.now_ms();
        let job = completing(&then.into(), &kept, now_ms, keys)?;
        let Some(id) = &job.envelope.id else { return Ok(()) };
        let (lane, record) = (keys.lane(queue, job.envelope.lane), keys.record(queue, id));
        let (age, now) = (millis(limits::RECORD_AGE_MAX).to_string(), now_ms.to_string());
        let fields = record::waiting_new(&job.envelope, &now);
        let mut args: Vec<&[u8]> = vec![job.frame(), age.as_bytes()];
        args.extend(fields.iter().map(|field| field.as_bytes()));
        let run = Run { keys: &[&hash, &pending, &results, &lane, &record], args: &args };
        self.scripts().complete.run(self, &run).await.map(drop)
    }
}

/// Where a group lies: itself, the ids of its jobs that are not done, their results.
fn keys_of(keys: &Keys, queue: &Queue, group: &Group) -> [String; 3] {
    [keys.group(queue, group), keys.pending(queue, group), keys.results(queue, group)]
}

/// Why a result is not counted.
fn no_room(queue: &Queue, group: &Group, result: &Raw) -> WireError {
    let (bytes, max) = (result.bytes().len(), limits::GROUP_RESULTS_BYTES_MAX);
    let detail = format!(
        "its result of {bytes} bytes does not fit into group {queue}:{group}, whose results may have {max} together"
    );
    WireError::new(Code::TooLarge, detail)
}
