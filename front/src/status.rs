//! What is known of a background job, for whoever knows its id: its record, and what came out of it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, Uri, header};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tempest_broker::{Error as BusError, Record, State};
use tempest_protocol::{Code, Content, Encoding, JobId, Queue, Reply};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::{
    Cluster, FrontConfig, Refusal, Route, refusal::Form, router::PathParams, service::tower_service,
};

/// The longest wait that a client can ask for.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Pauses between two looks of one that waits: each is half as long again as the one before.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long a look may take.
const LOOK: Duration = Duration::from_secs(3);
/// The longest `Retry-After`, in seconds.
const RETRY_MAX: u64 = 3600;

/// A tower service that tells what became of background jobs. Made by [`Cluster::status`].
#[derive(Clone)]
pub struct Status {
    cluster: Cluster,
    queues: Arc<[Queue]>,
    /// The only queue; none: the path names it.
    queue: Option<Queue>,
    wait_max: Duration,
}

impl Status {
    /// Of a route that was checked.
    pub(crate) fn new(cluster: &Cluster, config: &FrontConfig, route: &Route) -> Self {
        let queues: Arc<[Queue]> = route.shown_queues(config).into();
        let queue = route.queue.as_ref().and_then(|_| queues.first().cloned());
        let timeout = Duration::from_millis(route.timeout_ms.unwrap_or(config.timeout_ms));
        Self { cluster: cluster.clone(), queues, queue, wait_max: WAIT_MAX.min(timeout) }
    }

    /// Of the jobs of one queue, under a configuration.
    pub(crate) fn of_queue(cluster: &Cluster, config: &FrontConfig, queue: &str) -> Self {
        let route = Route { jobs: true, queue: Some(queue.into()), ..Route::default() };
        Self::new(cluster, config, &route)
    }

    /// Answers one request: with what is known of the job whose id is the path, as far as that is left after nesting.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let form = Form::of(request.headers());
        let id = request.uri().path().trim_start_matches('/');
        let answer = self.answer(&PathParams::of("id", id), request.method(), request.uri()).await;
        answer.unwrap_or_else(|refusal| refusal.respond(form, None))
    }

    /// Answers with what is known of the job that the path names; with `wait` once it has ended, or the time is over.
    pub(crate) async fn answer(
        &self,
        params: &PathParams,
        method: &Method,
        uri: &Uri,
    ) -> Result<Response<Body>, Refusal> {
        if *method != Method::GET && *method != Method::HEAD {
            return Err(Refusal::method_not_allowed("GET, HEAD".into()));
        }
        let wait = wait_of(uri.query()).ok_or(Refusal::new(Code::BadHttp))?;
        let (queue, id) = self.named(params).ok_or(Refusal::new(Code::NotFound))?;
        let record = self.settled(&queue, &id, wait.min(self.wait_max)).await?;
        let record = record.ok_or(Refusal::new(Code::NotFound))?;
        let reply = match record.state {
            State::Done | State::Dead => self.result(&queue, &id).await?,
            _ => None,
        };
        Ok(self.respond(&shown(&queue, &id, &record, reply.as_ref()), &record))
    }

    /// The job of a path; none if it names none, or one of a queue that is not shown.
    fn named(&self, params: &PathParams) -> Option<(Queue, JobId)> {
        let queue = match &self.queue {
            Some(queue) => queue.clone(),
            None => Queue::new(params.get("queue")?).ok()?,
        };
        let id = JobId::new(params.get("id")?).ok()?;
        self.queues.contains(&queue).then_some((queue, id))
    }

    /// The record, once the job has ended or this time is over. It ends early when the front does.
    async fn settled(&self, queue: &Queue, id: &JobId, wait: Duration) -> Result<Option<Record>, Refusal> {
        let (until, mut pause) = (Instant::now() + wait, PAUSE);
        loop {
            let record = look(self.cluster.shared.broker.record(queue, id)).await?;
            let lives = record.as_ref().is_some_and(|it| !matches!(it.state, State::Done | State::Dead));
            let left = until.saturating_duration_since(Instant::now());
            if !lives || left.is_zero() || self.cluster.is_draining() {
                return Ok(record);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    async fn result(&self, queue: &Queue, id: &JobId) -> Result<Option<Reply>, Refusal> {
        look(self.cluster.shared.broker.result(queue, id)).await
    }

    fn respond(&self, about: &str, record: &Record) -> Response<Body> {
        let mut response = Response::new(Body::from(about.to_owned()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(seconds) = retry_after(record, self.cluster.shared.broker.now_ms()) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

tower_service!(Status);

/// Asks Redis, no longer than a look may take.
async fn look<T>(asked: impl Future<Output = Result<T, BusError>>) -> Result<T, Refusal> {
    match timeout(LOOK, asked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(BusError::Wire(error))) => {
            warn!(%error, "a kept result cannot be used");
            Err(Refusal::new(Code::BadReply))
        }
        Ok(Err(error)) => {
            debug!(%error, "Redis does not tell of a job");
            Err(Refusal::new(Code::RedisAway))
        }
        Err(_) => Err(Refusal::new(Code::RedisAway)),
    }
}

/// How long a query asks to wait: `wait=5s`, `wait=500ms`, `wait=5`; not at all if it does not say. None: nobody can tell.
fn wait_of(query: Option<&str>) -> Option<Duration> {
    let mut fields = query.unwrap_or_default().split('&');
    let Some(text) = fields.find_map(|field| field.strip_prefix("wait=")) else {
        return Some(Duration::ZERO);
    };
    let (number, unit_ms) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1_000),
        (None, None) => (text, 1_000),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too large is longer than anybody waits.
    let number = is_number.then(|| number.parse::<u64>().unwrap_or(u64::MAX))?;
    Some(Duration::from_millis(number.saturating_mul(unit_ms)))
}

/// When to ask again, in seconds; none: nothing will change.
fn retry_after(record: &Record, now_ms: u64) -> Option<u64> {
    match record.state {
        State::Waiting | State::Running => Some(1),
        State::Later => {
            let left_ms = record.due_ms.unwrap_or(now_ms).saturating_sub(now_ms);
            Some(left_ms.div_ceil(1_000).clamp(1, RETRY_MAX))
        }
        State::Done | State::Dead => None,
    }
}

/// What a client is shown. Of a failure the code: its message is for logs. Of a worker nothing.
#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    queue: &'a str,
    state: &'static str,
    #[serde(flatten)]
    told: BTreeMap<&'static str, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a RawValue>,
    #[serde(flatten)]
    outcome: BTreeMap<&'static str, Box<RawValue>>,
}

fn shown(queue: &Queue, id: &JobId, record: &Record, reply: Option<&Reply>) -> String {
    let progress = record.progress.as_ref().and_then(|json| serde_json::from_str(json.as_str()).ok());
    let shown = Shown {
        id: id.as_str(),
        queue: queue.as_str(),
        state: record.state.as_str(),
        told: told(record),
        progress,
        outcome: reply.map(outcome).unwrap_or_default(),
    };
    serde_json::to_string(&shown).unwrap_or_default() + "\n"
}

/// What the record says and its state goes with: the rest is of an earlier one.
fn told(record: &Record) -> BTreeMap<&'static str, Value> {
    let when = |state: State, number: Option<u64>| number.filter(|_| record.state == state).map(Value::from);
    let failed = matches!(record.state, State::Later | State::Dead);
    let code = record.failure.as_ref().filter(|_| failed).map(|failure| failure.code.as_str().into());
    [
        ("action", record.action.as_ref().map(|action| action.as_str().into())),
        ("queued_at", record.queued_at_ms.map(Value::from)),
        ("attempt", record.attempt.map(Value::from)),
        ("since", when(State::Running, record.since_ms)),
        ("due", when(State::Later, record.due_ms)),
        ("code", code),
        ("done_at", when(State::Done, record.done_at_ms)),
        ("died_at", when(State::Dead, record.died_at_ms)),
        ("work_us", when(State::Done, record.work_us)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// What came out of a job: its `result` as it is, or its HTTP `response` as on the wire. Nothing of one that failed.
fn outcome(reply: &Reply) -> BTreeMap<&'static str, Box<RawValue>> {
    let Ok(frame) = reply.encode(Encoding::Json).inspect_err(|error| {
        warn!(id = %reply.id, %error, "a result cannot be shown as JSON");
    }) else {
        return BTreeMap::new();
    };
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&frame).unwrap_or_default();
    let (name, value) = match reply.content {
        Content::Result(_) => ("result", fields.remove("result")),
        Content::Http { .. } => {
            fields.retain(|name, _| ["status", "headers", "body", "body_base64"].contains(&name.as_str()));
            ("response", serde_json::value::to_raw_value(&fields).ok())
        }
        Content::Part(_) | Content::Error(_) => return BTreeMap::new(),
    };
    value.map(|value| (name, value)).into_iter().collect()
}
