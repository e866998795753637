//! How a job leaves its run list, however long Redis takes to agree (SPEC "Ack").
//!
//! Reply first, ack second. What Redis refused or what got lost is done again until it is confirmed; only the reply
//! is given up when its deadline has passed.

use std::time::Duration;

use bytes::Bytes;
use tempest_broker::{Acked, Broker, End, Error, Settled, Traces, Trouble};
use tempest_protocol::{Code, Content, Envelope, Failure, Job, JobId, Lane, Reply, dead, limits};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    background::{self, After},
    running::Since,
    shared::{Held, Next, Shared},
};

/// What is in trouble while jobs cannot be settled.
const PART: &str = "replies";
/// The longest wait before a settlement that Redis refused is tried again: somebody may be waiting for it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often what comes before the end of a job may be refused.
const REFUSALS_MAX: u32 = 5;

/// What is to happen to a job.
pub(crate) enum Settling {
    /// Remove it; nobody waits. What a background job leaves behind goes, too.
    Ack { traces: Option<Traces> },
    /// Reply, then remove it.
    Reply { reply_to: String, reply: Bytes, deadline_ms: u64 },
    /// Another attempt at once.
    Restart { member: Bytes, lane: Lane, id: Option<JobId> },
    /// A background job ends, or ends for now: do what comes before that, then write its record.
    End { job: Box<Job>, end: End, after: After },
    /// Keep bytes in `dead` that are no job.
    Undecodable { member: Bytes, died_ms: u64 },
}

impl Settling {
    /// The end of a background job after which nothing comes.
    pub(crate) fn background(job: &Job, end: End) -> Self {
        Self::End { job: Box::new(job.clone()), end, after: After::default() }
    }

    /// What is done instead if what comes before the end of a job cannot be: `dead`, where a human finds why. Its group has
    /// no room for its result, or that was refused time and again (its account may not write to that queue, a key has a
    /// wrong type). None: it is tried again.
    fn instead(&self, broker: &Broker, error: &Error, failures: u32) -> Option<Self> {
        let Self::End { job, after, .. } = self else { return None };
        let failure = refusal(error, failures).filter(|_| !after.is_empty())?;
        let Envelope { id, action, .. } = &job.envelope;
        warn!(?id, %action, code = failure.code, why = failure.message, "a job that ended well goes to dead");
        let died_ms = broker.now_ms();
        let member = dead::dead(job, &failure, died_ms);
        let reply = background::kept_failure(job, failure);
        Some(Self::background(job, End::Dead { member, reply, died_ms }))
    }

    /// The job, if it is to leave its group when it is gone: nothing came out of it.
    fn leaver(&self) -> Option<&Job> {
        match self {
            Self::End { job, end: End::Gone, .. } => job.envelope.member_of().map(|_| &**job),
            _ => None,
        }
    }

    /// A job was cancelled, or was done before.
    pub(crate) fn drop(job: &Job) -> Self {
        match (&job.envelope.reply_to, &job.envelope.background) {
            (None, Some(_)) => Self::background(job, End::Gone),
            (None, None) => Self::forget(job, true),
            (Some(_), _) => Self::Ack { traces: None },
        }
    }

    /// A background job of which nothing is kept.
    pub(crate) fn forget(job: &Job, has_log: bool) -> Self {
        let has_log = has_log || job.envelope.attempt > 1;
        Self::Ack { traces: job.envelope.id.clone().map(|id| Traces { id, has_log }) }
    }

    /// Whether it is not to be run again if it comes again. What moves to `later`, `dead` or back is, and what leaves more
    /// behind than nothing.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Self::Ack { .. } | Self::Reply { .. } => true,
            Self::End { job, end: End::Done { .. }, .. } => !leaves_more(job),
            Self::End { end, .. } => matches!(end, End::Gone),
            Self::Restart { .. } | Self::Undecodable { .. } => false,
        }
    }
}

/// Why what comes before the end of a job will not be done, if that is sure.
fn refusal(error: &Error, failures: u32) -> Option<Failure> {
    let is_final = matches!(error.trouble(), Trouble::Operator | Trouble::Final);
    match error {
        Error::Wire(error) if error.code() == Code::TooLarge => {
            Some(Failure::new(error.code(), error.detail()))
        }
        Error::QueueFull { .. } => None,
        _ if is_final && failures >= REFUSALS_MAX => {
            Some(Failure::new(Code::BadJob, format!("what comes after it cannot be pushed: {error}")))
        }
        _ => None,
    }
}

/// Whether the end of a job leaves something behind: a result, or what comes after it.
fn leaves_more(job: &Job) -> bool {
    let background = job.envelope.background.as_ref();
    background.is_some_and(|said| said.keep_ms > 0 || said.group.is_some() || said.then.is_some())
}

/// The reply to a job that has an id and a mailbox. Content that its encoding or the limit cannot hold becomes an
/// error.
pub(crate) fn reply(job: &Job, content: Content, since: &Since) -> Settling {
    let envelope = &job.envelope;
    let (Some(id), Some(reply_to)) = (&envelope.id, &envelope.reply_to) else {
        return Settling::Ack { traces: None };
    };
    let timing = since.timing();
    let encode =
        |content| Reply::last(id.clone(), envelope.attempt, content).timed(timing).encode(job.encoding());
    let bad = |detail: String| {
        warn!(%id, action = %envelope.action, detail, "the reply cannot be sent");
        encode(Content::Error(Failure::new(Code::BadReply, detail))).unwrap_or_default()
    };
    let reply = match encode(content) {
        Ok(reply) if reply.len() > limits::REPLY_BYTES_MAX => {
            bad(format!("a reply of {} bytes; {} are allowed", reply.len(), limits::REPLY_BYTES_MAX))
        }
        Ok(reply) => reply,
        Err(error) => bad(error.to_string()),
    };
    Settling::Reply { reply_to: reply_to.clone(), reply, deadline_ms: envelope.deadline_ms }
}

/// Does it, for as long as it takes. A refused reply whose job is acked already waits beside the slot. Gives what the
/// ack brought along.
pub(crate) async fn settle(shared: &Shared, held: Held, settling: Settling) -> Next {
    match settling {
        Settling::Reply { reply_to, reply, deadline_ms } => {
            let (reply, until) = (Some(reply), until(shared, deadline_ms));
            answer(shared, Open { reply_to, reply, ack: true, held, until, next: Next::Unasked }).await
        }
        Settling::Ack { traces } => ack(shared, held, traces).await,
        other => {
            carry_out(&shared.broker, &held, other).await;
            Next::Unasked
        }
    }
}

async fn carry_out(broker: &Broker, held: &Held, mut settling: Settling) {
    let mut failures = 0;
    let acked = loop {
        match try_once(broker, held, &settling).await {
            Ok(acked) => break acked,
            Err(error) => match settling.instead(broker, &error, failures + 1) {
                Some(instead) => settling = instead,
                None => pause(broker, &error, &mut failures).await,
            },
        }
    };
    settled(broker, failures);
    // What is found to be taken away after a failure was removed by the try whose answer was lost.
    if let Some(job) = settling.leaver().filter(|_| acked == Acked::Done || failures > 0) {
        leave_group(broker, job).await;
    }
}

/// Counts a job that was removed in its group; what refuses that for good is not waited for.
async fn leave_group(broker: &Broker, job: &Job) {
    let mut failures = 0;
    while let Err(error) = broker.leave_groups([job]).await {
        if refusal(&error, failures + 1).is_some() {
            warn!(id = ?job.envelope.id, %error, "a cancelled job is not counted in its group, which waits until it expires");
            break;
        }
        pause(broker, &error, &mut failures).await;
    }
    settled(broker, failures);
}

async fn try_once(broker: &Broker, held: &Held, settling: &Settling) -> Result<Acked, Error> {
    let Held { run, frame, .. } = held;
    match settling {
        Settling::End { job, end, after } => {
            after.carry_out(broker, run.queue()).await?;
            broker.end(run, job, end).await
        }
        Settling::Restart { member, lane, id } => {
            broker.restart(run, frame, member, *lane, id.as_ref()).await
        }
        Settling::Undecodable { member, died_ms } => broker.bury(run, frame, member, *died_ms).await,
        Settling::Ack { .. } | Settling::Reply { .. } => broker.ack(run, frame).await,
    }
}

/// Acks a job, and takes the next one behind it if it may. That is asked for once at most, and not when the job may have
/// been taken away: then its record stays, and a script looks.
async fn ack(shared: &Shared, mut held: Held, traces: Option<Traces>) -> Next {
    let (broker, mut next, mut failures) = (&shared.broker, Next::Unasked, 0);
    loop {
        let in_doubt = failures > 0 || held.begun.elapsed() >= limits::SHORT_JOB;
        let Held { run, frame, chain, .. } = &mut held;
        let acked = match (chain.take(), &traces) {
            (_, Some(traces)) if in_doubt => broker.finish_if_held(run, frame, traces).await,
            (Some(lane), traces) => match broker.finish_and_take(run, frame, traces.as_ref(), lane).await {
                Ok((acked, came)) => {
                    next = Next::Came(came.unwrap_or_default());
                    acked
                }
                Err(error) => {
                    next = if matches!(error, Error::Down) { Next::Came(None) } else { Next::Lost };
                    Err(error)
                }
            },
            (None, Some(traces)) => broker.finish(run, frame, traces).await,
            (None, None) => broker.ack(run, frame).await,
        };
        match acked {
            Ok(_) => break,
            Err(error) => pause(broker, &error, &mut failures).await,
        }
    }
    settled(broker, failures);
    next
}

/// When a reply is of no use any more.
fn until(shared: &Shared, deadline_ms: u64) -> Instant {
    let left = match deadline_ms {
        0 => limits::HTTP_DEADLINE,
        ms => Duration::from_millis(ms.saturating_sub(shared.broker.now_ms())),
    };
    Instant::now() + left
}

/// A reply and an ack, as far as Redis has not confirmed them.
struct Open {
    reply_to: String,
    reply: Option<Bytes>,
    ack: bool,
    held: Held,
    until: Instant,
    next: Next,
}

async fn answer(shared: &Shared, mut open: Open) -> Next {
    let mut failures = 0;
    while let Err(error) = open.try_once(&shared.broker).await {
        if open.is_settled() {
            return open.next; // given up
        }
        if !open.ack
            && let Ok(permit) = shared.kept_permits.clone().try_acquire_owned()
        {
            let broker = shared.broker.clone();
            let next = std::mem::replace(&mut open.next, Next::Unasked);
            shared.kept.spawn(async move {
                pause(&broker, &error, &mut failures).await;
                open.finish(&broker, failures).await;
                drop(permit);
            });
            return next;
        }
        pause(&shared.broker, &error, &mut failures).await;
    }
    settled(&shared.broker, failures);
    open.next
}

/// It was done in the end.
fn settled(broker: &Broker, failures: u32) {
    if failures > 0 {
        broker.stats().faults.well(PART);
    }
}

impl Open {
    fn is_settled(&self) -> bool {
        self.reply.is_none() && !self.ack
    }

    async fn finish(&mut self, broker: &Broker, mut failures: u32) {
        while let Err(error) = self.try_once(broker).await {
            if self.is_settled() {
                return;
            }
            pause(broker, &error, &mut failures).await;
        }
        settled(broker, failures);
    }

    /// Sends what is left. The next job is asked for once at most.
    async fn send(&mut self, broker: &Broker) -> Result<Settled, Error> {
        let Held { run, frame, chain, .. } = &mut self.held;
        let Some(reply) = &self.reply else {
            return Ok(Settled { reply: Ok(()), ack: broker.ack(run, frame).await });
        };
        match (self.ack, chain.take()) {
            (true, None) => broker.answer_and_ack(&self.reply_to, reply, run, frame).await,
            (true, Some(lane)) => {
                let sent = broker.answer_ack_and_take(&self.reply_to, reply, run, frame, lane).await;
                self.next = match &sent {
                    Ok((_, Ok(next))) => Next::Came(next.clone()),
                    Ok((_, Err(_))) | Err(Error::Down) => Next::Came(None),
                    Err(_) => Next::Lost,
                };
                sent.map(|(settled, _)| settled)
            }
            (false, _) => {
                let reply = broker.reply(&self.reply_to, reply).await;
                Ok(Settled { reply, ack: Ok(Acked::Done) })
            }
        }
    }

    /// Does what is left, once. Gives the first error.
    async fn try_once(&mut self, broker: &Broker) -> Result<(), Error> {
        let result = match self.send(broker).await {
            Ok(Settled { reply, ack }) => {
                if reply.is_ok() {
                    self.reply = None;
                }
                self.ack &= ack.is_err();
                reply.and(ack.map(drop))
            }
            Err(error) => Err(error),
        };
        if let (Err(error), Some(_)) = (&result, &self.reply)
            && Instant::now() >= self.until
        {
            // Nobody waits any more: whoever did has been told so. What is wrong with Redis was said once.
            debug!(%error, mailbox = self.reply_to, "a reply could not be delivered before its deadline");
            self.reply = None;
        }
        result
    }
}

async fn pause(broker: &Broker, error: &Error, failures: &mut u32) {
    *failures = failures.saturating_add(1);
    broker.stats().faults.failed(PART, error);
    debug!(%error, failures, "a job could not be settled; trying on");
    match error {
        Error::Down | Error::Away(_) => {
            tokio::time::sleep(Duration::from_millis(5)).await; // the link notices by itself
            broker.up().await;
        }
        refused => tokio::time::sleep(refused.trouble().pause(*failures).min(PAUSE_MAX)).await,
    }
}
