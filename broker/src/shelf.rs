//! Jobs that lie by time, delayed or given up (SPEC "Later and dead"), for whoever looks after them: page by page, by what
//! they are. Changes nothing; that is `shelf/change.rs`.

mod change;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use redis::cmd;
use tempest_protocol::{Action, Failure, Job, JobId, Queue, dead};

use crate::{Broker, Error, Record, State, clock::millis};

pub use change::Changed;

/// Entries read at once.
const PAGE: usize = 100;

/// Where jobs lie by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Delayed, or to be tried again; by when they are due, the soonest first.
    Later,
    /// Given up; by when they died, the newest first.
    Dead,
}

/// A job on a shelf, or bytes that never were one.
#[derive(Clone, Debug)]
pub struct Shelved {
    /// Its queue.
    pub queue: Queue,
    /// When it is due, or when it died, in ms of Redis time.
    pub at_ms: u64,
    /// Why it was given up. Of one that is to be tried again only its record tells.
    pub failure: Option<Failure>,
    /// The job; none: these bytes are none.
    pub job: Option<Job>,
    /// The entry as it lies there.
    pub entry: Bytes,
}

impl Shelved {
    /// Its id, if it is a job and has one.
    pub fn id(&self) -> Option<&JobId> {
        self.job.as_ref()?.envelope.id.as_ref()
    }
}

/// Which jobs of a shelf are meant: those of which all is true that is said here.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these ids; empty: any, and those without one.
    pub ids: BTreeSet<JobId>,
    /// This action.
    pub action: Option<Action>,
    /// This code of its failure.
    pub code: Option<String>,
    /// Its failure's message contains this text.
    pub text: Option<String>,
    /// It died, or is due, at this time or later, in ms of Redis time.
    pub from_ms: Option<u64>,
    /// It died, or is due, before this time.
    pub before_ms: Option<u64>,
}

impl Filter {
    /// Those that died within this time before `now_ms`.
    pub fn younger_than(self, age: Duration, now_ms: u64) -> Self {
        Self { from_ms: Some(now_ms.saturating_sub(millis(age))), ..self }
    }

    /// Those that died longer ago than this.
    pub fn older_than(self, age: Duration, now_ms: u64) -> Self {
        Self { before_ms: Some(now_ms.saturating_sub(millis(age))), ..self }
    }

    /// Those that are due within this time from `now_ms` on.
    pub fn due_within(self, time: Duration, now_ms: u64) -> Self {
        Self { before_ms: Some(now_ms.saturating_add(millis(time))), ..self }
    }

    /// Whether it means everything.
    pub fn is_empty(&self) -> bool {
        let says_time = self.from_ms.is_some() || self.before_ms.is_some();
        !says_time
            && self.ids.is_empty()
            && self.action.is_none()
            && self.code.is_none()
            && self.text.is_none()
    }

    /// Whether an entry is meant.
    pub fn means(&self, entry: &Shelved) -> bool {
        let envelope = entry.job.as_ref().map(|job| &job.envelope);
        let failure = entry.failure.as_ref();
        let is_one = entry.id().is_some_and(|id| self.ids.contains(id));
        let is = |wanted: Option<bool>| wanted.unwrap_or(true);
        (self.ids.is_empty() || is_one)
            && is(self.from_ms.map(|from_ms| entry.at_ms >= from_ms))
            && is(self.before_ms.map(|before_ms| entry.at_ms < before_ms))
            && is(self.action.as_ref().map(|action| envelope.is_some_and(|job| job.action == *action)))
            && is(self.code.as_ref().map(|code| failure.is_some_and(|failure| failure.code == *code)))
            && is(self.text.as_ref().map(|text| failure.is_some_and(|it| it.message.contains(text.as_str()))))
    }
}

impl Broker {
    /// Up to `limit` jobs of a shelf that a filter means, in the order of the shelf. Reads pages of 100 entries until there
    /// are so many; with an empty filter no more than those.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn shelved(
        &self,
        queue: &Queue,
        shelf: Shelf,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Shelved>, Error> {
        let (mut walk, mut meant) = (Walk::new(self, queue, shelf, filter), Vec::new());
        if filter.is_empty() {
            walk.page = limit.clamp(1, PAGE);
        }
        while meant.len() < limit
            && let Some(page) = walk.next().await?
        {
            meant.extend(page.into_iter().filter(|entry| filter.means(entry)));
        }
        meant.truncate(limit);
        Ok(meant)
    }

    /// How many jobs of a shelf a filter means. Reads all of it unless the filter is empty.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn count_shelved(&self, queue: &Queue, shelf: Shelf, filter: &Filter) -> Result<u64, Error> {
        if filter.is_empty() {
            return self.link().ask(cmd("ZCARD").arg(shelf.key(self, queue))).await;
        }
        let (mut walk, mut count) = (Walk::new(self, queue, shelf, filter), 0);
        while let Some(page) = walk.next().await? {
            count += page.iter().filter(|entry| filter.means(entry)).count();
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// The jobs of these ids that lie on a shelf. Those whose records tell where are found at once; for others all of the
    /// shelf is read.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn shelved_of(
        &self,
        queue: &Queue,
        shelf: Shelf,
        ids: &[JobId],
    ) -> Result<Vec<Shelved>, Error> {
        let known: Vec<_> = ids.iter().cloned().map(Some).collect();
        let records = self.records(queue, &known).await?;
        let (mut found, mut rest) = (Vec::new(), BTreeSet::new());
        for (id, record) in ids.iter().zip(records) {
            let at_ms = record.and_then(|record| shelf.time_in(&record));
            let entry = match at_ms {
                Some(at_ms) => self.shelved_at(queue, shelf, at_ms, id).await?,
                None => None,
            };
            match entry {
                Some(entry) => found.push(entry),
                None => drop(rest.insert(id.clone())),
            }
        }
        if !rest.is_empty() {
            let filter = Filter { ids: rest, ..Filter::default() };
            found.extend(self.shelved(queue, shelf, &filter, usize::MAX).await?);
        }
        Ok(found)
    }

    /// The job of this id that lies on a shelf at exactly this time.
    pub(crate) async fn shelved_at(
        &self,
        queue: &Queue,
        shelf: Shelf,
        at_ms: u64,
        id: &JobId,
    ) -> Result<Option<Shelved>, Error> {
        let filter = Filter {
            ids: BTreeSet::from([id.clone()]),
            from_ms: Some(at_ms),
            before_ms: Some(at_ms.saturating_add(1)),
            ..Filter::default()
        };
        Ok(self.shelved(queue, shelf, &filter, 1).await?.pop())
    }
}

impl Shelf {
    /// When a job lies there of which this is the record; none: it does not.
    fn time_in(self, record: &Record) -> Option<u64> {
        match (self, record.state) {
            (Self::Later, State::Later) => record.due_ms,
            (Self::Dead, State::Dead) => record.died_at_ms,
            _ => None,
        }
    }

    fn key(self, broker: &Broker, queue: &Queue) -> String {
        match self {
            Self::Later => broker.keys().later(queue),
            Self::Dead => broker.keys().dead(queue),
        }
    }
}

/// Goes through a shelf, page by page. What comes to it or goes from it meanwhile may be missed or seen twice; it ends
/// after as many entries as there were.
struct Walk<'a> {
    broker: &'a Broker,
    queue: &'a Queue,
    shelf: Shelf,
    key: String,
    /// Where the next page begins and the last one ends, as Redis writes scores.
    from: String,
    to: String,
    /// Entries at `from` that were seen and lie there still.
    seen: usize,
    /// Entries that are still to come; none: not asked yet.
    left: Option<usize>,
    /// Entries that are read at once.
    page: usize,
}

impl<'a> Walk<'a> {
    fn new(broker: &'a Broker, queue: &'a Queue, shelf: Shelf, filter: &Filter) -> Self {
        let lowest = filter.from_ms.map_or_else(|| "-inf".into(), |ms| ms.to_string());
        let highest = filter.before_ms.map_or_else(|| "+inf".into(), |ms| format!("({ms}"));
        let (from, to) = match shelf {
            Shelf::Later => (lowest, highest),
            Shelf::Dead => (highest, lowest),
        };
        Self {
            broker,
            queue,
            shelf,
            key: shelf.key(broker, queue),
            from,
            to,
            seen: 0,
            left: None,
            page: PAGE,
        }
    }

    /// The next page; none: there is none.
    async fn next(&mut self) -> Result<Option<Vec<Shelved>>, Error> {
        let left = match self.left {
            Some(left) => left,
            None => self.broker.link().ask(cmd("ZCARD").arg(&self.key)).await?,
        };
        let mut look = cmd("ZRANGE");
        look.arg(&self.key).arg(&self.from).arg(&self.to).arg("BYSCORE");
        if self.shelf == Shelf::Dead {
            look.arg("REV");
        }
        look.arg("LIMIT").arg(self.seen).arg(left.min(self.page)).arg("WITHSCORES");
        let entries: Vec<(Vec<u8>, String)> = self.broker.link().ask(&look).await?;
        let Some((_, last)) = entries.last() else { return Ok(None) };
        let before = if self.from == *last { self.seen } else { 0 };
        self.seen = before + entries.iter().filter(|(_, score)| score == last).count();
        self.from.clone_from(last);
        self.left = Some(left.saturating_sub(entries.len()));
        Ok(Some(entries.into_iter().map(|(entry, score)| self.read(entry.into(), &score)).collect()))
    }

    /// So many of the entries of the last page at its last time are gone.
    fn gone(&mut self, entries: &[Shelved]) {
        let last_ms = whole(&self.from);
        let gone = entries.iter().filter(|entry| entry.at_ms == last_ms).count();
        self.seen = self.seen.saturating_sub(gone);
    }

    fn read(&self, entry: Bytes, score: &str) -> Shelved {
        let failure = if self.shelf == Shelf::Dead { dead::failure_of(&entry) } else { None };
        Shelved {
            queue: self.queue.clone(),
            at_ms: whole(score),
            failure,
            job: Job::decode(entry.clone(), self.broker.keys()).ok(),
            entry,
        }
    }
}

/// The whole milliseconds of a score; 0 of one that is no time.
fn whole(score: &str) -> u64 {
    score.split('.').next().and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
