//! Schedules: what pushes a job again and again (SPEC "Background jobs"). A definition is what stands in Redis or in a file; a
//! schedule is one that was checked. Who fires them is the keeper.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tempest_protocol::{
    Action, Background, Encoding, Envelope, Job, JobId, Keys, Lane, Raw, Schedule as Name, limits,
};

use crate::clock::millis;

pub(crate) mod calendar;
pub(crate) mod plan;
pub(crate) mod stored;

use calendar::Calendar;
pub use stored::{AppliedSchedules, LastFiring, NamedSchedule, PutSchedule, ScheduleState};

/// A schedule as it is written, in the words of the SPEC. Times are milliseconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// A pattern of five or six fields, or a word like `@hourly`; or `every_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// The time zone of `cron`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The handler its jobs are for.
    pub action: String,
    /// Their arguments; null if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Box<RawValue>>,
    /// Their lane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// How often each is tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// How long the result of each is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// How long after it was due a job may still be started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// What becomes of missed firings: `skip`, `once`, `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
    /// Whether it rests.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Who wrote a schedule that comes and goes with a configuration.
const FILE: &str = "file";

/// What is wrong with a definition: which of its fields, and what in one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The field, in the words of the SPEC.
    pub field: &'static str,
    /// One line, without the field.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

/// What becomes of firings that nobody was there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    /// None is made up for.
    Skip,
    /// The last of them is.
    #[default]
    Once,
    /// Each is, of many the last thousand.
    All,
}

impl Missed {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Once, Self::All];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Once => "once",
            Self::All => "all",
        }
    }
}

/// A schedule that is good.
#[derive(Clone, Debug)]
pub struct Schedule {
    definition: Definition,
    calendar: Calendar,
    zone: jiff::tz::TimeZone,
    action: Action,
    args: Raw,
    lane: Lane,
    missed: Missed,
}

impl Definition {
    /// Reads one from Redis. Fields that are not known are left out.
    ///
    /// Errors: why it is none, in one line.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| format!("it cannot be read: {error}"))
    }

    /// As it stands in Redis.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers")
    }

    /// Whether a configuration wrote it.
    pub fn is_from_file(&self) -> bool {
        self.source.as_deref() == Some(FILE)
    }

    /// The same as one that a configuration wrote.
    #[must_use]
    pub fn from_file(self) -> Self {
        Self { source: Some(FILE.to_owned()), ..self }
    }

    /// Whether it fires at the same times as another one.
    pub(crate) fn has_times_of(&self, other: &Self) -> bool {
        (&self.cron, self.every_ms, &self.zone) == (&other.cron, other.every_ms, &other.zone)
    }

    /// When it fires, in a word: the pattern, or `every 30s`.
    pub fn when(&self) -> String {
        match (&self.cron, self.every_ms) {
            (Some(cron), _) => cron.clone(),
            (None, Some(ms)) => format!("every {}", interval(ms)),
            (None, None) => String::new(),
        }
    }

    /// Checks it as a whole.
    ///
    /// Errors: every mistake.
    pub fn check(self) -> Result<Schedule, Vec<Mistake>> {
        let mut wrong = Wrong::default();
        let zone = wrong.told("zone", calendar::zone(self.zone.as_deref().unwrap_or("UTC")));
        let calendar = self.calendar(zone.clone().unwrap_or(jiff::tz::TimeZone::UTC), &mut wrong);
        let action =
            wrong.told("action", Action::new(&self.action).map_err(|error| error.detail().to_owned()));
        let args = wrong.told("args", self.raw_args());
        let lane = self.lane.as_deref().map_or(Ok(Lane::default()), str::parse::<Lane>);
        let lane = wrong.told("lane", lane.map_err(|error| error.detail().to_owned()));
        let missed = wrong.told("missed", self.missed_policy());
        self.check_numbers(&mut wrong);
        match (calendar, zone, action, args, lane, missed) {
            (Some(calendar), Some(zone), Some(action), Some(args), Some(lane), Some(missed))
                if wrong.0.is_empty() =>
            {
                Ok(Schedule { definition: self, calendar, zone, action, args, lane, missed })
            }
            _ => Err(wrong.0),
        }
    }

    fn calendar(&self, zone: jiff::tz::TimeZone, wrong: &mut Wrong) -> Option<Calendar> {
        match (&self.cron, self.every_ms) {
            (Some(cron), None) => wrong.told("cron", Calendar::cron(cron, zone)),
            (None, Some(ms)) => {
                if self.zone.is_some() {
                    wrong.add::<()>("zone", "an interval has no time zone; leave it out");
                }
                wrong.told("every_ms", Calendar::every(ms))
            }
            (Some(_), Some(_)) => wrong.add("every_ms", "there is cron, too; leave one of them out"),
            (None, None) => wrong.add("cron", "it says neither cron nor every_ms, so it would never fire"),
        }
    }

    /// The arguments as a job carries them.
    fn raw_args(&self) -> Result<Raw, String> {
        let null = serde_json::value::to_raw_value(&()).expect("null");
        let args = Raw::encode(Encoding::Json, self.args.as_ref().unwrap_or(&null));
        let args = args.map_err(|error| error.to_string())?;
        // What no worker could read is refused here, where somebody can mend it.
        let trial = Envelope::new(Action::new("trial").expect("a good name")).encode(&args);
        Job::decode(trial, &Keys::default()).map_err(|error| error.to_string())?;
        Ok(args)
    }

    fn missed_policy(&self) -> Result<Missed, String> {
        let Some(word) = &self.missed else { return Ok(Missed::default()) };
        let known = Missed::ALL.into_iter().find(|missed| missed.as_str() == word);
        known.ok_or_else(|| format!("is skip, once or all, not {word:?}"))
    }

    fn check_numbers(&self, wrong: &mut Wrong) {
        let keep_max = millis(limits::KEEP_MAX);
        if self.attempts == Some(0) {
            wrong.add::<()>("attempts", "must be at least 1");
        }
        if self.keep.is_some_and(|keep| keep > keep_max) {
            wrong.add::<()>("keep", &format!("must be at most {keep_max} ms, 30 days"));
        }
        if self.ttl_ms == Some(0) {
            wrong.add::<()>("ttl_ms", "must be at least 1; leave it out for no limit");
        }
        for (field, number) in [("attempts", self.attempts), ("ttl_ms", self.ttl_ms)] {
            if number.is_some_and(|number| number > limits::INTEGER_MAX / 2) {
                wrong.add::<()>(field, "is too large");
            }
        }
    }
}

/// Mistakes as they are found.
#[derive(Default)]
struct Wrong(Vec<Mistake>);

impl Wrong {
    fn add<T>(&mut self, field: &'static str, what: &str) -> Option<T> {
        self.0.push(Mistake { field, what: what.to_owned() });
        None
    }

    fn told<T>(&mut self, field: &'static str, checked: Result<T, String>) -> Option<T> {
        checked.map_or_else(|what| self.add(field, &what), Some)
    }
}

impl Schedule {
    /// Reads and checks one from Redis.
    ///
    /// Errors: what is wrong with it, in one line.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        Definition::read(text)?.check().map_err(|wrong| {
            let lines: Vec<_> = wrong.iter().map(Mistake::to_string).collect();
            lines.join("; ")
        })
    }

    /// As it is written.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// What becomes of missed firings.
    pub fn missed(&self) -> Missed {
        self.missed
    }

    /// The handler its jobs are for.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The lane its jobs go to.
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// When it fires next after this time, in milliseconds since the epoch; none: never again.
    pub fn after(&self, ms: u64) -> Option<u64> {
        self.calendar.after(ms)
    }

    /// The next times after this one, in milliseconds since the epoch.
    pub fn next(&self, after_ms: u64, count: usize) -> Vec<u64> {
        std::iter::successors(self.after(after_ms), |time| self.after(*time)).take(count).collect()
    }

    /// A time in milliseconds as the clocks of its zone show it: `2026-03-29 03:00:00 +02:00`.
    pub fn shown(&self, ms: u64) -> String {
        calendar::shown(ms, &self.zone)
    }

    /// The job of one firing.
    pub(crate) fn job(&self, id: &JobId, due_ms: u64, now_ms: u64) -> bytes::Bytes {
        let mut envelope = Envelope::new(self.action.clone());
        envelope.id = Some(id.clone());
        envelope.lane = self.lane;
        envelope.attempts = self.definition.attempts;
        envelope.deadline_ms = self.definition.ttl_ms.map_or(0, |ttl| due_ms.saturating_add(ttl));
        envelope.queued_at_ms = Some(now_ms);
        let keep_ms = self.definition.keep.unwrap_or_default();
        let background = Background { keep_ms, ..Background::default() };
        envelope.background = Some(Box::new(background)).filter(|background| !background.is_empty());
        envelope.encode(&self.args)
    }
}

/// The id of the job of a firing.
pub(crate) fn job_id(name: &Name, due_ms: u64) -> JobId {
    // 50 characters, a dot, 13 digits until the year 2286.
    JobId::new(format!("{name}.{due_ms}")).expect("names of schedules are short")
}

/// Milliseconds in the largest unit that fits.
fn interval(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

#[cfg(test)]
mod tests;
