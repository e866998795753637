//! Fires schedules when they are due, of all keepers of a cluster each firing once (SPEC "Background jobs").
//!
//! With each look of the keeper it learns what is due before the next one, and in between it wakes for that. What a rival
//! was quicker with is left to it until the next look. A task of its own, so that many missed firings hold up nothing else.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use redis::pipe;
use tempest_protocol::{Queue, Schedule as Name, limits};
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::{
    Broker, Error, KeeperOptions, Schedule, Trouble,
    claim::next,
    clock::millis,
    schedule::{
        job_id,
        plan::{Step, plan},
        stored::{checked, score_ms},
    },
    script::Run,
};

/// What is in trouble while no schedule fires.
const PART: &str = "schedules";
/// Schedules that are fired side by side.
const SIDE_BY_SIDE: usize = 32;
/// How often schedules are looked for that have no time yet.
const ADOPT_EVERY: Duration = Duration::from_secs(60);

/// Which schedule.
type Whose = (Queue, String);

/// What this keeper knows of schedules.
#[derive(Default)]
struct Schedules {
    /// Jobs in a lane up to which it is pushed into.
    backlog_jobs_max: u64,
    /// What is due before the next look.
    soon: Vec<Due>,
    /// What was read, as it stands in Redis.
    read: HashMap<Whose, Read>,
    /// What was said of schedules that do not fire, so that it is said once.
    said: HashMap<Whose, String>,
    adopted: Option<Instant>,
}

/// A definition, and what it means.
struct Read {
    text: Arc<[u8]>,
    schedule: Result<Arc<Schedule>, String>,
}

/// A schedule that is due at some time.
#[derive(Clone)]
struct Due {
    queue: Queue,
    name: Name,
    text: Arc<[u8]>,
    schedule: Arc<Schedule>,
    /// The time as Redis has it.
    score: String,
    at_ms: u64,
}

/// What became of a schedule that was due.
enum Fired {
    /// It is due again.
    Again(Due),
    /// It is not, or a rival was quicker.
    Over,
    /// It does not fire, for a reason that is not that of all.
    Not(Whose, String),
}

/// Fires what is due, for ever. `looks` counts the looks of the keeper.
pub(super) async fn fire(broker: Broker, mut looks: watch::Receiver<u64>, options: KeeperOptions) {
    let KeeperOptions { every, backlog_jobs_max, .. } = options;
    let mut schedules = Schedules { backlog_jobs_max, ..Schedules::default() };
    // A look may be late.
    let within = every.mul_f64(1.5) + Duration::from_secs(1);
    loop {
        let next = schedules.next_in(&broker);
        let fired = tokio::select! {
            changed = looks.changed() => match changed {
                Ok(()) => schedules.look(&broker, within).await,
                Err(_) => return,
            },
            () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() => schedules.fire(&broker).await,
        };
        match fired {
            Ok(()) => broker.stats().faults.well(PART),
            Err(error) => {
                // Nothing that was learnt before an error counts any more.
                schedules.soon.clear();
                broker.stats().faults.failed(PART, &error);
            }
        }
    }
}

impl Schedules {
    /// Learns what is due within this time, and fires what is due already.
    async fn look(&mut self, broker: &Broker, within: Duration) -> Result<(), Error> {
        let queues: Vec<_> = broker.presence().queues().cloned().collect();
        if self.adopted.is_none_or(|at| at.elapsed() >= ADOPT_EVERY) {
            self.adopt(broker, &queues).await?;
            self.adopted = Some(Instant::now());
        }
        let due = self.due(broker, &queues, broker.now_ms() + millis(within)).await?;
        let texts = definitions(broker, &due).await?;
        self.soon.clear();
        for ((queue, name, score), text) in due.into_iter().zip(texts) {
            let Some(text) = text else { continue };
            let understood = self.understood(queue, name, score, text);
            self.soon.extend(understood);
        }
        self.fire(broker).await
    }

    /// How long until something is due.
    fn next_in(&self, broker: &Broker) -> Option<Duration> {
        let first_ms = self.soon.iter().map(|due| due.at_ms).min()?;
        let left_ms = first_ms.checked_sub(broker.now_ms());
        // One more, for the part of a millisecond that is cut off.
        Some(left_ms.map_or(Duration::ZERO, |left| Duration::from_millis(left + 1)))
    }

    /// Names that are due up to a time, with their scores. A queue whose key has a wrong type harms no other.
    async fn due(
        &mut self,
        broker: &Broker,
        queues: &[Queue],
        until_ms: u64,
    ) -> Result<Vec<(Queue, String, String)>, Error> {
        let mut commands = pipe();
        for queue in queues {
            commands.cmd("ZRANGE").arg(broker.keys().due(queue)).arg("-inf").arg(until_ms);
            commands.arg("BYSCORE").arg("WITHSCORES");
        }
        let mut answers = broker.link().ask_all(&commands).await?.into_iter();
        let mut found = Vec::new();
        for queue in queues {
            match next::<Vec<(String, String)>>(&mut answers) {
                Ok(due) => found.extend(due.into_iter().map(|(name, score)| (queue.clone(), name, score))),
                Err(error) if is_own(&error) => self.say((queue.clone(), String::new()), error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// A schedule that is due; none if it cannot fire, which is said once.
    fn understood(&mut self, queue: Queue, name: String, score: String, text: Vec<u8>) -> Option<Due> {
        let whose = (queue.clone(), name.clone());
        let is_known = self.read.get(&whose).is_some_and(|read| *read.text == *text);
        if !is_known {
            let schedule = checked(&name, &text).map(Arc::new);
            self.read.insert(whose.clone(), Read { text: text.into(), schedule });
        }
        let Read { text, schedule } = self.read.get(&whose)?;
        match (schedule, Name::new(&name)) {
            (Ok(schedule), Ok(name)) => {
                let at_ms = score_ms(&score)?;
                Some(Due { queue, name, text: text.clone(), schedule: schedule.clone(), score, at_ms })
            }
            (schedule, _) => {
                let why = schedule.as_ref().err().cloned().unwrap_or_default();
                self.say(whose, why);
                None
            }
        }
    }

    /// Says once why something does not fire.
    fn say(&mut self, whose: Whose, why: String) {
        if self.said.get(&whose) != Some(&why) {
            warn!(queue = %whose.0, schedule = whose.1, why, "a schedule does not fire");
            self.said.insert(whose, why);
        }
    }

    /// Fires all that is due by now, again and again until nothing is.
    async fn fire(&mut self, broker: &Broker) -> Result<(), Error> {
        loop {
            let now_ms = broker.now_ms();
            let (due, soon): (Vec<_>, _) = self.soon.drain(..).partition(|due| due.at_ms <= now_ms);
            self.soon = soon;
            if due.is_empty() {
                return Ok(());
            }
            let cap = self.backlog_jobs_max;
            let firing = due.into_iter().map(|due| fire_one(broker, due, cap));
            let mut fired = stream::iter(firing).buffer_unordered(SIDE_BY_SIDE);
            let mut over = Vec::new();
            while let Some(fired) = fired.next().await {
                match fired? {
                    Fired::Again(due) => self.soon.push(due),
                    Fired::Over => {}
                    Fired::Not(whose, why) => over.push((whose, why)),
                }
            }
            over.into_iter().for_each(|(whose, why)| self.say(whose, why));
        }
    }

    /// Gives a time to schedules that somebody wrote by hand, says which are broken, and forgets those that are gone.
    async fn adopt(&mut self, broker: &Broker, queues: &[Queue]) -> Result<(), Error> {
        let mut states = Vec::new();
        for (queue, found) in broker.look_at_schedules(queues).await? {
            match found {
                Ok(found) => states.extend(found),
                Err(error) if is_own(&error) => self.say((queue, String::new()), error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let is_there = |(queue, name): &Whose| {
            name.is_empty() || states.iter().any(|state| state.queue == *queue && state.name == *name)
        };
        self.read.retain(|whose, _| is_there(whose));
        self.said.retain(|whose, _| is_there(whose));
        for state in &states {
            match &state.schedule {
                Err(why) => self.say((state.queue.clone(), state.name.clone()), why.clone()),
                Ok(schedule) if state.due_ms.is_none() && !schedule.definition().paused => {
                    broker.adopt_schedule(state).await?;
                }
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// The definitions of names that are due, in their order; none of one that is gone.
async fn definitions(
    broker: &Broker,
    due: &[(Queue, String, String)],
) -> Result<Vec<Option<Vec<u8>>>, Error> {
    let mut commands = pipe();
    for (queue, name, _) in due {
        commands.cmd("HGET").arg(broker.keys().schedules(queue)).arg(name);
    }
    let mut answers = broker.link().ask_all(&commands).await?.into_iter();
    let read = |_| match next(&mut answers) {
        // It is said when all are looked at.
        Err(error) if is_own(&error) => Ok(None),
        answer => answer,
    };
    due.iter().map(read).collect()
}

/// Fires what is due of one schedule.
async fn fire_one(broker: &Broker, mut due: Due, cap: u64) -> Result<Fired, Error> {
    let steps = plan(&due.schedule, due.at_ms, broker.now_ms());
    for step in steps {
        match take_step(broker, &due, step, cap).await {
            Ok(0) => return Ok(Fired::Over),
            Ok(done) => tell(&due, step, done),
            Err(error) if is_own(&error) => {
                return Ok(Fired::Not((due.queue, due.name.to_string()), error.to_string()));
            }
            Err(error) => return Err(error),
        }
        let Some(next_ms) = step.next else { return Ok(Fired::Over) };
        (due.at_ms, due.score) = (next_ms, next_ms.to_string());
    }
    Ok(Fired::Again(due))
}

/// Runs the script. 1 done, 2 the lane is full, 0 a rival was quicker.
async fn take_step(broker: &Broker, due: &Due, step: Step, cap: u64) -> Result<i64, Error> {
    let Due { queue, name, text, schedule, score, at_ms } = due;
    let (keys, now_ms) = (broker.keys(), broker.now_ms());
    let id = job_id(name, step.fires.unwrap_or(*at_ms));
    let job = step.fires.map(|at_ms| schedule.job(&id, at_ms, now_ms)).unwrap_or_default();
    let [next, age, cap, fires, queued_at] = [
        step.next.map_or_else(String::new, |next| next.to_string()),
        millis(limits::RECORD_AGE_MAX).to_string(),
        cap.to_string(),
        step.fires.unwrap_or_default().to_string(),
        now_ms.to_string(),
    ];
    let (action, lane) = (schedule.action().as_str(), schedule.lane());
    let record = ["action", action, "lane", lane.as_str(), "queued_at", &queued_at];
    let mut args: Vec<&[u8]> = vec![name.as_str().as_bytes(), text, score.as_bytes(), next.as_bytes(), &job];
    args.extend([&age, &cap, &fires].map(|text| text.as_bytes()));
    args.extend(record.map(str::as_bytes));
    let keys = [
        keys.schedules(queue),
        keys.due(queue),
        keys.lane(queue, lane),
        keys.record(queue, &id),
        keys.fired(queue),
    ];
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    broker.scripts().fire.run(broker, &Run { keys: &keys, args: &args }).await
}

fn tell(due: &Due, step: Step, done: i64) {
    let Due { queue, name, .. } = due;
    match (step.fires, done) {
        (Some(at_ms), 1) => debug!(%queue, schedule = %name, at_ms, "fired"),
        (Some(at_ms), _) => warn!(%queue, schedule = %name, at_ms, "not fired: its lane is full"),
        (None, _) => debug!(%queue, schedule = %name, next_ms = step.next, "missed firings are left out"),
    }
}

/// Whether an error is that of one queue or schedule, and not of Redis.
fn is_own(error: &Error) -> bool {
    match error {
        Error::Refused { word, .. } => word == "WRONGTYPE" || error.trouble() == Trouble::Final,
        _ => false,
    }
}
