//! When a schedule fires: Vixie cron with time zones, and intervals. Pure: no clock, no Redis.
//!
//! Patterns are searched on the clock on the wall, where nothing is left out and nothing comes twice; what a time zone makes of
//! a wall time is decided here and not by the crate that reads the patterns (SPEC "Background jobs", `zone`).

use croner::{
    Cron,
    errors::CronError,
    parser::{CronParser, CronParserBuilder, Seconds, Year},
};
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase},
};
use tempest_protocol::limits;

use crate::clock::millis;

/// The words for patterns, and what they stand for.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields of a pattern; the first may be absent.
const FIELDS: [&str; 6] = ["second", "minute", "hour", "day", "month", "weekday"];

/// An interval of more than a year is a mistake.
const EVERY_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// The times at which a schedule fires.
#[derive(Clone, Debug)]
pub(crate) enum Calendar {
    Cron {
        cron: Box<Cron>,
        /// It goes by the clock as it is; else each wall time comes once a day, whatever the clock does.
        by_the_clock: bool,
        zone: TimeZone,
    },
    Every {
        ms: u64,
    },
}

impl Calendar {
    /// Every so many milliseconds, at multiples of them since the epoch.
    ///
    /// Errors: what is wrong with the interval.
    pub(crate) fn every(ms: u64) -> Result<Self, String> {
        let min = millis(limits::EVERY_MIN);
        if (min..=EVERY_MS_MAX).contains(&ms) {
            return Ok(Self::Every { ms });
        }
        Err(format!("must be from {min} ms to 366 days in milliseconds, not {ms}"))
    }

    /// A pattern in a zone.
    ///
    /// Errors: what is wrong with the pattern.
    pub(crate) fn cron(pattern: &str, zone: TimeZone) -> Result<Self, String> {
        let written = plain(pattern)?;
        let fields: Vec<_> = written.split_whitespace().collect();
        let [.., hours, days, _, weekdays] = fields[..] else { return Err(count(pattern)) };
        if !(5..=6).contains(&fields.len()) {
            return Err(count(pattern));
        }
        // As Vixie cron has it: both must fit as soon as one of them begins with a star, else one of them is enough.
        let both = days.starts_with('*') || weekdays.starts_with('*');
        let parser = parser().dom_and_dow(both);
        let cron = parser.build().parse(written).map_err(|error| reason(pattern, &fields, &error))?;
        let calendar = Self::Cron { cron: Box::new(cron), by_the_clock: hours.starts_with('*'), zone };
        match calendar.after(0) {
            Some(_) => Ok(calendar),
            None => Err(format!("{pattern:?} never comes: no month has such a day")),
        }
    }

    /// The first time after this one; all in milliseconds since the epoch.
    pub(crate) fn after(&self, ms: u64) -> Option<u64> {
        match self {
            Self::Every { ms: every } => Some((ms / every + 1) * every),
            Self::Cron { cron, by_the_clock, zone } => {
                let after = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
                let next = match by_the_clock {
                    true => by_the_clock_after(cron, zone, after),
                    false => once_after(cron, zone, after),
                };
                u64::try_from(next?.as_millisecond()).ok()
            }
        }
    }
}

/// What a word for a pattern stands for, else the pattern.
fn plain(pattern: &str) -> Result<&str, String> {
    let word = pattern.trim();
    if !word.starts_with('@') {
        return Ok(word);
    }
    let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map(|(_, plain)| *plain).ok_or_else(|| {
        let words: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        format!("{word:?} is no word for a time; there are {}", words.join(", "))
    })
}

fn count(pattern: &str) -> String {
    format!(
        "{pattern:?} must be five fields (minute hour day month weekday), six with seconds in front, or a word like @hourly"
    )
}

/// What is wrong with a pattern: the first of its fields that is no good, and why.
fn reason(pattern: &str, fields: &[&str], error: &CronError) -> String {
    let names = &FIELDS[FIELDS.len() - fields.len()..];
    let wrong = fields.iter().enumerate().find_map(|(at, field)| {
        let mut alone = vec!["*"; fields.len()];
        alone[at] = field;
        let error = parser().build().parse(&alone.join(" ")).err()?;
        Some(format!("{} {field:?}: {}", names[at], told(&error)))
    });
    format!("{pattern:?} is no cron pattern: {}", wrong.unwrap_or_else(|| told(error)))
}

/// The words of the crate, without what it calls itself.
fn told(error: &CronError) -> String {
    let text = match error {
        CronError::InvalidPattern(text)
        | CronError::IllegalCharacters(text)
        | CronError::ComponentError(text) => text.clone(),
        other => other.to_string(),
    };
    text.trim_end_matches('.').replace("CronPattern contains", "it has").to_lowercase()
}

fn parser() -> CronParserBuilder {
    CronParser::builder().seconds(Seconds::Optional).year(Year::Optional)
}

/// The next wall time of a pattern.
fn wall(cron: &Cron, from: &DateTime, inclusive: bool) -> Option<DateTime> {
    cron.find_next_occurrence(from, inclusive).ok()
}

/// The next firing of a pattern with hours of its own. On the wall its times rise, and so do the instants they are given: the
/// earlier of two, or the end of a gap.
fn once_after(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let mut time = wall(cron, &zone.to_datetime(after), true)?;
    loop {
        let instant = only_instant(zone, time)?;
        if instant > after {
            return Some(instant);
        }
        time = wall(cron, &time, false)?;
    }
}

/// The one instant that a wall time has.
fn only_instant(zone: &TimeZone, time: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(time).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(time).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the offset behind the gap, the time is an instant before it.
            let before_it = after.to_timestamp(time).ok()?;
            let end = zone.following(before_it).find(|change| change.offset() == after)?;
            Some(end.timestamp())
        }
    }
}

/// The next firing of a pattern that goes by the clock: between two changes of the clock, its offset makes the instants.
fn by_the_clock_after(cron: &Cron, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let (mut begin, mut offset) = (after, zone.to_offset(after));
    loop {
        let change = zone.following(begin).next();
        let mut time = wall(cron, &offset.to_datetime(begin), true)?;
        while offset.to_timestamp(time).ok()? <= after {
            time = wall(cron, &time, false)?;
        }
        let instant = offset.to_timestamp(time).ok()?;
        match change {
            Some(change) if change.timestamp() <= instant => {
                (begin, offset) = (change.timestamp(), change.offset());
            }
            _ => return Some(instant),
        }
    }
}

/// A time zone by its name, of this machine or, where that has none, of those the program brings along.
///
/// Errors: there is no such zone.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    zone_of(jiff::tz::db(), name)
}

fn zone_of(machine: &TimeZoneDatabase, name: &str) -> Result<TimeZone, String> {
    let found = machine.get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    found.map_err(|_| format!("{name:?} is no time zone of the IANA, like Europe/Berlin or UTC"))
}

/// An instant as the clocks of a zone show it: `2026-03-29 03:00:00 +02:00`.
pub(crate) fn shown(ms: u64, zone: &TimeZone) -> String {
    let instant = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    instant.map_or_else(
        || ms.to_string(),
        |instant| instant.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string(),
    )
}

#[cfg(test)]
mod tests;
