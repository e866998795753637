//! Redis time without asking each time: the offset of the server's clock to this process's monotonic one.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How often the offset is learnt anew.
pub(crate) const LEARN_EVERY: Duration = Duration::from_secs(60);

/// Tells Redis time. Until the first [`Clock::learn`] it is this machine's own.
pub(crate) struct Clock {
    started: Instant,
    /// Redis time at `started`, in milliseconds.
    at_start_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at_start_ms: AtomicU64::new(millis(wall)) }
    }
}

impl Clock {
    pub(crate) fn now_ms(&self) -> u64 {
        self.at_start_ms.load(Ordering::Relaxed) + millis(self.started.elapsed())
    }

    /// Takes the answer of `TIME`, asked at `asked` and answered now: it is true for half the round trip.
    pub(crate) fn learn(&self, asked: Instant, seconds: u64, micros: u64) {
        let half_way = asked + asked.elapsed() / 2;
        let elapsed_ms = millis(half_way.duration_since(self.started));
        let redis_ms = seconds * 1_000 + micros / 1_000;
        self.at_start_ms.store(redis_ms.saturating_sub(elapsed_ms), Ordering::Relaxed);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_time_it_learnt() {
        let clock = Clock::default();
        clock.learn(Instant::now(), 1_000, 500_000);
        let now = clock.now_ms();
        assert!((1_000_499..1_002_000).contains(&now), "{now}");
    }
}
