//! Troubles with Redis, told once: a fault hits many commands of many connections, but a person reads one line when it
//! begins, one for each further kind of it, and one when all is well again.
//!
//! Nothing is decided here but what is said and counted: how long to wait after an error is each part's own affair
//! ([`Error::trouble`]).

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use crate::{Counter, Error, Trouble, clock::millis};

/// The part of a process that pushes jobs.
pub(crate) const PUSHES: &str = "pushes";
/// No answer came: the connection broke or stayed silent.
const AWAY: &str = "away";
/// One side does not accept the certificate of the other.
const TLS: &str = "tls";
/// What is none of the words that have a meaning here.
const OTHER: &str = "other";
/// The words of faults, as metrics and lines of the log have them.
const WORDS: [&str; 14] = [
    AWAY,
    "OOM",
    "READONLY",
    "MISCONF",
    "BUSY",
    "LOADING",
    "NOPERM",
    "NOAUTH",
    "WRONGPASS",
    "WRONGTYPE",
    "MASTERDOWN",
    "CLUSTERDOWN",
    TLS,
    OTHER,
];
/// How long nothing may have failed before all is well: several parts notice one fault one after the other.
const CALM: Duration = Duration::from_secs(2);
/// A part that has neither failed nor succeeded for this long has nothing to do: its trouble is over.
const FORGOTTEN: Duration = Duration::from_secs(8);

/// The faults of Redis that this process meets, and which of its parts they hit.
#[derive(Debug, Default)]
pub struct Faults {
    /// Whether anything is wrong; else success costs nothing.
    troubled: AtomicBool,
    state: Mutex<State>,
    counts: [Counter; WORDS.len()],
}

#[derive(Debug, Default)]
struct State {
    /// Parts that failed and have not succeeded since.
    parts: HashMap<String, Failing>,
    episode: Option<Episode>,
}

/// A part in trouble.
#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    last: Instant,
    /// Somebody must change something before it succeeds.
    is_denied: bool,
}

/// From the first failure of any part until all are well.
#[derive(Debug)]
struct Episode {
    begun: Instant,
    /// The last failure, or the end of one.
    last: Instant,
    /// Kinds of fault so far; the last is that of now.
    words: Vec<&'static str>,
}

impl Faults {
    /// A part of the process, such as `beats`, met this error. Said if it is news, else left to `debug`. Errors that are
    /// not about Redis, and orders to connect elsewhere, are no faults.
    pub fn failed(&self, part: &str, error: &Error) {
        let Some(word) = word(error) else { return };
        let is_denied = error.trouble() == Trouble::Operator;
        let is_news = self.state().failed(part, word, is_denied, Instant::now());
        self.troubled.store(true, Ordering::Release);
        if is_news {
            if let Some(at) = WORDS.iter().position(|known| *known == word) {
                self.counts[at].count();
            }
            warn!(fault = word, part, %error, "Redis is in trouble; going on as soon as it serves");
        } else {
            debug!(fault = word, part, %error, "Redis is still in trouble");
        }
    }

    /// A part of the process succeeded. Parts that do so all the time, like beats, are who notices the end of a fault.
    pub fn well(&self, part: &str) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        let ended = state.well(part, Instant::now());
        if let Some(Episode { begun, last, words }) = ended {
            self.troubled.store(false, Ordering::Release);
            drop(state);
            let lasted_ms = millis(last.duration_since(begun));
            info!(fault = words.join(","), lasted_ms, "Redis serves again");
        }
    }

    /// The fault that lasts, by its word.
    pub fn current(&self) -> Option<&'static str> {
        self.state().episode.as_ref()?.words.last().copied()
    }

    /// For how long jobs may not be pushed ([`Trouble::Operator`]), without any success between; none if they may, or none
    /// was pushed lately.
    pub fn pushes_denied(&self) -> Option<Duration> {
        let failing = *self.state().parts.get(PUSHES)?;
        (failing.is_denied && failing.last.elapsed() < FORGOTTEN).then(|| failing.since.elapsed())
    }

    /// How often each fault began so far, by its word.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        WORDS.into_iter().zip(self.counts.iter().map(Counter::value))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word of a fault; none if the error is none.
fn word(error: &Error) -> Option<&'static str> {
    match error {
        Error::Down | Error::Away(_) => Some(AWAY),
        Error::Tls(_) => Some(TLS),
        Error::Refused { word, .. } => match word.as_str() {
            "UNBLOCKED" | "MOVED" | "ASK" | "TRYAGAIN" | "NOSCRIPT" => None,
            word => Some(WORDS.into_iter().find(|known| *known == word).unwrap_or(OTHER)),
        },
        Error::Wire(_) | Error::QueueFull { .. } | Error::NotUnique { .. } | Error::Setup(_) => None,
    }
}

impl State {
    /// Whether that is to be said. A connection that breaks while something else is wrong is a consequence of it.
    fn failed(&mut self, part: &str, word: &'static str, is_denied: bool, now: Instant) -> bool {
        let since = self.parts.get(part).map_or(now, |failing| failing.since);
        self.parts.insert(part.to_owned(), Failing { since, last: now, is_denied });
        let episode =
            self.episode.get_or_insert_with(|| Episode { begun: now, last: now, words: Vec::new() });
        episode.last = now;
        let is_known = episode.words.contains(&word) || (word == AWAY && !episode.words.is_empty());
        if !is_known {
            episode.words.push(word);
        }
        !is_known
    }

    /// The episode, if that was its end.
    fn well(&mut self, part: &str, now: Instant) -> Option<Episode> {
        let had = self.parts.remove(part).is_some();
        self.parts.retain(|_, failing| now.duration_since(failing.last) < FORGOTTEN);
        let episode = self.episode.as_mut()?;
        if had {
            episode.last = now;
        }
        let is_over = self.parts.is_empty() && now.duration_since(episode.last) >= CALM;
        if is_over { self.episode.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_fault_is_said_once_however_many_parts_and_times_it_hits() {
        let (mut state, begin) = (State::default(), Instant::now());
        let said =
            (0..1_000).filter(|n| state.failed(["beats", "claims"][n % 2], "OOM", false, begin)).count();
        assert_eq!(said, 1);
        assert!(!state.failed("mailbox", AWAY, false, begin), "a consequence");
        assert!(state.failed("mailbox", "LOADING", false, begin), "another one");
    }

    #[test]
    fn it_ends_when_every_part_was_well_for_a_while() {
        let (mut state, begin) = (State::default(), Instant::now());
        state.failed("mailbox", AWAY, false, begin);
        state.failed("beats", AWAY, false, begin + 10 * MS);
        assert!(state.well("mailbox", begin + 20 * MS).is_none());
        assert!(state.well("mailbox", begin + CALM * 2).is_none(), "beats fail");
        assert!(state.well("beats", begin + CALM * 2).is_none(), "they are only just well");
        let ended = state.well("beats", begin + CALM * 3).expect("an end");
        assert_eq!(ended.last - ended.begun, CALM * 2, "the calm is no part of it");
        assert!(state.failed("beats", AWAY, false, begin + CALM * 4), "the next one is news");
    }

    #[test]
    fn a_part_that_tries_nothing_more_keeps_no_fault_alive() {
        let (mut state, begin) = (State::default(), Instant::now());
        state.failed("pushes", "NOPERM", false, begin);
        assert!(state.well("beats", begin + CALM * 2).is_none());
        assert!(state.well("beats", begin + FORGOTTEN).is_some());
    }

    #[test]
    fn orders_to_connect_elsewhere_are_no_faults() {
        let refused = |word: &str| Error::Refused { word: word.into(), detail: String::new() };
        assert_eq!(word(&refused("UNBLOCKED")), None);
        assert_eq!(word(&Error::QueueFull { queue: "q".into() }), None);
        assert_eq!(word(&refused("NOPERM")), Some("NOPERM"));
        assert_eq!(word(&refused("SOMETHING")), Some(OTHER));
        assert_eq!(word(&Error::Down), Some(AWAY));
    }
}
