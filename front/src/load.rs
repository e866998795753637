//! How long a new request would wait: what is before it, times what each takes (Little's law).
//!
//! While jobs wait, the time between two completions of this front's own jobs tells the pace at which its own are served,
//! however many workers there are and whatever else they do (other fronts get their share the same way). Before anything
//! is known of that, the time that workers say a job took, divided by their slots, stands in for it.
//!
//! A request is worth its job only if it is almost surely answered in time: what has to time out takes the place of what
//! need not. So not the mean is told but what 99 of 100 do not exceed: the more the times of jobs differ, and the fewer
//! have been seen, the farther above the mean it is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tempest_broker::Prospect;

/// A pace that was not seen for this long says nothing any more.
const FRESH: Duration = Duration::from_secs(10);
/// The pace is that of the last second or two, and of no fewer completions than these. It is a sum over a sum: the
/// completions of many slots come in bunches, and a mean of gaps would follow each bunch.
const WINDOW_S: f64 = 1.0;
const WINDOW_COMPLETIONS: f64 = 32.0;
/// The time of jobs is that of the last hundred or two.
const WINDOW_JOBS: f64 = 128.0;
/// How many standard deviations above the mean 99 of 100 lie below.
const DEVIATIONS: f64 = 2.33;
/// Of a deadline, what is kept for all that no estimate knows.
const KEPT: f64 = 0.1;

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
    pace: Pace,
    work: Work,
    others: Others,
}

/// The time between completions while jobs wait.
#[derive(Default)]
struct Pace {
    busy_s: f64,
    completions: f64,
    seen: Option<Instant>,
}

/// What workers say that a job takes.
#[derive(Default)]
struct Work {
    jobs: f64,
    seconds: f64,
    squares: f64,
}

/// What waits in the lane and is not this front's: nobody tells how it changes between two looks, so it is taken to stay.
#[derive(Default)]
struct Others {
    looked: Option<Instant>,
    jobs: f64,
}

/// A time between two jobs, and how sure it is.
struct Gap {
    seconds: f64,
    /// How many were seen.
    seen: f64,
}

impl Load {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has become a job.
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
            state.work.told(work.as_secs_f64());
        }
        if let Some(before) = state.busy_since {
            state.pace.completed(now.duration_since(before), now);
        }
        state.busy_since = others_wait.then_some(now);
    }

    /// If a job that comes now would not be done in time: how long it would take. `looked` is when the prospect was seen.
    /// None, too, while too little is known, or a slot is free.
    pub(crate) fn too_late(
        &self,
        prospect: Prospect,
        looked: Option<Instant>,
        deadline: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let mut state = self.state();
        let in_flight = state.in_flight;
        let own = f64::from(in_flight);
        let others = state.others.at(looked, prospect.load.jobs, in_flight);
        let slots = f64::from(prospect.slots.max(1));
        if own + others < slots {
            return None;
        }
        let wait = state.expected_wait(own + 1.0, others, slots, now)?;
        (wait > deadline.as_secs_f64() * (1.0 - KEPT))
            .then(|| Duration::try_from_secs_f64(wait).unwrap_or(deadline))
    }
}

impl State {
    /// What 99 of 100 do not exceed, in seconds, of a job that is the last of so many of its own front and others.
    fn expected_wait(&self, own: f64, others: f64, slots: f64, now: Instant) -> Option<f64> {
        let variation = self.work.variation();
        let by_pace = self.pace.gap(self.busy_since, now).map(|gap| gap.wait(own, variation));
        let by_work = self.work.gap(slots).map(|gap| gap.wait(own + others, variation));
        // Both are below the truth where they are wrong: the pace until it has seen what others do, the work of a job
        // always, by what lies between two jobs of a slot.
        match (by_pace, by_work) {
            (Some(pace), Some(work)) => Some(pace.max(work)),
            (one, other) => one.or(other),
        }
    }
}

impl Pace {
    fn completed(&mut self, after: Duration, now: Instant) {
        if self.seen.is_some_and(|seen| now.duration_since(seen) > FRESH) {
            *self = Self::default();
        }
        self.busy_s += after.as_secs_f64();
        self.completions += 1.0;
        self.seen = Some(now);
        if self.busy_s > WINDOW_S && self.completions > WINDOW_COMPLETIONS {
            self.busy_s /= 2.0;
            self.completions /= 2.0;
        }
    }

    /// Workers that say nothing for longer than they did so far have become slower.
    fn gap(&self, busy_since: Option<Instant>, now: Instant) -> Option<Gap> {
        self.seen.filter(|seen| now.duration_since(*seen) < FRESH)?;
        let silent_s = busy_since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        let silent = (self.busy_s + silent_s) / (self.completions + 1.0);
        Some(Gap { seconds: (self.busy_s / self.completions).max(silent), seen: self.completions })
    }
}

impl Work {
    fn told(&mut self, seconds: f64) {
        self.jobs += 1.0;
        self.seconds += seconds;
        self.squares += seconds * seconds;
        if self.jobs > WINDOW_JOBS {
            self.jobs /= 2.0;
            self.seconds /= 2.0;
            self.squares /= 2.0;
        }
    }

    fn gap(&self, slots: f64) -> Option<Gap> {
        (self.jobs > 0.0).then(|| Gap { seconds: self.seconds / self.jobs / slots, seen: self.jobs })
    }

    /// Variance by square of the mean; that of times without memory, if workers do not tell.
    fn variation(&self) -> f64 {
        let (mean, square) = (self.seconds / self.jobs, self.squares / self.jobs);
        match mean > 0.0 {
            true => (square / (mean * mean) - 1.0).max(0.0),
            false => 1.0,
        }
    }
}

impl Others {
    /// How many there are, if the last look at the lane saw so many in all.
    fn at(&mut self, looked: Option<Instant>, depth: u64, own: u32) -> f64 {
        if self.looked != looked {
            let others = depth.saturating_sub(u64::from(own));
            *self = Self { looked, jobs: f64::from(u32::try_from(others).unwrap_or(u32::MAX)) };
        }
        self.jobs
    }
}

impl Gap {
    /// What 99 of 100 do not exceed, if `jobs` are to be done with this gap.
    fn wait(&self, jobs: f64, variation: f64) -> f64 {
        let deviation = (variation * (jobs + jobs * jobs / self.seen)).sqrt();
        self.seconds * (jobs + DEVIATIONS * deviation)
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use tempest_broker::Load as LaneLoad;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn prospect(slots: u32, jobs: u64) -> Prospect {
        Prospect { slots, load: LaneLoad { jobs, ..LaneLoad::default() } }
    }

    /// What a new job behind those in flight and `depth` others would wait, in milliseconds; none if nobody knows, or if
    /// it need not.
    fn expected(load: &Load, depth: u64, slots: u32, now: Instant) -> Option<u128> {
        let looked = Some(now); // a look for each question
        let wait = load.too_late(prospect(slots, depth), looked, Duration::ZERO, now);
        wait.map(|wait| (wait + MS / 2).as_millis())
    }

    fn begun(load: &Load, jobs: u32) {
        (0..jobs).for_each(|_| load.begun());
    }

    #[test]
    fn one_completed_job_tells_what_many_would_take() {
        let (load, now) = (Load::default(), Instant::now());
        begun(&load, 101);
        assert_eq!(expected(&load, 100, 1, now), None, "nothing is known yet");
        load.ended(true, Some(100 * MS), 101, now);
        (0..99).for_each(|_| load.ended(false, None, 101, now));
        assert_eq!(expected(&load, 0, 1, now), Some(200), "one before it");
        begun(&load, 8);
        assert_eq!(expected(&load, 0, 1, now), Some(1_000));
        assert_eq!(expected(&load, 0, 2, now), Some(500));
        assert_eq!(expected(&load, 19, 2, now + MS), Some(1_000), "ten jobs of other fronts");
        assert_eq!(expected(&load, 0, 64, now), None, "a slot is free, however long the work");
    }

    #[test]
    fn the_pace_of_completions_counts_while_jobs_wait() {
        let (load, begin) = (Load::default(), Instant::now());
        begun(&load, 100);
        // Four at a time, and something between two jobs of a slot that no worker tells of.
        for n in 0..50u32 {
            load.ended(true, Some(60 * MS), 4, begin + 20 * MS * n);
        }
        let now = begin + 49 * 20 * MS;
        assert_eq!(expected(&load, 0, 4, now), Some(51 * 20), "fifty before it, one each 20 ms");
        assert_eq!(
            expected(&load, 0, 4, now + FRESH),
            Some(51 * 15),
            "that was long ago: what the workers said"
        );
    }

    #[test]
    fn completions_in_bunches_are_a_steady_pace() {
        let (load, begin) = (Load::default(), Instant::now());
        begun(&load, 16 * 201);
        for bunch in 0..200u32 {
            for n in 0..16 {
                let now = begin + 10 * MS * bunch + MS / 100 * n;
                load.ended(true, Some(9 * MS), 16, now);
                let in_flight = 16 * 201 - (16 * bunch + n + 1);
                if bunch > 50 {
                    let each_us =
                        expected(&load, 0, 16, now).expect("known") * 1_000 / u128::from(in_flight + 1);
                    assert!((590..660).contains(&each_us), "10 ms / 16 is 625 us, not {each_us}");
                }
            }
        }
    }

    #[test]
    fn a_pause_after_clients_left_is_no_pace() {
        let (load, begin) = (Load::default(), Instant::now());
        begun(&load, 256);
        for n in 0..100u32 {
            load.ended(true, Some(MS), 2, begin + MS * n);
        }
        (0..156).for_each(|_| load.ended(false, None, 2, begin + 100 * MS));
        let back = begin + 8_000 * MS;
        begun(&load, 256);
        load.ended(true, Some(MS), 2, back);
        assert_eq!(expected(&load, 0, 2, back), Some(256), "one each millisecond, as before");
    }

    #[test]
    fn workers_that_say_nothing_any_more_have_become_slower() {
        let (load, begin) = (Load::default(), Instant::now());
        begun(&load, 600);
        for n in 0..500u32 {
            load.ended(true, Some(MS), 1, begin + MS * n);
        }
        let last = begin + 499 * MS;
        assert_eq!(expected(&load, 0, 1, last), Some(101));
        let silent = expected(&load, 0, 1, last + 2_000 * MS);
        assert!(silent.is_some_and(|wait| wait > 500), "{silent:?}");
    }

    #[test]
    fn jobs_that_differ_much_need_more_room() {
        let waits = [[10, 10], [1, 19]].map(|works| {
            let (load, now) = (Load::default(), Instant::now());
            begun(&load, 200);
            for n in 0..100 {
                load.ended(true, Some(works[n % 2] * MS), 200, now);
            }
            expected(&load, 0, 1, now).expect("known")
        });
        assert_eq!(waits[0], 1_010, "a hundred before it");
        assert!((1_250..1_600).contains(&waits[1]), "{waits:?}");
    }

    #[test]
    fn the_jobs_of_others_are_those_of_the_last_look() {
        let (load, now) = (Load::default(), Instant::now());
        let wait = |jobs, looked| load.too_late(prospect(1, jobs), Some(looked), Duration::ZERO, now);
        begun(&load, 301);
        load.ended(true, Some(MS), 301, now);
        assert_eq!(wait(300, now), Some(301 * MS), "all of them are its own");
        (0..200).for_each(|_| load.ended(false, None, 1, now));
        assert_eq!(wait(300, now), Some(101 * MS), "its own have left since, whatever was seen then");
        assert_eq!(wait(300, now + MS), Some(301 * MS), "two hundred are of others");
    }

    #[test]
    fn a_part_of_the_deadline_is_kept() {
        let (load, now) = (Load::default(), Instant::now());
        begun(&load, 100);
        load.ended(true, Some(MS), 100, now);
        let late = |deadline| load.too_late(prospect(1, 0), Some(now), deadline, now).is_some();
        assert!(late(105 * MS) && !late(115 * MS));
    }
}
