//! Schedules in Redis: written, removed, paused, listed, run by hand. Who fires them is the keeper.

use std::collections::{BTreeMap, HashMap};

use redis::{Value, cmd, pipe};
use serde_json::value::RawValue;
use tempest_protocol::{Code, Error as WireError, JobId, Queue, Schedule as Name, limits};
use tracing::warn;

use super::{Definition, Schedule, job_id};
use crate::{Broker, Error, claim::next, clock::millis, script::Run};

/// How often a schedule is read again that somebody else keeps changing.
const TRIES: usize = 20;

/// What became of a schedule that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutSchedule {
    /// There was none of this name.
    Added,
    /// It was another one.
    Changed,
    /// It stood there as it is.
    Unchanged,
}

/// A schedule and where it belongs.
#[derive(Clone, Debug)]
pub struct NamedSchedule {
    /// The queue its jobs go to.
    pub queue: Queue,
    /// Its name in that queue.
    pub name: Name,
    /// When it fires, and what.
    pub schedule: Schedule,
}

/// What a configuration changed: names of schedules, as `queue/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedSchedules {
    /// That were not there.
    pub added: Vec<String>,
    /// That were others.
    pub changed: Vec<String>,
    /// That the configuration does not have any more.
    pub removed: Vec<String>,
    /// Of a configuration, but not of this one, which has none at all: they are left alone.
    pub left: Vec<String>,
}

/// When a schedule last fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFiring {
    /// The time it fired for, in milliseconds since the epoch.
    pub due_ms: u64,
    /// Why its job was left out, as a code word; none: it was pushed.
    pub error: Option<String>,
}

/// A schedule as Redis has it.
#[derive(Clone, Debug)]
pub struct ScheduleState {
    /// The queue it belongs to.
    pub queue: Queue,
    /// Its name; a broken one may have any.
    pub name: String,
    /// The schedule; or why it cannot fire, in one line.
    pub schedule: Result<Schedule, String>,
    /// When it is due, in milliseconds since the epoch.
    pub due_ms: Option<u64>,
    /// When it last fired.
    pub last: Option<LastFiring>,
    /// As it is written.
    pub(crate) text: Vec<u8>,
}

impl ScheduleState {
    /// What stands in Redis, with all that is not known here; none if it is no JSON.
    pub fn definition(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.text).ok()
    }

    /// Whether a configuration wrote it.
    pub fn is_from_file(&self) -> bool {
        Definition::read(&self.text).is_ok_and(|definition| definition.is_from_file())
    }
}

/// A change of a schedule that was read before.
struct Change<'a> {
    /// As it was read; empty: there was none.
    was: &'a [u8],
    /// Empty: it is removed.
    becomes: &'a [u8],
    due_ms: Option<u64>,
    /// Whether a time at which it is due already stays.
    keeps_due: bool,
}

impl Broker {
    /// Writes a schedule. One that is the same keeps the time at which it is due, also if only its job has changed. One of a
    /// configuration stays paused if somebody paused it.
    ///
    /// Errors: Redis is away or refuses; `bad_job`: others keep changing it.
    pub async fn put_schedule(&self, named: &NamedSchedule) -> Result<PutSchedule, Error> {
        let NamedSchedule { queue, name, schedule } = named;
        self.announce(std::slice::from_ref(queue)).await?;
        for _ in 0..TRIES {
            let was = self.schedule_text(queue, name).await?;
            let known = was.as_deref().and_then(|text| Definition::read(text).ok());
            let mut new = schedule.definition().clone();
            if let Some(known) = &known {
                new.paused |= new.is_from_file() && known.paused;
            }
            let is_same = known.as_ref().is_some_and(|known| known.text() == new.text());
            let text = new.text().into_bytes();
            let change = Change {
                was: was.as_deref().unwrap_or_default(),
                // What it says besides stays as it is.
                becomes: was.as_deref().filter(|_| is_same).unwrap_or(&text),
                due_ms: schedule.after(self.now_ms()).filter(|_| !new.paused),
                keeps_due: known.as_ref().is_some_and(|known| known.has_times_of(&new)),
            };
            if self.change_schedule(queue, name, &change).await? {
                return Ok(match (&was, is_same) {
                    (None, _) => PutSchedule::Added,
                    (Some(_), true) => PutSchedule::Unchanged,
                    (Some(_), false) => PutSchedule::Changed,
                });
            }
        }
        Err(contended(name))
    }

    /// Removes a schedule; jobs that it pushed stay. Gives whether there was one.
    ///
    /// Errors: as for [`Broker::put_schedule`].
    pub async fn remove_schedule(&self, queue: &Queue, name: &Name) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let Some(was) = self.schedule_text(queue, name).await? else { return Ok(false) };
            let change = Change { was: &was, becomes: b"", due_ms: None, keeps_due: false };
            if self.change_schedule(queue, name, &change).await? {
                return Ok(true);
            }
        }
        Err(contended(name))
    }

    /// Has a schedule rest, or go on with the next time from now. Gives whether there is one.
    ///
    /// Errors: `bad_job`: it cannot be read, or cannot fire; and as for [`Broker::put_schedule`].
    pub async fn pause_schedule(&self, queue: &Queue, name: &Name, pause: bool) -> Result<bool, Error> {
        for _ in 0..TRIES {
            let Some(was) = self.schedule_text(queue, name).await? else { return Ok(false) };
            let mut fields: BTreeMap<String, Box<RawValue>> =
                serde_json::from_slice(&was).map_err(|error| bad(name, &error.to_string()))?;
            fields.insert("paused".into(), serde_json::value::to_raw_value(&pause).expect("a truth"));
            let text = serde_json::to_vec(&fields).expect("values that were read");
            let due_ms = match pause {
                true => None,
                false => Schedule::read(&text).map_err(|why| bad(name, &why))?.after(self.now_ms()),
            };
            let change = Change { was: &was, becomes: &text, due_ms, keeps_due: true };
            if self.change_schedule(queue, name, &change).await? {
                return Ok(true);
            }
        }
        Err(contended(name))
    }

    /// Pushes the job of a schedule now, also of one that is paused; when it is due next stays as it is. Gives the id of
    /// the job; none: there is no such schedule.
    ///
    /// Errors: `bad_job`: it cannot be read; [`Error::QueueFull`]; [`Error::Away`]: it may have been pushed.
    pub async fn run_schedule(&self, queue: &Queue, name: &Name) -> Result<Option<JobId>, Error> {
        let Some(text) = self.schedule_text(queue, name).await? else { return Ok(None) };
        let schedule = Schedule::read(&text).map_err(|why| bad(name, &why))?;
        let mut at_ms = self.now_ms();
        loop {
            let id = job_id(name, at_ms);
            match self.push_of_schedule(queue, &schedule, &id, at_ms).await? {
                // It was run, or fired, in this very millisecond.
                0 => at_ms += 1,
                -1 => return Err(Error::QueueFull { queue: queue.to_string() }),
                _ => return Ok(Some(id)),
            }
        }
    }

    /// Every schedule of these queues, of all that were used if none is named; in order of queue and name. A queue with a key of
    /// a wrong type is said and left out.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn schedules(&self, queues: &[Queue]) -> Result<Vec<ScheduleState>, Error> {
        let all = if queues.is_empty() { self.queues().await? } else { queues.to_vec() };
        let mut found = Vec::new();
        for (queue, states) in self.look_at_schedules(&all).await? {
            match states {
                Ok(states) => found.extend(states),
                Err(Error::Refused { word, .. }) if word == "WRONGTYPE" => {
                    warn!(%queue, "a key of this queue's schedules has a wrong type; they do not fire");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The schedules of each of these queues.
    pub(crate) async fn look_at_schedules(
        &self,
        queues: &[Queue],
    ) -> Result<Vec<(Queue, Result<Vec<ScheduleState>, Error>)>, Error> {
        let mut commands = pipe();
        for queue in queues {
            commands.cmd("HGETALL").arg(self.keys().schedules(queue));
            commands.cmd("ZRANGE").arg(self.keys().due(queue)).arg(0).arg(-1).arg("WITHSCORES");
            commands.cmd("HGETALL").arg(self.keys().fired(queue));
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        let state = |queue: &Queue| (queue.clone(), states(queue, answers.by_ref().take(3).collect()));
        Ok(queues.iter().map(state).collect())
    }

    /// Puts the schedules of a configuration, and removes those that a configuration had put and this one does not have. If it has
    /// none and `had_some` is false nothing is removed: another front may have another configuration.
    ///
    /// Errors: as for [`Broker::put_schedule`]; what comes after is not done.
    pub async fn apply_schedules(
        &self,
        wanted: &[NamedSchedule],
        had_some: bool,
    ) -> Result<AppliedSchedules, Error> {
        let mut applied = AppliedSchedules::default();
        for named in wanted {
            let shown = format!("{}/{}", named.queue, named.name);
            let definition = named.schedule.definition().clone().from_file();
            let schedule = Schedule { definition, ..named.schedule.clone() };
            match self.put_schedule(&NamedSchedule { schedule, ..named.clone() }).await? {
                PutSchedule::Added => applied.added.push(shown),
                PutSchedule::Changed => applied.changed.push(shown),
                PutSchedule::Unchanged => {}
            }
        }
        for state in self.schedules(&[]).await? {
            let is_wanted =
                wanted.iter().any(|named| named.queue == state.queue && named.name.as_str() == state.name);
            let Some(name) = Name::new(&state.name).ok().filter(|_| state.is_from_file() && !is_wanted)
            else {
                continue;
            };
            let shown = format!("{}/{name}", state.queue);
            if wanted.is_empty() && !had_some {
                applied.left.push(shown);
            } else if self.remove_schedule(&state.queue, &name).await? {
                applied.removed.push(shown);
            }
        }
        Ok(applied)
    }

    /// Gives a schedule its next time that has none, because somebody wrote it by hand.
    pub(crate) async fn adopt_schedule(&self, state: &ScheduleState) -> Result<(), Error> {
        let (Ok(schedule), Ok(name)) = (&state.schedule, Name::new(&state.name)) else { return Ok(()) };
        let due_ms = schedule.after(self.now_ms());
        let change = Change { was: &state.text, becomes: &state.text, due_ms, keeps_due: true };
        self.change_schedule(&state.queue, &name, &change).await.map(drop)
    }

    async fn schedule_text(&self, queue: &Queue, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        self.link().ask(cmd("HGET").arg(self.keys().schedules(queue)).arg(name.as_str())).await
    }

    /// False: it is not any more as it was read.
    async fn change_schedule(&self, queue: &Queue, name: &Name, change: &Change<'_>) -> Result<bool, Error> {
        let keys = self.keys();
        let (schedules, due, fired) = (keys.schedules(queue), keys.due(queue), keys.fired(queue));
        let due_ms = change.due_ms.map_or_else(String::new, |due| due.to_string());
        let keeps: &[u8] = if change.keeps_due { b"1" } else { b"" };
        let args = [name.as_str().as_bytes(), change.was, change.becomes, due_ms.as_bytes(), keeps];
        let done = self
            .scripts()
            .schedule
            .run(self, &Run { keys: &[&schedules, &due, &fired], args: &args })
            .await?;
        Ok(done > 0)
    }

    /// 1 pushed, 0 there is such a job, -1 no room.
    async fn push_of_schedule(
        &self,
        queue: &Queue,
        schedule: &Schedule,
        id: &JobId,
        now_ms: u64,
    ) -> Result<i64, Error> {
        let (lane, record) = (self.keys().lane(queue, schedule.lane()), self.keys().record(queue, id));
        let job = schedule.job(id, now_ms, now_ms);
        let numbers =
            [limits::LANE_JOBS_MAX, millis(limits::RECORD_AGE_MAX), now_ms].map(|it| it.to_string());
        let mut args: Vec<&[u8]> = numbers.iter().map(|number| number.as_bytes()).collect();
        args.extend([schedule.lane().as_str(), schedule.action().as_str(), ""].map(str::as_bytes));
        args.push(&job);
        let answer = self.scripts().push.value(self, &Run { keys: &[&lane, &record], args: &args }).await?;
        let answer: Vec<i64> = crate::claim::read(Ok(answer))?;
        Ok(answer.get(1).copied().unwrap_or_default())
    }
}

/// The schedules of a queue, of the answers to three commands.
fn states(queue: &Queue, answers: Vec<Result<Value, Error>>) -> Result<Vec<ScheduleState>, Error> {
    let mut answers = answers.into_iter();
    let texts: BTreeMap<String, Vec<u8>> = next(&mut answers)?;
    let due: Vec<(String, String)> = next(&mut answers)?;
    let due: HashMap<_, _> = due.into_iter().collect();
    let fired: HashMap<String, String> = next(&mut answers)?;
    let state = |(name, text): (String, Vec<u8>)| ScheduleState {
        queue: queue.clone(),
        schedule: checked(&name, &text),
        due_ms: due.get(&name).and_then(|score| score_ms(score)),
        last: fired.get(&name).and_then(|text| last(text)),
        name,
        text,
    };
    Ok(texts.into_iter().map(state).collect())
}

/// A schedule that stands in Redis under this name.
pub(crate) fn checked(name: &str, text: &[u8]) -> Result<Schedule, String> {
    Name::new(name).map_err(|error| error.detail().to_owned())?;
    Schedule::read(text)
}

/// A score as a time; somebody may have written any number by hand.
pub(crate) fn score_ms(score: &str) -> Option<u64> {
    let whole = score.split('.').next().unwrap_or_default();
    if whole.starts_with('-') { Some(0) } else { whole.parse().ok() }
}

fn last(text: &str) -> Option<LastFiring> {
    let (due, error) = text.split_once(' ').map_or((text, None), |(due, error)| (due, Some(error)));
    Some(LastFiring { due_ms: due.parse().ok()?, error: error.map(str::to_owned) })
}

fn bad(name: &Name, why: &str) -> Error {
    WireError::new(Code::BadJob, format!("schedule {name}: {why}")).into()
}

fn contended(name: &Name) -> Error {
    bad(name, "somebody else keeps changing it; try again")
}
