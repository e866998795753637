//! What is done for a job that nobody waits for, beside running it: its record, its result, what comes after it (SPEC
//! "Background jobs").

use bytes::Bytes;
use tempest_broker::{Broker, End, Error, NewJob, Pushed, RunList};
use tempest_protocol::{
    Code, Content, Failure, Following, Group, Job, JobId, Queue, Raw, Reply, Timing, following, for_group,
    limits,
};
use tracing::debug;

use crate::{Failed, running::Since, settling::Settling, shared::Shared};

/// Says in the record of a job that it runs, when it has run for a moment: most are over before that.
pub(crate) async fn begin_soon(shared: &Shared, run: &RunList, job: &Job, since: &Since) {
    if job.envelope.record_id().is_some() {
        tokio::time::sleep(limits::TELL_RUNNING).await;
        begin(shared, run, job, since).await;
    }
}

/// Says it now. That it could not be said harms nobody.
pub(crate) async fn begin(shared: &Shared, run: &RunList, job: &Job, since: &Since) {
    if let Err(error) = shared.broker.begin(run, job, since.claimed_at_ms()).await {
        debug!(%error, "the record of a job does not say that it runs");
    }
}

/// How a job ends that is done.
///
/// Errors: what comes after it is no job; its result is too large to be kept or handed on, or none for its group.
pub(crate) fn done(shared: &Shared, job: &Job, since: &Since, content: Content) -> Result<Settling, Failed> {
    let (timing, done_at_ms) = (since.timing(), shared.broker.now_ms());
    let result = match &content {
        Content::Result(result) => result.clone(),
        _ => Raw::null(job.encoding()),
    };
    let next = following(job, &result, done_at_ms, shared.broker.keys());
    let next = next.map_err(|error| Failed::coded(Code::BadJob, format!("then: {}", error.detail())))?;
    if next.is_some() {
        fits(result.bytes().len())?;
    }
    let after = After::of(job, next, &result)?;
    let end = End::Done { reply: kept(job, content, timing)?, done_at_ms, work_us: timing.work_us };
    Ok(Settling::End { job: Box::new(job.clone()), end, after })
}

/// What is kept of a job for whoever waits for its result.
///
/// Errors: `too_large`, `bad_reply`: it cannot be kept.
fn kept(job: &Job, content: Content, timing: Timing) -> Result<Option<Bytes>, Failed> {
    let Some(reply) = keeping(job, content) else { return Ok(None) };
    let reply = reply.timed(timing).encode(job.encoding());
    let reply = reply.map_err(|error| Failed::coded(Code::BadReply, error.to_string()))?;
    fits(reply.len())?;
    Ok(Some(reply))
}

/// What is kept of a job that is given up.
pub(crate) fn kept_failure(job: &Job, failure: Failure) -> Option<Bytes> {
    keeping(job, Content::Error(failure))?.encode(job.encoding()).ok()
}

/// None: the job keeps nothing.
fn keeping(job: &Job, content: Content) -> Option<Reply> {
    job.envelope.background.as_ref().filter(|background| background.keep_ms > 0)?;
    Some(Reply::last(job.envelope.id.clone()?, job.envelope.attempt, content))
}

/// Errors: `too_large`: nobody keeps so much, or hands it on.
fn fits(bytes: usize) -> Result<(), Failed> {
    if bytes <= limits::REPLY_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("a result of {bytes} bytes; {} are allowed", limits::REPLY_BYTES_MAX);
    Err(Failed::coded(Code::TooLarge, detail))
}

/// What is to be done before a job that is done may leave its run list. Doing it twice is harmless.
#[derive(Default)]
pub(crate) struct After {
    next: Option<Box<Following>>,
    group: Option<((Queue, Group), JobId, Raw)>,
}

impl After {
    /// Errors: the group of the job cannot hold its result.
    fn of(job: &Job, next: Option<Following>, result: &Raw) -> Result<Self, Failed> {
        let counted = |(group, id): (&(Queue, Group), &JobId)| match for_group(result) {
            Ok(result) => Ok((group.clone(), id.clone(), result)),
            Err(error) => Err(Failed::coded(Code::BadJob, format!("group: {}", error.detail()))),
        };
        let group = job.envelope.member_of().zip(job.envelope.id.as_ref()).map(counted).transpose()?;
        Ok(Self { next: next.map(Box::new), group })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next.is_none() && self.group.is_none()
    }

    /// Counts the job in its group, and pushes the next one of its chain. In this order: what its group cannot hold is
    /// dead, and a dead job has its chain with it.
    ///
    /// Errors: `too_large`: its result does not fit into its group; Redis is away or refuses: do it again.
    pub(crate) async fn carry_out(&self, broker: &Broker, queue: &Queue) -> Result<(), Error> {
        if let Some((group, id, result)) = &self.group {
            broker.count_in_group(group, id, result).await?;
        }
        let Some(next) = &self.next else { return Ok(()) };
        let queue = next.queue.as_ref().unwrap_or(queue);
        broker.announce(std::slice::from_ref(queue)).await?;
        match NewJob::of(&next.job) {
            Some(job) => match broker.enqueue(queue, &[job]).await?.contains(&Pushed::NoRoom) {
                true => Err(Error::QueueFull { queue: queue.to_string() }),
                false => Ok(()),
            },
            None => {
                let (lane, frame) = (next.job.envelope.lane, next.job.frame());
                broker.push_soon(queue, lane, frame, &Default::default()).answer().await.map(drop)
            }
        }
    }
}
