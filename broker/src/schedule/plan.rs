//! What to do about a schedule that is due: which jobs to push, and when it is due next. Pure, so that rival keepers
//! decide alike.

use std::collections::VecDeque;

use tempest_protocol::limits;

use crate::{Missed, Schedule, clock::millis};

/// One call of the script `fire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The firing whose job is pushed; none: what was due is left out.
    pub(crate) fires: Option<u64>,
    /// When the schedule is due after that; none: never.
    pub(crate) next: Option<u64>,
}

/// The steps for a schedule that was due at `due_ms`, one after the other.
pub(crate) fn plan(schedule: &Schedule, due_ms: u64, now_ms: u64) -> Vec<Step> {
    let fires = |at| Step { fires: Some(at), next: schedule.after(at) };
    let leaves_out = |next| Step { fires: None, next };
    // Firings up to here were missed.
    let missed_ms = now_ms.saturating_sub(millis(limits::FIRING_LATE));
    if schedule.definition().paused {
        return vec![leaves_out(None)];
    }
    if due_ms > missed_ms {
        return vec![fires(due_ms)];
    }
    match schedule.missed() {
        Missed::Skip => vec![leaves_out(schedule.after(missed_ms))],
        Missed::Once => latest(schedule, due_ms, missed_ms, 1).into_iter().map(fires).collect(),
        Missed::All => {
            let all = latest(schedule, due_ms, missed_ms, limits::MISSED_FIRINGS_MAX);
            let skips = all.front().filter(|first| **first != due_ms).copied();
            skips.map(|first| leaves_out(Some(first))).into_iter().chain(all.into_iter().map(fires)).collect()
        }
    }
}

/// The last firings from `first_ms`, which is one whatever the calendar says, to `last_ms`. Looks back further and further, so
/// that a week of seconds is not counted from its beginning.
fn latest(schedule: &Schedule, first_ms: u64, last_ms: u64, count: usize) -> VecDeque<u64> {
    let mut span_ms = millis(limits::FIRING_LATE);
    loop {
        let from = last_ms.saturating_sub(span_ms).max(first_ms);
        let first = (from == first_ms).then_some(first_ms);
        let rest = std::iter::successors(schedule.after(from), |time| schedule.after(*time));
        let mut found = VecDeque::with_capacity(count);
        for time in first.into_iter().chain(rest.take_while(|time| *time <= last_ms)) {
            if found.len() == count {
                found.pop_front();
            }
            found.push_back(time);
        }
        if found.len() == count || from == first_ms {
            return found;
        }
        span_ms = span_ms.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Definition;

    const HOUR: u64 = 3_600_000;

    fn hourly(missed: &str) -> Schedule {
        let definition = Definition {
            every_ms: Some(HOUR),
            action: "a".into(),
            missed: Some(missed.into()),
            ..Definition::default()
        };
        definition.check().expect("a schedule")
    }

    fn fired(steps: &[Step]) -> Vec<u64> {
        steps.iter().filter_map(|step| step.fires).collect()
    }

    /// Each step leads to the next, and the last one into the time that was not missed.
    fn is_chain(steps: &[Step], now: u64) {
        for pair in steps.windows(2) {
            assert_eq!(pair[0].next, pair[1].fires, "{steps:?}");
        }
        let last = steps.last().and_then(|step| step.next).expect("it goes on");
        assert!(last + 60_000 > now, "{steps:?}");
    }

    #[test]
    fn what_is_less_than_a_minute_late_was_not_missed() {
        for missed in ["skip", "once", "all"] {
            let steps = plan(&hourly(missed), HOUR, HOUR + 59_999);
            assert_eq!(steps, [Step { fires: Some(HOUR), next: Some(2 * HOUR) }], "{missed}");
        }
        assert!(fired(&plan(&hourly("skip"), HOUR, HOUR + 60_000)).is_empty());
    }

    #[test]
    fn missed_firings_are_made_up_for_as_told() {
        let (due, now) = (10 * HOUR, 14 * HOUR + 120_000);
        let skip = plan(&hourly("skip"), due, now);
        assert_eq!(skip, [Step { fires: None, next: Some(15 * HOUR) }]);
        let once = plan(&hourly("once"), due, now);
        assert_eq!(once, [Step { fires: Some(14 * HOUR), next: Some(15 * HOUR) }]);
        let all = plan(&hourly("all"), due, now);
        assert_eq!(fired(&all), [10, 11, 12, 13, 14].map(|hour| hour * HOUR));
        is_chain(&all, now);
    }

    #[test]
    fn of_very_many_missed_firings_the_last_thousand_count() {
        let (due, now) = (10 * HOUR, 5_010 * HOUR + 120_000);
        let all = plan(&hourly("all"), due, now);
        assert_eq!(all[0], Step { fires: None, next: Some(4_011 * HOUR) });
        assert_eq!((fired(&all).len(), fired(&all).last()), (1_000, Some(&(5_010 * HOUR))));
        is_chain(&all, now);
    }

    #[test]
    fn a_time_that_somebody_wrote_by_hand_is_a_firing() {
        let now = HOUR + 1_800_000;
        assert_eq!(fired(&plan(&hourly("all"), 7, now)), [7, HOUR]);
        assert_eq!(fired(&plan(&hourly("once"), 7, 600_000)), [7]);
    }

    #[test]
    fn a_paused_schedule_leaves_out_what_is_due() {
        let mut definition = hourly("all").definition().clone();
        definition.paused = true;
        let steps = plan(&definition.check().expect("a schedule"), HOUR, HOUR);
        assert_eq!(steps, [Step { fires: None, next: None }]);
    }
}
