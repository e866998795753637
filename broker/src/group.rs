//! Groups: several jobs of which one more is told when all are done (SPEC "Background jobs", Groups).

use bytes::Bytes;
use redis::{cmd, pipe};
use tempest_protocol::{Code, Error as WireError, Group, Job, JobId, Queue, Raw, completing, limits};

use crate::{Broker, Error, clock::millis, record, script::Run};

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
        let (hash, pending) = (self.keys().group(queue, group), self.keys().pending(queue, group));
        let (age, now_ms) = (millis(limits::RECORD_AGE_MAX), self.now_ms());
        let mut commands = pipe();
        commands.cmd("HSET").arg(&hash).arg("then").arg(then.as_ref());
        commands.arg("jobs").arg(listed).arg("queued_at").arg(now_ms);
        commands.cmd("SADD").arg(&pending).arg(ids);
        commands.cmd("PEXPIRE").arg(&hash).arg(age);
        commands.cmd("PEXPIRE").arg(&pending).arg(age);
        self.link().transact::<redis::Value>(&commands).await.map(drop)
    }

    /// Counts a job as done in its group, and ends the group if it was the last. To be done before the job is acked; doing it
    /// again is harmless.
    ///
    /// Errors: the job that ends the group is none; Redis is away or refuses.
    pub async fn count_in_group(
        &self,
        (queue, group): &(Queue, Group),
        id: &JobId,
        result: &Raw,
    ) -> Result<(), Error> {
        let keys = self.keys();
        let (hash, pending, results) =
            (keys.group(queue, group), keys.pending(queue, group), keys.results(queue, group));
        let run = Run { keys: &[&hash, &pending, &results], args: &[id.as_str().as_bytes(), result.bytes()] };
        if self.scripts().count.run(self, &run).await? == 0 {
            self.complete(queue, group).await?;
        }
        Ok(())
    }

    async fn complete(&self, queue: &Queue, group: &Group) -> Result<(), Error> {
        let keys = self.keys();
        let (hash, pending, results) =
            (keys.group(queue, group), keys.pending(queue, group), keys.results(queue, group));
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
