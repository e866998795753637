//! How a worker ended.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What a worker did from its start to its end. Displayed, it is one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Jobs whose handler succeeded.
    pub done: u64,
    /// Jobs whose handler failed, panicked or took too long, or that could not be run at all.
    pub failed: u64,
    /// Jobs that were cancelled, running or not.
    pub cancelled: u64,
    /// Jobs whose deadline had passed before they were started, or passed while they ran.
    pub expired: u64,
    /// Jobs that came a second time after they were finished, and were not run again.
    pub repeated: u64,
    /// Jobs that were claimed but not started, and went back to the head of their lane.
    pub given_back: u64,
    /// Jobs that were still running when the time to finish was over: put back for another attempt, or failed.
    pub cut_short: u64,
    /// Jobs that could not be settled any more because Redis was away; recovery finds them.
    pub left_behind: u64,
    /// How long the worker ran.
    pub ran: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended after {:.1} s: {} done, {} failed", self.ran.as_secs_f64(), self.done, self.failed)?;
        let rare = [
            (self.cancelled, "cancelled"),
            (self.expired, "expired"),
            (self.repeated, "repeated"),
            (self.given_back, "given back"),
            (self.cut_short, "cut short"),
            (self.left_behind, "left behind"),
        ];
        rare.iter()
            .filter(|(count, _)| *count > 0)
            .try_for_each(|(count, what)| write!(f, ", {count} {what}"))
    }
}

/// How one job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Failed,
    Cancelled,
    Expired,
    Repeated,
    CutShort,
    /// It was not run: others of its key do.
    SetAside,
}

/// Counts while the worker runs.
#[derive(Default)]
pub(crate) struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    expired: AtomicU64,
    repeated: AtomicU64,
    cut_short: AtomicU64,
    given_back: AtomicU64,
}

impl Counts {
    pub(crate) fn add(&self, ending: Ending) {
        let count = match ending {
            Ending::Done => &self.done,
            Ending::Failed => &self.failed,
            Ending::Cancelled => &self.cancelled,
            Ending::Expired => &self.expired,
            Ending::Repeated => &self.repeated,
            Ending::CutShort => &self.cut_short,
            Ending::SetAside => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
    }

    /// Jobs that were started and have ended, in whatever way.
    pub(crate) fn finished(&self) -> u64 {
        [&self.done, &self.failed, &self.cut_short].map(|count| count.load(Ordering::Relaxed)).iter().sum()
    }

    pub(crate) fn report(&self, ran: Duration, left_behind: u64) -> Report {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Report {
            done: of(&self.done),
            failed: of(&self.failed),
            cancelled: of(&self.cancelled),
            expired: of(&self.expired),
            repeated: of(&self.repeated),
            given_back: of(&self.given_back),
            cut_short: of(&self.cut_short),
            left_behind,
            ran,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line_without_what_did_not_happen() {
        let report =
            Report { done: 3, given_back: 2, ran: Duration::from_millis(1_250), ..Report::default() };
        assert_eq!(report.to_string(), "ended after 1.2 s: 3 done, 0 failed, 2 given back");
    }
}
