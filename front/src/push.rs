//! Requests → background jobs: the client is not kept waiting, it is told where to look (SPEC "Background jobs").

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use serde_json::{json, value::RawValue};
use tempest_broker::{Error as BusError, NewJob, Pushed, PushedUnique, State};
use tempest_protocol::{Code, Encoding, Envelope, Error as WireError, Holds, Job, JobId, Raw, Tag, limits};
use tokio::time::timeout;
use tracing::debug;

use crate::{
    Cluster, Refusal, body,
    caller::{Caller, RequestId},
    cluster::{QueueState, Shared},
    config::Background as Plan,
    metrics::PushOutcome,
    refusal::Form,
    service::tower_service,
    trace::{Trace, traceparent},
    translate,
    work::{AWAY_PATIENCE, refused},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The action whose arguments are the request itself.
const URL: &str = "url";

/// A tower service that makes a background job of each request. Made by [`Cluster::push_route`].
#[derive(Clone)]
pub struct Push {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    plan: Plan,
    state: Arc<QueueState>,
}

/// The job a client asks about from now on, and where that is as far as the front knows.
struct Accepted {
    id: JobId,
    state: Option<State>,
    outcome: PushOutcome,
}

impl Push {
    pub(crate) fn new(cluster: Cluster, plan: Plan, state: Arc<QueueState>) -> Self {
        Self { inner: Arc::new(Inner { cluster, plan, state }) }
    }

    /// Pushes one request: 202, with the id of the job and the address of its status. Dropping the future leaves it
    /// open whether it was pushed.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let form = Form::of(request.headers());
        self.answer(request).await.unwrap_or_else(|refusal| refusal.respond(form, None))
    }

    /// The same, with a refusal that is not yet a response.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        let accepted = self.inner.answer(request).await;
        let outcome = match &accepted {
            Ok(accepted) => accepted.outcome,
            Err(refusal) => PushOutcome::of(refusal.code()),
        };
        self.inner.state.pushes.ended(outcome);
        accepted.map(|accepted| self.inner.respond(&accepted))
    }
}

tower_service!(Push);

impl Inner {
    fn shared(&self) -> &Arc<Shared> {
        &self.cluster.shared
    }

    async fn answer(&self, mut request: Request<Body>) -> Result<Accepted, Refusal> {
        self.admit()?;
        let caller = Caller::of(&request);
        let body = body::read(&mut request, &self.plan.work, self.shared().body_pause_max()).await?;
        let unique = self.unique_key(&request, &caller);
        if !self.plan.credentials {
            request.headers_mut().remove(header::COOKIE);
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let job = self.job(&request, &caller, body, unique.as_ref())?;
        if let Some(trace) = request.extensions().get::<Trace>() {
            trace.job(job.id(), &self.plan.work.queue, &self.plan.work.action);
        }
        let push = timeout(self.plan.work.timeout, self.push(&job, unique.as_ref()));
        let pushed = push.await.map_err(|_| Refusal::new(Code::RedisAway))??;
        self.accept(job.id(), pushed).await
    }

    /// Refuses what would lie in Redis for too long, or make it too full.
    fn admit(&self) -> Result<(), Refusal> {
        let presence = self.shared().broker.presence();
        let bytes = presence.bytes(&self.plan.work.queue, self.plan.work.lane);
        if presence.memory_full() || bytes > self.plan.backlog_bytes_max {
            return Err(Refusal::new(Code::QueueFull));
        }
        Ok(())
    }

    /// What the `Idempotency-Key` of a request stands for: the same of another client, or for something else, is another one.
    fn unique_key(&self, request: &Request<Body>, caller: &Caller) -> Option<Tag> {
        let key = request.headers().get(&IDEMPOTENCY_KEY).filter(|_| self.plan.work.idempotency_key)?;
        let credentials =
            request.headers().get(header::AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let method = request.method().as_str();
        for part in
            [method.as_bytes(), caller.host.as_bytes(), target.as_bytes(), credentials, key.as_bytes()]
        {
            digest.update(&part.len().to_be_bytes());
            digest.update(part);
        }
        Tag::new(format!("idempotency:{}", URL_SAFE_NO_PAD.encode(digest.finish()))).ok()
    }

    fn job(
        &self,
        request: &Request<Body>,
        caller: &Caller,
        body: Bytes,
        unique: Option<&Tag>,
    ) -> Result<NewJob, Refusal> {
        let now_ms = self.shared().broker.now_ms();
        let envelope = self.envelope(request, caller, unique, now_ms);
        let encoding = self.plan.work.encoding;
        let due_ms = self.plan.delay.map(|delay| now_ms.saturating_add(millis(delay)));
        if envelope.action.as_str() == URL {
            let args = translate::request_to_args(request, caller, body);
            let frame = envelope.encode_request(&args, encoding);
            return NewJob::new(&envelope, frame, due_ms).ok_or(Refusal::new(Code::Internal));
        }
        let not_json = |error: WireError| {
            debug!(%error, "a body is no JSON");
            Refusal::not_json()
        };
        let args = args_of(&body, encoding).map_err(not_json)?;
        // Whatever a worker would refuse is refused here.
        let frame = envelope.encode(&args);
        Job::decode(frame.clone(), self.shared().broker.keys()).map_err(not_json)?;
        NewJob::new(&envelope, frame, due_ms).ok_or(Refusal::new(Code::Internal))
    }

    fn envelope(
        &self,
        request: &Request<Body>,
        caller: &Caller,
        unique: Option<&Tag>,
        now_ms: u64,
    ) -> Envelope {
        let plan = &self.plan;
        let id = caller.request_id.clone().unwrap_or_else(RequestId::new).job_id();
        let expires = |ttl: Duration| now_ms.saturating_add(millis(ttl + plan.delay.unwrap_or_default()));
        let background = tempest_protocol::Background {
            keep_ms: millis(plan.keep),
            unique: unique.cloned(),
            unique_while: if unique.is_some() { Holds::Time } else { Holds::default() },
            ..tempest_protocol::Background::default()
        };
        Envelope {
            id: Some(id),
            attempts: plan.attempts,
            deadline_ms: plan.ttl.map_or(0, expires).min(limits::INTEGER_MAX),
            lane: plan.work.lane,
            queued_at_ms: Some(now_ms),
            traceparent: traceparent(request.headers()),
            background: (!background.is_empty()).then(|| Box::new(background)),
            ..Envelope::new(plan.work.action.clone())
        }
    }

    /// Pushes the job, and once more if the answer was lost: of one id there is one job.
    async fn push(&self, job: &NewJob, unique: Option<&Tag>) -> Result<PushedUnique, Refusal> {
        match self.push_once(job, unique).await {
            Err(BusError::Down | BusError::Away(_)) => {
                if timeout(AWAY_PATIENCE, self.shared().broker.up()).await.is_err() {
                    return Err(Refusal::new(Code::RedisAway));
                }
                self.push_once(job, unique).await
            }
            pushed => pushed,
        }
        .map_err(|error| refused(&error))
    }

    async fn push_once(&self, job: &NewJob, unique: Option<&Tag>) -> Result<PushedUnique, BusError> {
        let (broker, queue) = (&self.shared().broker, &self.plan.work.queue);
        match unique {
            Some(key) => {
                broker.enqueue_unique(queue, job, key, Holds::Time, millis(self.plan.idempotency)).await
            }
            None => {
                let pushed = broker.enqueue(queue, std::slice::from_ref(job)).await?;
                Ok(PushedUnique::Pushed(pushed.first().copied().unwrap_or(Pushed::NoRoom)))
            }
        }
    }

    async fn accept(&self, id: &JobId, pushed: PushedUnique) -> Result<Accepted, Refusal> {
        let state = Some(if self.plan.delay.is_some() { State::Later } else { State::Waiting });
        let of = |outcome| Accepted { id: id.clone(), state, outcome };
        match pushed {
            PushedUnique::Pushed(Pushed::New) => Ok(of(PushOutcome::Pushed)),
            PushedUnique::Pushed(Pushed::Known) => Ok(of(PushOutcome::Known)),
            PushedUnique::Pushed(Pushed::NoRoom) => Err(Refusal::new(Code::QueueFull)),
            PushedUnique::Held(id) => {
                let record = self.shared().broker.record(&self.plan.work.queue, &id).await;
                let state = record.ok().flatten().map(|record| record.state);
                Ok(Accepted { id, state, outcome: PushOutcome::Known })
            }
        }
    }

    fn respond(&self, accepted: &Accepted) -> Response<Body> {
        let status = self.plan.status_of(&accepted.id);
        let mut about = json!({ "id": accepted.id.as_str(), "queue": self.plan.work.queue.as_str() });
        if let Some(state) = accepted.state {
            about["state"] = state.as_str().into();
        }
        if let Some(status) = &status {
            about["status"] = status.as_str().into();
        }
        let mut response = Response::new(Body::from(format!("{about}\n")));
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(location) = status.and_then(|status| HeaderValue::try_from(status).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

/// A body that is JSON, as arguments; an empty one is null.
///
/// Errors: it is no JSON.
fn args_of(body: &Bytes, encoding: Encoding) -> Result<Raw, WireError> {
    let wrong = |error: serde_json::Error| WireError::new(Code::BadJson, error.to_string());
    if body.is_empty() {
        return Ok(Raw::null(encoding));
    }
    match encoding {
        // As it was sent: numbers of any length, and the order of fields.
        Encoding::Json => Raw::encode(encoding, &serde_json::from_slice::<&RawValue>(body).map_err(wrong)?),
        Encoding::MsgPack => {
            Raw::encode(encoding, &serde_json::from_slice::<serde_json::Value>(body).map_err(wrong)?)
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
