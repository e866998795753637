//! Where the time of a request went: in the front, in the queue, in the worker, and on the way back.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use http::HeaderValue;
use tempest_protocol::Timing;

/// The time of a job as its front saw it. Lives in the extensions of the response made of its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobTime {
    /// From the begin of the push to the reply.
    pub(crate) waited: Duration,
    /// When it was pushed, in milliseconds of Redis time.
    pub(crate) queued_at_ms: u64,
    /// What its worker tells.
    pub(crate) timing: Timing,
}

/// The parts of a request's time. What nobody told is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// In the front: all but the wait for the job.
    pub(crate) front: Duration,
    /// From the push until a worker had the job.
    pub(crate) queue: Option<Duration>,
    /// In the worker.
    pub(crate) worker: Option<Duration>,
    /// From the end of the work until the front had the reply.
    pub(crate) reply: Option<Duration>,
}

impl Parts {
    /// Divides the time from `began` to `now`. A worker is believed as far as its times fit into the wait.
    pub(crate) fn of(began: Instant, now: Instant, job: Option<JobTime>) -> Self {
        let total = now.duration_since(began);
        let Some(job) = job else { return Self { front: total, ..Self::default() } };
        let front = total.saturating_sub(job.waited);
        let worker = job.timing.work_us.map(|us| Duration::from_micros(us).min(job.waited));
        let rest = job.waited.saturating_sub(worker.unwrap_or_default());
        let queue = job.timing.claimed_at_ms.map(|claimed_at_ms| {
            Duration::from_millis(claimed_at_ms.saturating_sub(job.queued_at_ms)).min(rest)
        });
        // What is left is the way back only if both others are known.
        let reply = worker.and(queue).map(|queue| rest.saturating_sub(queue));
        Self { front, queue, worker, reply }
    }

    /// The parts as a `Server-Timing` field (W3C Server Timing), in milliseconds.
    pub(crate) fn to_header(self) -> Option<HeaderValue> {
        let mut text = format!("front;dur={}", milliseconds(self.front));
        for (name, part) in [("queue", self.queue), ("worker", self.worker), ("reply", self.reply)] {
            if let Some(part) = part {
                write!(text, ", {name};dur={}", milliseconds(part)).ok()?;
            }
        }
        HeaderValue::try_from(text).ok()
    }
}

/// Milliseconds, to three digits.
pub(crate) fn milliseconds(part: Duration) -> f64 {
    (part.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn of(total: Duration, waited: Duration, timing: Timing) -> Parts {
        let began = Instant::now();
        Parts::of(began, began + total, Some(JobTime { waited, queued_at_ms: 1000, timing }))
    }

    #[test]
    fn the_parts_make_up_the_whole() {
        let parts = of(10 * MS, 9 * MS, Timing { claimed_at_ms: Some(1002), work_us: Some(6_500) });
        assert_eq!(parts.front, MS);
        assert_eq!((parts.queue, parts.worker), (Some(2 * MS), Some(Duration::from_micros(6_500))));
        assert_eq!(parts.reply, Some(Duration::from_micros(500)));
        let header = parts.to_header().expect("a value");
        assert_eq!(header, "front;dur=1, queue;dur=2, worker;dur=6.5, reply;dur=0.5");
    }

    #[test]
    fn a_worker_that_lies_is_believed_as_far_as_it_fits() {
        for (claimed_at_ms, work_us) in [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (999, 10)] {
            let parts =
                of(10 * MS, 9 * MS, Timing { claimed_at_ms: Some(claimed_at_ms), work_us: Some(work_us) });
            let sum = parts.front
                + [parts.queue, parts.worker, parts.reply].into_iter().flatten().sum::<Duration>();
            assert_eq!(sum, 10 * MS, "{parts:?}");
        }
    }

    #[test]
    fn what_is_not_told_is_absent() {
        let parts = of(10 * MS, 9 * MS, Timing { claimed_at_ms: Some(1002), work_us: None });
        assert_eq!((parts.queue, parts.worker, parts.reply), (Some(2 * MS), None, None));
        assert_eq!(parts.to_header().expect("a value"), "front;dur=1, queue;dur=2");
        let began = Instant::now();
        let alone = Parts::of(began, began + MS, None);
        assert_eq!(alone, Parts { front: MS, ..Parts::default() });
    }
}
