//! Log lines about what others do wrong, at a rate nobody can raise: whoever sends garbage must not fill the disk.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines that may come at once.
const BURST: u32 = 10;
/// After that, one in this time.
const PACE: Duration = Duration::from_secs(1);

/// A kind of log line that comes at most ten times at once and then once a second.
#[derive(Debug, Default)]
pub struct Rarely {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines said and not yet paced off.
    said: u32,
    since: Option<Instant>,
    unsaid: u64,
}

impl Rarely {
    /// Calls `say`, or counts that it was not called. `say` is given how many lines were left out before it.
    pub fn say(&self, say: impl FnOnce(u64)) {
        let unsaid = self.state.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if let Some(unsaid) = unsaid {
            say(unsaid);
        }
    }
}

impl State {
    /// How many lines were left out since the last one; none: this one is left out too.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let paced =
            u32::try_from(now.duration_since(since).as_millis() / PACE.as_millis()).unwrap_or(u32::MAX);
        if paced > 0 {
            self.said = self.said.saturating_sub(paced);
            self.since = Some(now);
        }
        if self.said == BURST {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_some_lines_and_then_one_a_second_with_the_number_left_out() {
        let (mut state, begin) = (State::default(), Instant::now());
        let first: Vec<_> = (0..1000).filter_map(|_| state.admit(begin)).collect();
        assert_eq!(first, [0; 10]);
        assert_eq!(state.admit(begin + PACE), Some(990));
        assert_eq!(state.admit(begin + PACE), None);
        assert_eq!(state.admit(begin + PACE * 60), Some(1));
        assert_eq!((0..1000).filter_map(|_| state.admit(begin + PACE * 60)).count(), 9);
    }
}
