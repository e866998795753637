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
            "rate": self.0.len() as f64 / total.as_secs_f64(),
            "p50_us": self.at(0.5),
            "p99_us": self.at(0.99),
            "max_us": self.at(1.0),
        })
    }

    /// The nearest rank; the times are sorted.
    fn at(&self, part: f64) -> f64 {
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        let time = self.0.get(rank.max(1) - 1).copied().unwrap_or_default();
        time.as_secs_f64() * 1e6
    }
}
