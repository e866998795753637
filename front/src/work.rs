//! Requests → jobs → replies: the service behind `work`, and its clock (SPEC "The front").

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use tempest_broker::{Error as BusError, Pushing, Waiter};
use tempest_protocol::{Code, Envelope, JobId, Reply, limits};
use tokio::time::{timeout, timeout_at};
use tracing::{debug, warn};

use crate::{
    Cluster, Refusal, body,
    caller::{Caller, RequestId},
    cluster::{QueueState, Shared},
    config::Work as Plan,
    metrics::Outcome,
    parts::JobTime,
    refusal::Form,
    service::tower_service,
    trace::{Trace, traceparent},
    translate,
};

/// How long a request waits for a Redis that is away before it is refused.
pub(crate) const AWAY_PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries to take a push in doubt back.
const TAKE_BACK_PAUSE: Duration = Duration::from_millis(50);

/// A tower service that hands requests to workers of one queue. Made by [`Cluster::work`].
#[derive(Clone)]
pub struct Work {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    plan: Plan,
    state: Arc<QueueState>,
}

impl Work {
    pub(crate) fn new(cluster: Cluster, plan: Plan, state: Arc<QueueState>) -> Self {
        Self { inner: Arc::new(Inner { cluster, plan, state }) }
    }

    /// Hands one request to a worker. Dropping the future cancels the job.
    pub async fn handle(&self, mut request: Request<Body>) -> Response<Body> {
        let form = Form::of(request.headers());
        let caller = Caller::of(&request);
        match self.answer(&mut request, &caller).await {
            Ok((response, _)) => response,
            Err(refusal) => refusal.respond(form, None),
        }
    }

    /// The same, with the time of the job, and with a refusal that is not yet a response. The body is taken out of the
    /// request.
    pub(crate) fn answer(
        &self,
        request: &mut Request<Body>,
        caller: &Caller,
    ) -> impl Future<Output = Result<(Response<Body>, JobTime), Refusal>> + Send {
        self.inner.answer(request, caller)
    }
}

tower_service!(Work);

impl Inner {
    fn shared(&self) -> &Arc<Shared> {
        &self.cluster.shared
    }

    /// What is rare and large in it is boxed: there is one such future for each request that waits, and it is moved
    /// when it begins.
    async fn answer(
        self: &Arc<Self>,
        request: &mut Request<Body>,
        caller: &Caller,
    ) -> Result<(Response<Body>, JobTime), Refusal> {
        let begun = Instant::now();
        let mut slots = self.admit(begun, Duration::ZERO)?;
        let mut body = Bytes::new();
        if !request.body().is_end_stream() {
            let pause_max = self.shared().body_pause_max();
            body = Box::pin(body::read(request, &self.plan, pause_max)).await?;
            // Others came meanwhile, and there is less time: what is still being read is nobody's load.
            let now = Instant::now();
            slots = self.admit(now, now - begun)?;
        }
        let mut admitted = Admitted::new(self.state.clone(), slots);
        let mut call = self.call(request, caller, body);
        let pushed = Instant::now();
        let answer = match timeout_at((begun + self.plan.timeout).into(), call.run()).await {
            Ok(answer) => answer,
            Err(_) => Err(Refusal::new(Code::Timeout)),
        };
        admitted.outcome = Outcome::of(&answer);
        let reply = answer?;
        admitted.completed(reply.timing.work_us.map(Duration::from_micros));
        let (waited, queued_at_ms) = (pushed.elapsed(), call.leave.queued_at_ms);
        let time = JobTime { waited, queued_at_ms, timing: reply.timing };
        Ok((translate::reply_to_response(reply, request.method())?, time))
    }

    /// Refuses what could only wait in vain, of whose time so much is gone. Gives the slots of all workers.
    fn admit(&self, now: Instant, gone: Duration) -> Result<u32, Refusal> {
        let presence = self.shared().broker.presence();
        let prospect = presence.prospect(&self.plan.queue, self.plan.lane);
        let refuse = |refusal: Refusal| {
            self.state.jobs.ended(Outcome::QueueFull);
            Err(refusal)
        };
        let full = presence.memory_full() || prospect.load.bytes > self.plan.caps.bytes;
        if full {
            return refuse(Refusal::new(Code::QueueFull));
        }
        let left = self.plan.timeout.saturating_sub(gone);
        match self.state.load.too_late(prospect, presence.seen(), left, now) {
            Some(wait) => refuse(Refusal::new(Code::QueueFull).after(wait)),
            None => Ok(prospect.slots),
        }
    }

    fn call(self: &Arc<Self>, request: &Request<Body>, caller: &Caller, body: Bytes) -> Call {
        let (plan, shared) = (&self.plan, self.shared());
        let id = caller.request_id.clone().unwrap_or_else(RequestId::new).job_id();
        if let Some(trace) = request.extensions().get::<Trace>() {
            trace.job(&id, &plan.queue, &plan.action);
        }
        let args = translate::request_to_args(request, caller, body);
        let now_ms = shared.broker.now_ms();
        let twice = may_run_twice(request, plan);
        let timeout_ms = u64::try_from(plan.timeout.as_millis()).unwrap_or(u64::MAX);
        let frame = Envelope {
            id: Some(id.clone()),
            reply_to: Some(shared.inbox.key().to_owned()),
            attempts: twice.then_some(limits::ATTEMPTS_SAFE),
            deadline_ms: now_ms.saturating_add(timeout_ms).min(limits::INTEGER_MAX),
            lane: plan.lane,
            queued_at_ms: Some(now_ms),
            traceparent: traceparent(request.headers()),
            ..Envelope::new(plan.action.clone())
        }
        .encode_request(&args, plan.encoding);
        Call {
            waiter: shared.inbox.expect(&id),
            twice,
            leave: Leave {
                inner: self.clone(),
                frame,
                id,
                queued_at_ms: now_ms,
                pushing: None,
                end: End::Open,
            },
        }
    }
}

/// Whether a request may be run again when nobody knows how far it came (RFC 9110 section 9.2.2).
fn may_run_twice<B>(request: &Request<B>, plan: &Plan) -> bool {
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
    idempotent.contains(request.method())
        || (plan.idempotency_key && request.headers().contains_key("idempotency-key"))
}

/// A request that has become a job, and is counted as load.
struct Admitted {
    state: Arc<QueueState>,
    slots: u32,
    is_completed: bool,
    work: Option<Duration>,
    /// What became of its job.
    outcome: Outcome,
}

impl Admitted {
    fn new(state: Arc<QueueState>, slots: u32) -> Self {
        state.load.begun();
        Self { state, slots, is_completed: false, work: None, outcome: Outcome::Cancelled }
    }

    /// Its job was done; in this time, if its worker tells.
    fn completed(&mut self, work: Option<Duration>) {
        (self.is_completed, self.work) = (true, work);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.state.jobs.ended(self.outcome);
        self.state.load.ended(self.is_completed, self.work, self.slots, Instant::now());
    }
}

/// One job and the wait for its reply.
struct Call {
    waiter: Waiter,
    twice: bool,
    leave: Leave,
}

impl Call {
    async fn run(&mut self) -> Result<Reply, Refusal> {
        let Inner { cluster, plan, state } = &*self.leave.inner;
        if !cluster.shared.broker.presence().is_served(&plan.queue) && !state.served_lately() {
            return Box::pin(self.run_unserved()).await;
        }
        loop {
            let pushing = self.leave.push();
            let trouble = tokio::select! {
                biased;
                reply = self.waiter.reply() => return self.answered(reply),
                trouble = pushing.trouble() => trouble,
            };
            if Box::pin(self.settle_push(trouble)).await? {
                let reply = self.waiter.reply().await;
                return self.answered(reply);
            }
        }
    }

    /// Nobody is known to serve the queue: the job is taken back unless somebody has it soon.
    async fn run_unserved(&mut self) -> Result<Reply, Refusal> {
        loop {
            let pushed = self.leave.push().answer().await;
            if self.settle_push(pushed).await? {
                break;
            }
        }
        match timeout(self.leave.inner.plan.no_worker_wait, self.waiter.reply()).await {
            Ok(reply) => {
                self.leave.inner.state.was_answered();
                return self.answered(reply);
            }
            // Others were answered meanwhile: whoever did that is busy.
            Err(_) if self.leave.inner.state.served_lately() => {}
            Err(_) => self.take_back().await?,
        }
        let reply = self.waiter.reply().await;
        self.answered(reply)
    }

    /// Whether the job is in its lane, or may be and must not be pushed again. False: push it again. If the answer to
    /// a push is lost it is pushed again only when it was taken back or may run twice.
    async fn settle_push(&mut self, pushed: Result<u64, BusError>) -> Result<bool, Refusal> {
        let Leave { inner, frame, .. } = &self.leave;
        let (plan, broker) = (&inner.plan, &inner.shared().broker);
        let settled = match pushed {
            Ok(depth) => broker.within_caps(&plan.queue, plan.lane, frame, &plan.caps, depth).await,
            Err(error) => Err(error),
        };
        let Err(error) = settled else { return Ok(true) };
        let sent = matches!(error, BusError::Away(_));
        if matches!(error, BusError::QueueFull { .. }) {
            self.leave.end = End::Unqueued;
            return Err(Refusal::new(Code::QueueFull));
        }
        debug!(%error, queue = %plan.queue, "a push failed");
        if !matches!(error, BusError::Down | BusError::Away(_)) {
            return Err(refused(&error));
        }
        // A push in doubt that must not run twice waits on: only the deadline may end it.
        if timeout(AWAY_PATIENCE, broker.up()).await.is_err() && (!sent || self.twice) {
            self.leave.end = if sent { End::Open } else { End::Unqueued };
            return Err(Refusal::new(Code::RedisAway));
        }
        // What is not repeated runs, or is lost with what Redis lost: the deadline tells.
        Ok(sent && !self.may_repeat().await)
    }

    /// Whether a push in doubt may be sent again: it was surely taken back, or may run twice.
    async fn may_repeat(&self) -> bool {
        let Leave { inner, frame, .. } = &self.leave;
        let (plan, broker) = (&inner.plan, &inner.shared().broker);
        loop {
            broker.up().await;
            match broker.take_back(&plan.queue, plan.lane, frame).await {
                Ok(removed) => return removed || self.twice,
                Err(error) => debug!(%error, "a push in doubt was not taken back"),
            }
            tokio::time::sleep(TAKE_BACK_PAUSE).await;
        }
    }

    /// Nobody is known to serve the queue: if nobody has taken the job by now, nobody will.
    async fn take_back(&mut self) -> Result<(), Refusal> {
        let Leave { inner, frame, .. } = &self.leave;
        let (plan, broker) = (&inner.plan, &inner.shared().broker);
        match broker.take_back(&plan.queue, plan.lane, frame).await {
            Ok(true) => {
                self.leave.end = End::Unqueued;
                Err(Refusal::new(Code::NoWorker))
            }
            Ok(false) => {
                self.leave.inner.state.was_served();
                Ok(())
            }
            Err(error) => {
                debug!(%error, "a job nobody takes was not taken back");
                Ok(())
            }
        }
    }

    /// The job has ended: there is nothing to cancel.
    fn answered(&mut self, reply: Result<Reply, tempest_protocol::Error>) -> Result<Reply, Refusal> {
        self.leave.end = End::Answered;
        reply.map_err(|error| {
            self.leave.inner.shared().unusable.say(|unsaid| warn!(%error, unsaid, "a reply cannot be used"));
            Refusal::new(Code::BadReply)
        })
    }
}

/// What a client is told when Redis does not take its job.
pub(crate) fn refused(error: &BusError) -> Refusal {
    debug!(%error, "Redis does not take a job"); // what is wrong with Redis was said once, by the broker
    Refusal::new(Code::RedisAway)
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has not, or somebody may still work for nothing.
    Open,
    /// With a reply, readable or not.
    Answered,
    /// The job is in no queue: it was never pushed, or was taken back.
    Unqueued,
}

/// Cancels the job when its call ends without a reply: the client left, or the deadline passed.
struct Leave {
    inner: Arc<Inner>,
    frame: Bytes,
    id: JobId,
    queued_at_ms: u64,
    /// The last push, if there was one.
    pushing: Option<Pushing>,
    end: End,
}

impl Leave {
    fn push(&mut self) -> Pushing {
        let plan = &self.inner.plan;
        let pushing = self.inner.shared().broker.push_soon(&plan.queue, plan.lane, &self.frame, &plan.caps);
        self.pushing.insert(pushing).clone()
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        if self.end != End::Open {
            return;
        }
        let (inner, frame) = (self.inner.clone(), self.frame.clone());
        let depth = self.pushing.as_ref().and_then(Pushing::depth).unwrap_or(0);
        let id = self.id.clone();
        self.inner.shared().tasks.spawn(async move {
            let (plan, broker) = (&inner.plan, &inner.shared().broker);
            match broker.cancel(&plan.queue, plan.lane, &frame, &id, depth, plan.kill_after).await {
                Ok(waiting) => debug!(%id, waiting, "cancelled"),
                Err(error) => debug!(%id, %error, "a cancel did not reach Redis"),
            }
        });
    }
}
