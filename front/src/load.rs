//! How long a new request would wait: what is in flight, over what was completed lately (Little's law). It holds for
//! any number of workers and other fronts, because both figures are this front's own share.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Completions are counted in two windows of this length.
const WINDOW: Duration = Duration::from_secs(5);
/// Fewer completions than this say nothing.
const COMPLETIONS_MIN: u32 = 20;

/// Load of one queue, as this front sees it.
#[derive(Default)]
pub(crate) struct Load {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_flight: u32,
    depth: u64,
    window: Option<Instant>,
    current: u32,
    previous: u32,
}

impl Load {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begun(&self) {
        self.state().in_flight += 1;
    }

    /// The lane's depth after a push.
    pub(crate) fn pushed(&self, depth: u64) {
        self.state().depth = depth;
    }

    pub(crate) fn ended(&self, answered: bool, now: Instant) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.turn(now);
        state.current += u32::from(answered);
    }

    /// None while nothing waits or too little is known.
    pub(crate) fn expected_wait(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        state.turn(now);
        let completed = state.current + state.previous;
        if state.depth <= 1 || completed < COMPLETIONS_MIN {
            return None;
        }
        let begun = state.window?;
        let before = if state.previous > 0 { WINDOW } else { Duration::ZERO };
        let seconds = (now.duration_since(begun) + before).as_secs_f64().max(0.5);
        Some(Duration::from_secs_f64(f64::from(state.in_flight) * seconds / f64::from(completed)))
    }
}

impl State {
    fn turn(&mut self, now: Instant) {
        let begun = *self.window.get_or_insert(now);
        let windows = now.duration_since(begun).as_secs() / WINDOW.as_secs();
        if windows > 0 {
            self.previous = if windows == 1 { self.current } else { 0 };
            self.current = 0;
            self.window = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expects_what_littles_law_says() {
        let (load, start) = (Load::default(), Instant::now());
        (0..200).for_each(|_| load.begun());
        assert_eq!(load.expected_wait(start), None, "nothing was completed yet");
        load.pushed(100);
        for n in 0..100u32 {
            load.ended(true, start + Duration::from_millis(40) * n);
        }
        // 100 in flight, 100 completed in 4 seconds.
        let expected = load.expected_wait(start + Duration::from_secs(4)).map(|wait| wait.as_secs());
        assert_eq!(expected, Some(4));
    }

    #[test]
    fn says_nothing_while_the_lane_is_empty() {
        let (load, now) = (Load::default(), Instant::now());
        (0..100).for_each(|_| load.begun());
        (0..50).for_each(|_| load.ended(true, now));
        assert_eq!(load.expected_wait(now), None);
    }
}
