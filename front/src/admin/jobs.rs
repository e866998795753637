//! Background jobs on the first page: the newest dead, the next that are due, schedules. Documented in
//! docs/operations/admin.md.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempest_broker::{Broker, Error, Filter, Record, ScheduleState, Shelf, Shelved};
use tempest_protocol::Queue;
use tokio::{sync::Mutex, time::timeout};

use super::short;

/// How old an answer may be: several people may look at once.
const FRESH: Duration = Duration::from_secs(1);
/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Queues whose shelves are looked at, and jobs of each.
const QUEUES_MAX: usize = 20;
const EACH_MAX: usize = 20;
/// Jobs and schedules that are shown in all.
const SHOWN_MAX: usize = 50;
const SCHEDULES_MAX: usize = 100;

/// The last answer.
#[derive(Default)]
pub(super) struct JobLists(Mutex<(Option<Instant>, String)>);

impl JobLists {
    /// The lists as a JSON document; they are null while Redis does not answer.
    pub(super) async fn of(&self, broker: &Broker) -> String {
        let mut last = self.0.lock().await;
        if last.0.is_none_or(|at| at.elapsed() > FRESH) {
            let lists = match timeout(PATIENCE, lists(broker)).await {
                Ok(Ok(lists)) => lists,
                Ok(Err(_)) | Err(_) => json!({ "dead": null, "later": null, "schedules": null }),
            };
            *last = (Some(Instant::now()), format!("{lists}\n"));
        }
        last.1.clone()
    }

    /// Something has changed: the next one who asks sees it.
    pub(super) async fn forget(&self) {
        self.0.lock().await.0 = None;
    }
}

async fn lists(broker: &Broker) -> Result<Value, Error> {
    let dead = shelved(broker, Shelf::Dead).await?;
    let later = shelved(broker, Shelf::Later).await?;
    let mut soon = Vec::new();
    for entry in &later {
        soon.push(delayed(entry, record_of(broker, entry).await?.as_ref()));
    }
    let schedules = broker.schedules(&[]).await?;
    Ok(json!({
        "now": broker.now_ms(),
        "dead": dead.iter().map(buried).collect::<Value>(),
        "later": soon,
        "schedules": schedules.iter().take(SCHEDULES_MAX).map(schedule).collect::<Value>(),
    }))
}

/// The newest dead jobs, or those that are due next, of all queues that have some.
async fn shelved(broker: &Broker, shelf: Shelf) -> Result<Vec<Shelved>, Error> {
    let presence = broker.presence();
    let count = |queue: &Queue| match shelf {
        Shelf::Dead => presence.dead(queue),
        Shelf::Later => presence.later(queue),
    };
    let mut queues: Vec<_> = presence.queues().filter(|queue| count(queue) > 0).collect();
    queues.sort_unstable();
    let mut found = Vec::new();
    for queue in queues.into_iter().take(QUEUES_MAX) {
        found.extend(broker.shelved(queue, shelf, &Filter::default(), EACH_MAX).await?);
    }
    found.sort_by_key(|entry| entry.at_ms);
    if shelf == Shelf::Dead {
        found.reverse();
    }
    found.truncate(SHOWN_MAX);
    Ok(found)
}

async fn record_of(broker: &Broker, entry: &Shelved) -> Result<Option<Record>, Error> {
    match entry.id() {
        Some(id) => broker.record(&entry.queue, id).await,
        None => Ok(None),
    }
}

/// What both lists say of a job. Its arguments are not shown.
fn job(entry: &Shelved) -> Value {
    let envelope = entry.job.as_ref().map(|job| &job.envelope);
    json!({
        "queue": entry.queue.as_str(),
        "id": entry.id().map(|id| id.as_str()),
        "action": envelope.map(|envelope| short(envelope.action.as_str())),
        "attempt": envelope.map(|envelope| envelope.attempt),
        "attempts": envelope.map(tempest_protocol::Envelope::attempts_max),
        "queued_at": envelope.and_then(|envelope| envelope.queued_at_ms),
    })
}

fn buried(entry: &Shelved) -> Value {
    let mut about = job(entry);
    about["died_at"] = entry.at_ms.into();
    about["code"] = entry.failure.as_ref().map(|failure| short(&failure.code)).into();
    about["message"] = entry.failure.as_ref().map(|failure| short(&failure.message)).into();
    about
}

fn delayed(entry: &Shelved, record: Option<&Record>) -> Value {
    let mut about = job(entry);
    about["due"] = entry.at_ms.into();
    let failure = record.and_then(|record| record.failure.as_ref());
    about["code"] = failure.map(|failure| short(&failure.code)).into();
    about
}

fn schedule(state: &ScheduleState) -> Value {
    let schedule = state.schedule.as_ref().ok();
    json!({
        "queue": state.queue.as_str(),
        "name": short(&state.name),
        "when": schedule.map(|schedule| short(&schedule.definition().when())),
        "action": schedule.map(|schedule| short(schedule.action().as_str())),
        "paused": schedule.map(|schedule| schedule.definition().paused),
        "due": state.due_ms,
        "due_there": schedule.zip(state.due_ms).map(|(schedule, due)| schedule.shown(due)),
        "last": state.last.as_ref().map(|last| last.due_ms),
        "wrong": state.schedule.as_ref().err().map(|why| short(why)),
        "last_error": state.last.as_ref().and_then(|last| last.error.as_deref()).map(short),
    })
}
