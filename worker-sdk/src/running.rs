//! One job from its claim to its end (SPEC "Running a job").
//!
//! Whatever happens here, the job leaves its run list only through `settling`, and only after its reply.

use std::{pin::pin, task::Poll, time::Duration};

use futures_util::poll;
use tempest_broker::{Broker, End};
use tempest_protocol::{Code, Content, Envelope, Failure, Job, Timing, dead};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, warn};

use crate::{
    Context, Failed, background,
    bus::Bus,
    handler::{Handler, Outcome},
    keyed,
    memory::Start,
    report::Ending,
    settling::{self, Settling},
    shared::{Held, InHand, Next, Shared},
    trace,
};

/// How long a handler may take to notice that nobody waits any more, before it is dropped.
const NOTICE: Duration = Duration::from_millis(100);

/// Runs a job, or finds out why it is not to be run, and settles it. Gives what its ack brought along.
pub(crate) async fn run(shared: &Shared, held: Held) -> (Ending, Next) {
    let job = match Job::decode(held.frame.clone(), shared.broker.keys()) {
        Ok(job) => job,
        Err(error) => {
            let queue = held.run.queue();
            shared.undecodable.say(|unsaid| warn!(%queue, %error, unsaid, "this is no job; it goes to dead"));
            let failure = Failure::new(Code::BadJob, error.to_string());
            let now_ms = shared.broker.now_ms();
            let member = dead::undecodable(&held.frame, &failure, now_ms);
            return (
                Ending::Failed,
                settling::settle(shared, held, Settling::Undecodable { member, died_ms: now_ms }).await,
            );
        }
    };
    let key = job.envelope.background.as_ref().and_then(|background| background.key.clone());
    let Some(key) = key else { return run_job(shared, held, job).await };
    if !keyed::admit(shared, &held, &job, &key).await {
        return (Ending::SetAside, Next::Unasked);
    }
    // What comes with the ack would lie in the slot before it is free for another key.
    let (run, held) = (held.run.clone(), Held { chain: None, ..held });
    let (ending, _) = run_job(shared, held, job).await;
    keyed::release(shared, &run, &key).await;
    (ending, Next::Unasked)
}

async fn run_job(shared: &Shared, held: Held, job: Job) -> (Ending, Next) {
    let since = Since::now(&shared.broker);
    let (ending, settling) = match refuse(shared, &job) {
        Some(refused) => refused,
        None => match shared.handler(&job.envelope.action) {
            Some(handler) => start(shared, &held, job, &since, handler).await,
            None => {
                let action = &job.envelope.action;
                let failed = Failed::coded(Code::NoHandler, format!("no handler for action {action}"));
                (Ending::Failed, fail(shared, &job, &since, failed))
            }
        },
    };
    (ending, settling::settle(shared, held, settling).await)
}

/// When a job came into hand: what its reply tells of its time.
pub(crate) struct Since {
    claimed_at_ms: u64,
    begun: Instant,
}

impl Since {
    fn now(broker: &Broker) -> Self {
        Self { claimed_at_ms: broker.now_ms(), begun: Instant::now() }
    }

    /// When the job came into hand, in milliseconds of Redis time.
    pub(crate) fn claimed_at_ms(&self) -> u64 {
        self.claimed_at_ms
    }

    /// The time up to now.
    pub(crate) fn timing(&self) -> Timing {
        let work_us = u64::try_from(self.begun.elapsed().as_micros()).ok();
        Timing { claimed_at_ms: Some(self.claimed_at_ms), work_us }
    }
}

/// Why a claimed job is not started at all: nobody waits for it, or it was run before.
fn refuse(shared: &Shared, job: &Job) -> Option<(Ending, Settling)> {
    let Envelope { id, attempt, .. } = &job.envelope;
    if let Some(id) = id {
        let mut memory = shared.memory();
        if memory.is_cancelled(id) {
            return Some((Ending::Cancelled, Settling::drop(job)));
        }
        if memory.has_finished(id, Start::of(&job.envelope)) {
            debug!(%id, attempt, "finished before; not run again");
            return Some((Ending::Repeated, Settling::drop(job)));
        }
    }
    job.envelope.is_expired(shared.broker.now_ms()).then(|| expired(shared, job))
}

/// Jobs with `reply_to` never enter `dead`: they carry cookies, and whoever waited has given up.
fn expired(shared: &Shared, job: &Job) -> (Ending, Settling) {
    let settling = match &job.envelope.reply_to {
        Some(_) => Settling::Ack { traces: None },
        None => bury(shared, job, Failed::coded(Code::Expired, "its deadline has passed")),
    };
    (Ending::Expired, settling)
}

fn bury(shared: &Shared, job: &Job, failed: Failed) -> Settling {
    let (died_ms, failure) = (shared.broker.now_ms(), Failure::from(failed));
    let member = dead::dead(job, &failure, died_ms);
    let reply = background::kept_failure(job, failure);
    Settling::background(job, End::Dead { member, reply, died_ms })
}

/// How a handler's run ended.
pub(crate) enum Ended {
    Itself(Outcome),
    Cancelled,
    Late,
    TooLong,
    CutShort,
}

async fn start(
    shared: &Shared,
    held: &Held,
    job: Job,
    since: &Since,
    handler: &Handler,
) -> (Ending, Settling) {
    let span = trace::begin(&job.envelope, held.run.queue().as_str());
    let context = Context::new(
        job,
        Bus::redis(&held.run, &shared.broker, since.claimed_at_ms()),
        trace::traceparent(&span),
    );
    let (job, envelope) = (context.job(), &context.job().envelope);
    let entered = shared.enter(InHand { context: context.clone(), since_ms: since.claimed_at_ms });
    if envelope.unique_at_start().is_some() {
        background::begin(shared, &held.run, job, since).await;
    }
    let work = span.in_scope(|| handler(context.clone()));
    let told = background::begin_soon(shared, &held.run, job, since);
    let ended = attend(shared, envelope, work, told, context.cancellation()).instrument(span.clone()).await;
    trace::end(&span, &ended);
    drop(span);
    drop(entered);
    let (ending, settling) = match ended {
        Ended::Itself(Ok(content)) => match done(shared, job, since, content, context.has_log()) {
            Ok(settling) => (Ending::Done, settling),
            Err(failed) => (Ending::Failed, bury(shared, job, failed)),
        },
        Ended::Itself(Err(failed)) => {
            warn!(action = %envelope.action, id = ?envelope.id, attempt = envelope.attempt, %failed, "a job failed");
            shared.hooks.tell(&context, &failed).await;
            (Ending::Failed, fail(shared, job, since, failed))
        }
        Ended::Cancelled => (Ending::Cancelled, Settling::drop(job)),
        Ended::Late => expired(shared, job),
        Ended::TooLong => {
            let limit = format!("the handler ran for {:?}", shared.run_max);
            warn!(action = %envelope.action, id = ?envelope.id, "{limit}");
            let failed = Failed::coded(Code::Timeout, limit);
            shared.hooks.tell(&context, &failed).await;
            (Ending::Failed, fail(shared, job, since, failed))
        }
        Ended::CutShort => (Ending::CutShort, cut_short(shared, job, since)),
    };
    // Not what moves to `later`, `dead` or back, or leaves more behind: if it comes again Redis has forgotten that, too,
    // and an ack alone would lose the job, or what comes after it (SPEC, rule 11).
    if let Some(id) = envelope.id.as_ref().filter(|_| settling.is_for_good()) {
        shared.memory().finish(id, Start::of(envelope));
    }
    (ending, settling)
}

/// Waits for the handler, but not longer than anybody waits for its job.
async fn attend(
    shared: &Shared,
    envelope: &Envelope,
    work: impl Future<Output = Outcome>,
    told: impl Future<Output = ()>,
    cancelled: &CancellationToken,
) -> Ended {
    let mut work = pin!(work);
    // Most have nothing to wait for; they need no clock.
    if let Poll::Ready(outcome) = poll!(work.as_mut()) {
        return by_itself(shared, envelope, outcome, cancelled);
    }
    let limit = Instant::now() + shared.run_max;
    let deadline = match envelope.deadline_ms {
        0 => limit,
        ms => Instant::now() + Duration::from_millis(ms.saturating_sub(shared.broker.now_ms())),
    };
    let mut over = pin!(sleep_until(limit.min(deadline)));
    let ended = tokio::select! {
        biased;
        outcome = &mut work => return by_itself(shared, envelope, outcome, cancelled),
        () = cancelled.cancelled() => Ended::Cancelled,
        () = &mut over => if deadline < limit { Ended::Late } else { Ended::TooLong },
        () = shared.abort.cancelled() => Ended::CutShort,
        () = async { told.await; std::future::pending().await } => unreachable!("it only tells"),
    };
    cancelled.cancel();
    // Whatever it still says, nobody hears it, unless it finished while the worker was told to stop.
    match (timeout(NOTICE, work).await, ended) {
        (Ok(outcome @ Ok(_)), Ended::CutShort) => Ended::Itself(outcome),
        (_, ended) => ended,
    }
}

/// What a handler says that ended by itself counts unless nobody waits any more: it may have failed because of that.
fn by_itself(shared: &Shared, envelope: &Envelope, outcome: Outcome, cancelled: &CancellationToken) -> Ended {
    if cancelled.is_cancelled() {
        return Ended::Cancelled;
    }
    match outcome {
        Err(failed) if envelope.is_expired(shared.broker.now_ms()) => {
            debug!(id = ?envelope.id, %failed, "a handler failed when its deadline had passed");
            Ended::Late
        }
        outcome => Ended::Itself(outcome),
    }
}

/// What a finished job leaves behind: a reply, if somebody waits for one; else what it asked to have kept, and what comes
/// after it.
///
/// Errors: what comes after it is no job.
fn done(
    shared: &Shared,
    job: &Job,
    since: &Since,
    content: Content,
    has_log: bool,
) -> Result<Settling, Failed> {
    match (&job.envelope.reply_to, &job.envelope.id) {
        (Some(_), _) => Ok(answer(job, since, content)),
        (None, Some(_)) if job.envelope.background.is_some() => background::done(shared, job, since, content),
        (None, _) => Ok(Settling::forget(job, has_log)),
    }
}

/// A reply, if somebody waits for one.
fn answer(job: &Job, since: &Since, content: Content) -> Settling {
    match (&job.envelope.reply_to, &job.envelope.id) {
        (Some(_), Some(_)) => settling::reply(job, content, since),
        _ => Settling::Ack { traces: None },
    }
}

/// An error reply if somebody waits; else another attempt later, or `dead`.
fn fail(shared: &Shared, job: &Job, since: &Since, failed: Failed) -> Settling {
    let envelope = &job.envelope;
    if envelope.reply_to.is_some() {
        return answer(job, since, Content::Error(failed.into()));
    }
    if failed.is_final() || envelope.attempt >= envelope.attempts_max() {
        return bury(shared, job, failed);
    }
    let failures = u32::try_from(envelope.attempt).unwrap_or(u32::MAX);
    let wait = tempest_protocol::RETRY.bound(failures).mul_f64(fastrand::f64());
    let due_ms = shared.broker.now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Settling::background(job, End::Later { member: dead::later(job), due_ms, failure: failed.into() })
}

/// Started and not ended: another attempt if there is one left, at once; else it failed.
fn cut_short(shared: &Shared, job: &Job, since: &Since) -> Settling {
    let envelope = &job.envelope;
    if envelope.attempt < envelope.attempts_max() {
        let id = envelope.record_id().cloned();
        return Settling::Restart { member: dead::later(job), lane: envelope.lane, id };
    }
    let failed = Failed::coded(Code::WorkerLost, "the worker was stopped before the job was done");
    match envelope.reply_to {
        Some(_) => answer(job, since, Content::Error(failed.into())),
        None => bury(shared, job, failed),
    }
}
