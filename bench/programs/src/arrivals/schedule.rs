//! When requests are due: at random with a given rate (a Poisson process), as those of many people who do not know of
//! each other are.

use std::{
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::sync::mpsc::UnboundedSender;

/// Requests that are due within this time are sent together: a sleep for each would take more than the requests.
const TOGETHER: Duration = Duration::from_micros(200);

/// A rate for a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phase {
    per_second: f64,
    seconds: f64,
}

impl FromStr for Phase {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (rate, seconds) = text.split_once('x').context("a phase is RATExSECONDS")?;
        let number = |text: &str| text.parse().ok().filter(|number: &f64| *number > 0.0);
        let positive = "rates and seconds are numbers above 0";
        let per_second = number(rate).context(positive)?;
        Ok(Self { per_second, seconds: number(seconds).context(positive)? })
    }
}

/// The times of all phases, since the beginning, in order.
pub(crate) fn times(phases: &[Phase], seed: u64) -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut times, mut begin) = (Vec::new(), 0.0);
    for phase in phases {
        let (mut at, end) = (begin, begin + phase.seconds);
        loop {
            at -= (1.0 - random.f64()).ln() / phase.per_second;
            if at >= end {
                break;
            }
            times.push(Duration::from_secs_f64(at));
        }
        begin = end;
    }
    times
}

/// Says of each time that it has come. It blocks its thread: the timers of tokio are too coarse, a millisecond.
pub(crate) fn ring(begin: Instant, times: Vec<Duration>, due: &UnboundedSender<Instant>) {
    for time in times {
        let at = begin + time;
        let wait = at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait.max(TOGETHER));
        }
        if due.send(at).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_their_rates_and_follow_one_another() {
        let phases = ["1000x2", "3000x1"].map(|text| text.parse().expect("a phase"));
        let times = times(&phases, 7);
        let first = times.iter().filter(|time| **time < Duration::from_secs(2)).count();
        assert!((1_800..2_200).contains(&first), "{first}");
        assert!((2_700..3_300).contains(&(times.len() - first)), "{}", times.len());
        assert!(times.is_sorted());
        assert!(times.last().is_some_and(|time| *time < Duration::from_secs(3)));
    }

    #[test]
    fn what_is_no_phase_is_refused() {
        for text in ["", "5", "5x", "x5", "0x1", "5x-1", "axb"] {
            assert!(text.parse::<Phase>().is_err(), "{text:?}");
        }
    }
}
