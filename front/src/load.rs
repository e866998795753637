//! How long a new request would wait: what is before it, times what each takes.
//!
//! While jobs wait, the time between two completions tells the pace of all workers together, however many there are and
//! whatever else they do (other fronts get their share the same way). Before anything is known of that, the time that
//! workers say a job took, divided by their slots, stands in for it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How much a new figure counts against those before.
const WEIGHT: f64 = 0.1;
/// A pace that was not seen for this long says nothing any more.
const FRESH: Duration = Duration::from_secs(10);

/// Load of one queue, as this front sees it.
#[derive(Default)]
pub(crate) struct Load {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    in_flight: u32,
    /// When the last job was completed, if others were waiting then.
    busy_since: Option<Instant>,
    /// Seconds between completions while jobs wait, and when that was last seen.
    gap: Option<(f64, Instant)>,
    /// Seconds that workers say a job takes.
    work: Option<f64>,
}

impl Load {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that will become a job was admitted.
    pub(crate) fn begun(&self) {
        self.state().in_flight += 1;
    }

    /// It has ended; `work` is how long its worker says it took, if it was completed. `slots` are those of all workers.
    pub(crate) fn ended(&self, completed: bool, work: Option<Duration>, slots: u32, now: Instant) {
        let mut state = self.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        let others_wait = state.in_flight > slots.max(1);
        if !completed {
            // Who gave up no longer waits; the time until somebody asks again is nobody's pace.
            state.busy_since = state.busy_since.filter(|_| others_wait);
            return;
        }
        if let Some(work) = work {
            state.work = Some(blend(state.work, work.as_secs_f64()));
        }
        if let Some(before) = state.busy_since {
            let gap = blend(state.gap.map(|(gap, _)| gap), now.duration_since(before).as_secs_f64());
            state.gap = Some((gap, now));
        }
        state.busy_since = others_wait.then_some(now);
    }

    /// How long a job that comes now would wait until it is done. `depth` is how many jobs wait in the lane, those of
    /// other fronts too; `slots` are those of all workers. None while too little is known.
    pub(crate) fn expected_wait(&self, depth: u64, slots: u32, now: Instant) -> Option<Duration> {
        let state = self.state();
        let slots = f64::from(slots.max(1));
        let paced = state.gap.filter(|(_, seen)| now.duration_since(*seen) < FRESH).map(|(gap, _)| gap);
        let pace = paced.or_else(|| state.work.map(|work| work / slots))?;
        let own = f64::from(state.in_flight);
        let others = f64::from(u32::try_from(depth).unwrap_or(u32::MAX));
        // A job that finds a free slot takes as long as its work.
        let rounds = (own.max(others) + 1.0) * pace;
        Duration::try_from_secs_f64(rounds.max(state.work.unwrap_or_default())).ok()
    }
}

fn blend(before: Option<f64>, seconds: f64) -> f64 {
    before.map_or(seconds, |before| before + WEIGHT * (seconds - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What `in_flight` more jobs would make a new one wait, in milliseconds.
    fn expected(load: &Load, in_flight: u32, depth: u64, slots: u32, now: Instant) -> Option<u128> {
        (0..in_flight).for_each(|_| load.begun());
        let wait = load.expected_wait(depth, slots, now).map(|wait| wait.as_millis());
        (0..in_flight).for_each(|_| load.ended(false, None, slots, now));
        wait
    }

    #[test]
    fn one_completed_job_tells_what_many_would_take() {
        let (load, now) = (Load::default(), Instant::now());
        assert_eq!(expected(&load, 100, 100, 1, now), None, "nothing is known yet");
        load.begun();
        load.ended(true, Some(100 * MS), 1, now);
        assert_eq!(expected(&load, 0, 0, 1, now), Some(100));
        assert_eq!(expected(&load, 9, 0, 1, now), Some(1_000));
        assert_eq!(expected(&load, 9, 0, 2, now), Some(500));
        assert_eq!(expected(&load, 0, 19, 2, now), Some(1_000), "jobs of other fronts");
        assert_eq!(
            expected(&load, 0, 0, 64, now),
            Some(100),
            "a free slot does not make it shorter than its work"
        );
    }

    #[test]
    fn the_pace_of_completions_counts_while_jobs_wait() {
        let (load, begin) = (Load::default(), Instant::now());
        (0..100).for_each(|_| load.begun());
        // Workers that say nothing of their time.
        for n in 0..50u32 {
            load.ended(true, None, 4, begin + 20 * MS * n);
        }
        let now = begin + 1_000 * MS;
        let wait = load.expected_wait(0, 4, now).map(|wait| wait.as_millis());
        assert_eq!(wait, Some(51 * 20), "fifty before it, one each 20 ms");
        assert_eq!(load.expected_wait(0, 4, now + FRESH), None, "that was long ago");
    }

    #[test]
    fn a_pause_after_clients_left_is_no_pace() {
        let (load, begin) = (Load::default(), Instant::now());
        (0..256).for_each(|_| load.begun());
        for n in 0..100u32 {
            load.ended(true, None, 2, begin + MS * n);
        }
        (0..156).for_each(|_| load.ended(false, None, 2, begin + 100 * MS));
        let back = begin + 8_000 * MS;
        (0..256).for_each(|_| load.begun());
        load.ended(true, None, 2, back);
        let wait = load.expected_wait(0, 2, back).map(|wait| wait.as_millis());
        assert_eq!(wait, Some(256), "one each millisecond, as before");
    }

    #[test]
    fn a_pace_without_a_backlog_says_nothing() {
        let (load, begin) = (Load::default(), Instant::now());
        for n in 0..50u32 {
            load.begun();
            load.ended(true, None, 1, begin + 1_000 * MS * n);
        }
        assert_eq!(
            load.expected_wait(0, 1, begin + 50_000 * MS),
            None,
            "one request a second is no overload"
        );
    }
}
