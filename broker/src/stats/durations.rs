//! How long something takes, as a histogram that costs two additions each time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets but the last, which has none, in microseconds.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 30_000_000,
];

/// Durations that were measured.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

/// What was measured up to a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// All of it together, in seconds.
    pub sum_s: f64,
    /// How many there were.
    pub count: u64,
    /// Upper bound in seconds ([`f64::INFINITY`] for the last) and how many lie between it and the bound before.
    pub buckets: Vec<(f64, u64)>,
}

impl Durations {
    /// Adds one.
    pub fn add(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| bound.saturating_mul(1_000) < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What was measured so far. While others add, the sum may be a little ahead or behind.
    pub fn measured(&self) -> Measured {
        let bounds =
            BOUNDS_US.iter().map(|us| Duration::from_micros(*us).as_secs_f64()).chain([f64::INFINITY]);
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        Measured {
            sum_s: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)).as_secs_f64(),
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_the_first_bucket_that_holds_it() {
        let durations = Durations::default();
        for us in [0, 100, 101, 999, 1_000, 29_999_999, 30_000_001] {
            durations.add(Duration::from_micros(us));
        }
        let measured = durations.measured();
        let filled: Vec<_> = measured.buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [&(0.0001, 2), &(0.00025, 1), &(0.001, 2), &(30.0, 1), &(f64::INFINITY, 1)]);
        assert_eq!(measured.count, 7);
        assert!((measured.sum_s - 60.0022).abs() < 1e-6, "{measured:?}");
    }
}
