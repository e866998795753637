//! What `tempest dead` and `tempest later` share: which jobs are meant, and what is done about them.

use serde_json::{Value, json};
use tempest_broker::{Broker, Changed, Filter, Record, Shelf, Shelved};
use tempest_protocol::{JobId, Queue};

use crate::{
    consent,
    failure::Failure,
    output::{absent, print, print_json},
};

/// What is done about jobs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Run,
    Delete,
}

/// Jobs of a shelf, as a command means them.
pub(super) struct Chosen<'a> {
    pub(super) shelf: Shelf,
    pub(super) deed: Deed,
    pub(super) queue: Option<&'a Queue>,
    /// These; none: all that the filter means.
    pub(super) ids: &'a [JobId],
    pub(super) filter: Filter,
    pub(super) yes: bool,
    pub(super) as_json: bool,
}

impl Chosen<'_> {
    /// Does it, and says what was done.
    ///
    /// Errors: some of the ids were not found.
    pub(super) async fn act(&self, broker: &Broker) -> Result<(), Failure> {
        let queues = super::queues(broker, self.queue).await?;
        if self.ids.is_empty() {
            let Some(changed) = self.all(broker, &queues).await? else { return Ok(()) };
            return self.say(&changed, &[]);
        }
        let mut found = Vec::new();
        for queue in &queues {
            let of_queue = broker.shelved_of(queue, self.shelf, self.ids).await?;
            found.extend(of_queue.into_iter().filter(|entry| self.filter.means(entry)));
        }
        let is_missing = |id: &&JobId| !found.iter().any(|entry| entry.id() == Some(*id));
        let missing: Vec<_> = self.ids.iter().filter(is_missing).collect();
        // In the order in which they were named.
        found.sort_by_key(|entry| self.ids.iter().position(|id| entry.id() == Some(id)));
        let mut changed = Changed::default();
        for chunk in found.chunks(100) {
            changed += self.change(broker, chunk).await?;
        }
        self.say(&changed, &missing)
    }

    /// All that the filter means. None: nobody agreed.
    async fn all(&self, broker: &Broker, queues: &[Queue]) -> Result<Option<Changed>, Failure> {
        let mut count = 0;
        for queue in queues {
            count += broker.count_shelved(queue, self.shelf, &self.filter).await?;
        }
        let mut changed = Changed::default();
        if count == 0 {
            return Ok(Some(changed));
        }
        if !consent::given(&self.question(count), self.yes)? {
            return Ok(None);
        }
        for queue in queues {
            changed += match self.deed {
                Deed::Run => broker.revive_all(queue, self.shelf, &self.filter).await?,
                Deed::Delete => broker.discard_all(queue, self.shelf, &self.filter).await?,
            };
        }
        Ok(Some(changed))
    }

    async fn change(&self, broker: &Broker, entries: &[Shelved]) -> Result<Changed, Failure> {
        Ok(match self.deed {
            Deed::Run => broker.revive(self.shelf, entries).await?,
            Deed::Delete => broker.discard(self.shelf, entries).await?,
        })
    }

    fn question(&self, count: u64) -> String {
        let verb = match (self.deed, self.shelf) {
            (Deed::Run, Shelf::Dead) => "run",
            (Deed::Run, Shelf::Later) => "run now",
            (Deed::Delete, _) => "delete",
        };
        let sort = if self.shelf == Shelf::Dead { "dead" } else { "delayed" };
        let again = if self.deed == Deed::Run && self.shelf == Shelf::Dead { " again" } else { "" };
        let place = self.queue.map_or_else(|| "all queues".to_owned(), |queue| format!("queue {queue}"));
        format!("{verb} {count} {sort} job{} of {place}{again}", if count == 1 { "" } else { "s" })
    }

    fn say(&self, changed: &Changed, missing: &[&JobId]) -> Result<(), Failure> {
        let done = if self.deed == Deed::Run { "run" } else { "deleted" };
        if self.as_json {
            let missing: Vec<_> = missing.iter().map(|id| id.as_str()).collect();
            print_json(&json!({
                done: changed.done, "gone": changed.gone, "no_jobs": changed.no_jobs, "not_found": missing,
            }))?;
        } else {
            print(format!("{done}: {}\n", changed.done).as_bytes())?;
            if changed.gone > 0 {
                eprintln!("tempest: {} went elsewhere meanwhile", changed.gone);
            }
            if changed.no_jobs > 0 {
                eprintln!("tempest: {} are no jobs and cannot be run; they can be deleted", changed.no_jobs);
            }
        }
        let place = if self.shelf == Shelf::Dead { "dead" } else { "delayed" };
        let line = |id: &&JobId| format!("not found: no job {id} is {place}");
        match missing {
            [] => Ok(()),
            missing => Err(Failure::new(missing.iter().map(line).collect::<Vec<_>>().join("\n"))),
        }
    }
}

/// Up to `limit` jobs of a shelf of these queues together, in its order.
pub(super) async fn listed(
    broker: &Broker,
    queues: &[Queue],
    shelf: Shelf,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<Shelved>, tempest_broker::Error> {
    let mut listed = Vec::new();
    for queue in queues {
        listed.extend(broker.shelved(queue, shelf, filter, limit).await?);
    }
    match shelf {
        Shelf::Later => listed.sort_by_key(|entry| entry.at_ms),
        Shelf::Dead => listed.sort_by_key(|entry| std::cmp::Reverse(entry.at_ms)),
    }
    listed.truncate(limit);
    Ok(listed)
}

/// Says that there may be more than was shown.
pub(super) fn tell_of_more(shown: usize, limit: usize) {
    if shown == limit {
        eprintln!("tempest: the first {limit}; --limit shows more");
    }
}

/// Queue, id, action and attempt, for a table.
pub(super) fn name_cells(entry: &Shelved) -> Vec<String> {
    let envelope = entry.job.as_ref().map(|job| &job.envelope);
    let attempt = |it: &tempest_protocol::Envelope| format!("{} of {}", it.attempt, it.attempts_max());
    vec![
        entry.queue.to_string(),
        entry.id().map_or_else(absent, ToString::to_string),
        envelope.map_or_else(|| "no job".to_owned(), |it| it.action.to_string()),
        envelope.map_or_else(absent, attempt),
    ]
}

/// A job of a shelf, its arguments apart. Of one that is none the text stands in `entry`, as far as it is one.
pub(super) fn to_json(entry: &Shelved, shelf: Shelf, record: Option<&Record>) -> Value {
    let envelope = entry.job.as_ref().map(|job| &job.envelope);
    let failure = entry.failure.as_ref().or_else(|| record?.failure.as_ref());
    let text = || String::from_utf8_lossy(&entry.entry).into_owned();
    let at = if shelf == Shelf::Dead { "died_at" } else { "due" };
    json!({
        "queue": entry.queue.as_str(),
        "id": entry.id().map(JobId::as_str),
        "action": envelope.map(|it| it.action.as_str()),
        "lane": envelope.map(|it| it.lane.as_str()),
        "attempt": envelope.map(|it| it.attempt),
        "attempts": envelope.map(tempest_protocol::Envelope::attempts_max),
        "queued_at": envelope.and_then(|it| it.queued_at_ms),
        at: entry.at_ms,
        "error": failure.map(|failure| json!({ "code": failure.code, "message": failure.message })),
        "entry": if entry.job.is_some() { None } else { Some(text()) },
    })
}
