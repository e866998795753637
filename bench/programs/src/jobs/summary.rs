//! Times of one kind of thing, and what they come to.

use std::time::Duration;

use serde_json::{Value, json};

/// Times that were measured, in no order.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many there are, how many of them go into a second one after the other, and median, p99 and the longest in µs.
    pub(crate) fn summary(mut self) -> Value {
        self.0.sort_unstable();
        let total: Duration = self.0.iter().sum();
        json!({
            "count": self.0.len(),
            "rate": count(self.0.len()) / total.as_secs_f64(),
            "p50_us": self.at(0.5),
            "p99_us": self.at(0.99),
            "max_us": self.at(1.0),
        })
    }

    /// The nearest rank; the times are sorted.
    fn at(&self, part: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a share of a length
        let rank = (count(self.0.len()) * part).ceil() as usize;
        let time = self.0.get(rank.max(1) - 1).copied().unwrap_or_default();
        time.as_secs_f64() * 1e6
    }
}

/// A number of jobs or times; beyond 2^32 nobody measures.
pub(crate) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
