//! What the first page shows, as JSON: documented in docs/operations/admin.md.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use tempest_broker::{QueueLimits, QueueState, WorkerState};
use tempest_protocol::{Lane, Queue, limits};
use tokio::{sync::Mutex, time::timeout};

use super::{Unready, millis, readiness, short};
use crate::{recent::Refused, server::Serving};

/// How old an answer may be: several people may look at once.
const FRESH: Duration = Duration::from_millis(500);
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than these are not shown.
const QUEUES_MAX: usize = 200;
const WORKERS_MAX: usize = 500;
const TOPICS_MAX: usize = 50;
const JOBS_MAX: usize = 16;

/// A front that is asked for its state.
pub(super) struct Asked {
    serving: Arc<Serving>,
    begun: Instant,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    text: String,
    at: Option<Instant>,
    /// Jobs of workers that do not tell, and when they were first seen in hand, in milliseconds of Redis time.
    seen: HashMap<(String, String), u64>,
}

impl Asked {
    pub(super) fn new(serving: Arc<Serving>) -> Self {
        Self { serving, begun: Instant::now(), last: Mutex::default() }
    }

    pub(super) fn serving(&self) -> &Serving {
        &self.serving
    }

    /// Something has changed: the next one who asks sees it.
    pub(super) async fn forget(&self) {
        self.last.lock().await.at = None;
    }

    /// The state as a JSON document. `changes`: whether anybody may change something.
    pub(super) async fn state(&self, changes: bool) -> String {
        let mut last = self.last.lock().await;
        if last.at.is_none_or(|at| at.elapsed() > FRESH) {
            let cluster = timeout(PATIENCE, self.of_cluster(&mut last.seen)).await;
            // After all else, so that nothing lies in the future.
            let mut state = self.own();
            state.insert("changes".into(), changes.into());
            match cluster {
                Ok(Ok(cluster)) => state.extend(cluster),
                // `reasons` say that Redis is away.
                Ok(Err(_)) | Err(_) => drop(state.insert("queues".into(), Value::Null)),
            }
            (last.text, last.at) = (format!("{}\n", Value::Object(state)), Some(Instant::now()));
        }
        last.text.clone()
    }

    /// What the front knows by itself.
    fn own(&self) -> Map<String, Value> {
        let Serving { cluster, connections, recent, .. } = self.serving();
        let (shared, reasons) = (&cluster.shared, Unready::of(cluster));
        let topics: Vec<_> = shared.topics.busiest(TOPICS_MAX);
        let topics: Vec<_> = topics
            .iter()
            .map(|(topic, count)| json!({ "topic": short(topic), "subscribers": count }))
            .collect();
        let state = json!({
            "now": shared.broker.now_ms(),
            "front": {
                "version": env!("CARGO_PKG_VERSION"),
                "pid": std::process::id(),
                "uptime_ms": millis(self.begun.elapsed()),
                "redis": shared.broker.settings().shown_url(),
                "ready": reasons.is_empty(),
                "reasons": readiness::to_values(&reasons),
                "connections": connections.len(),
                "waiting": cluster.waiting(),
            },
            "streams": { "open": cluster.streams(), "topics": topics },
            "refusals": recent.all().iter().map(refused).collect::<Value>(),
        });
        match state {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// What Redis tells of queues and workers.
    async fn of_cluster(
        &self,
        seen: &mut HashMap<(String, String), u64>,
    ) -> Result<Map<String, Value>, tempest_broker::Error> {
        let broker = &self.serving.cluster.shared.broker;
        let (mut queues, mut workers) = broker.states().await?;
        queues.truncate(QUEUES_MAX);
        let ages = self.ages(&queues).await?;
        let limits = broker.limits_of(queues.iter().map(|state| &state.queue)).await?;
        let shown = queues.iter().zip(ages.chunks(Lane::ALL.len())).zip(&limits);
        let mut shown: Vec<_> = shown.map(|((state, ages), limits)| queue(state, ages, limits)).collect();
        for (state, shown) in queues.iter().zip(&mut shown) {
            shown["here"] = self.here(&state.queue);
        }
        workers.truncate(WORKERS_MAX);
        let silent: Vec<_> = workers
            .iter()
            .filter(|state| state.hides_jobs())
            .map(|state| (&state.queue, &state.worker, state.slots.min(JOBS_MAX)))
            .collect();
        let now = broker.now_ms();
        let mut held: HashMap<String, Vec<Value>> = HashMap::new();
        let mut still = HashMap::new();
        for (worker, envelope) in broker.jobs_in_hand(&silent).await? {
            let id = envelope.id.map(|id| id.to_string());
            let key = (worker.to_string(), id.clone().unwrap_or_default());
            let since = seen.get(&key).copied().unwrap_or(now);
            still.insert(key, since);
            let job =
                json!({ "id": id, "action": short(envelope.action.as_str()), "since": since, "seen": true });
            held.entry(worker.to_string()).or_default().push(job);
        }
        *seen = still;
        let mut state = Map::new();
        state.insert("queues".into(), shown.into());
        state.insert("workers".into(), merged(&workers, &mut held));
        Ok(state)
    }

    /// The jobs that this front has pushed to a queue since it runs; null where it has no route to it.
    fn here(&self, queue: &Queue) -> Value {
        let known = self.serving.cluster.shared.known(queue);
        known.map(|state| state.jobs.total() + state.pushes.total()).into()
    }

    /// How long the oldest job of each lane has waited, in the order of queues and of [`Lane::ALL`].
    async fn ages(&self, queues: &[QueueState]) -> Result<Vec<Option<Duration>>, tempest_broker::Error> {
        let lanes = queues.iter().flat_map(|state| {
            Lane::ALL.into_iter().zip(state.waiting).map(|(lane, load)| (&state.queue, lane, load))
        });
        self.serving.cluster.shared.broker.oldest(&lanes.collect::<Vec<_>>()).await
    }
}

fn queue(state: &QueueState, ages: &[Option<Duration>], limits: &QueueLimits) -> Value {
    let lanes = Lane::ALL.iter().zip(state.waiting).zip(ages);
    let lanes: Vec<_> = lanes
        .map(|((lane, load), age)| {
            json!({ "lane": lane.as_str(), "jobs": load.jobs, "bytes": load.bytes, "oldest_ms": age.map(millis) })
        })
        .collect();
    json!({
        "queue": state.queue.as_str(),
        "lanes": lanes,
        "running": state.running,
        "later": state.later,
        "dead": state.dead,
        "workers": state.workers,
        "paused": limits.paused,
        "concurrency": limits.concurrency,
        "rate": limits.rate.map(|jobs| json!({ "jobs": jobs, "per_ms": limits.per_ms })),
    })
}

/// One entry a worker, whatever number of queues it works on.
fn merged(states: &[WorkerState], held: &mut HashMap<String, Vec<Value>>) -> Value {
    let mut workers: BTreeMap<&str, Vec<&WorkerState>> = BTreeMap::new();
    for state in states {
        workers.entry(state.worker.as_str()).or_default().push(state);
    }
    workers.into_iter().map(|(worker, states)| of_worker(worker, &states, held.remove(worker))).collect()
}

fn of_worker(worker: &str, states: &[&WorkerState], held: Option<Vec<Value>>) -> Value {
    let lease = states.iter().map(|state| state.said()).find(Value::is_object).unwrap_or_default();
    let text = |field: &str| lease[field].as_str().map(short);
    let told = lease["jobs"].as_array().map(|jobs| jobs.iter().take(JOBS_MAX).map(job).collect::<Vec<_>>());
    json!({
        "worker": worker,
        "queues": states.iter().map(|state| state.queue.as_str()).collect::<Vec<_>>(),
        "alive": states.iter().any(|state| state.is_alive()),
        "slots": lease["slots"].as_u64().or_else(|| u64::try_from(states.first()?.slots).ok()),
        "running": states.iter().map(|state| state.running).sum::<u64>(),
        "lang": text("lang"),
        "host": text("host"),
        "version": text("version"),
        "state": text("state"),
        "pid": lease["pid"].as_u64(),
        "jobs": told.or(held).unwrap_or_default(),
    })
}

/// A job as a worker tells it; whatever else it says is left out.
fn job(told: &Value) -> Value {
    json!({
        "id": told["id"].as_str().map(short),
        "action": told["action"].as_str().map(short),
        "queue": told["queue"].as_str().map(short),
        "since": told["since"].as_u64().filter(|since| *since <= limits::INTEGER_MAX),
    })
}

fn refused(refused: &Refused) -> Value {
    let at = refused.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (method, path) = refused.target.clone().unzip();
    json!({
        "at": millis(at),
        "code": refused.code.as_str(),
        "status": refused.code.http_status(),
        "method": method,
        "path": path,
        "client": refused.client.map(|client| client.to_string()),
        "request_id": refused.request_id,
    })
}
