//! `tempest queues`

use std::time::Duration;

use clap::{Args, Subcommand};
use tempest_broker::LimitChange;
use tempest_protocol::{Lane, Queue};

use super::{Shown, duration, name, shown::age};
use crate::{flags::Flags, setting::used};

pub(super) const HELP: &str = with_find_help!(
    "\
A queue that is paused is pushed to as ever, and what runs runs to its end; workers claim nothing more of it. Limits hold for
all workers of a queue together, at once and until they are lifted. drain waits until nothing waits and nothing runs. purge
removes what waits, with all that is known of it; what runs runs on.

Examples:
  tempest queues
  tempest queues --watch
  tempest queues --json | jq '.[] | select(.dead > 0)'
  tempest queues pause mail
  tempest queues drain mail --timeout 5m
  tempest queues resume mail
  tempest queues limit mail --concurrency 4 --rate 100/s
  tempest queues limit mail --rate none --per-key 2
  tempest queues purge mail --lane low --yes"
);

/// `tempest queues`.
#[derive(Args, Debug)]
pub(crate) struct QueuesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<QueuesCommand>,
    #[command(flatten)]
    pub(crate) shown: Shown,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// What to do about a queue.
#[derive(Debug, Subcommand)]
pub(crate) enum QueuesCommand {
    /// Let no job of a queue be claimed
    Pause(QueueArgs),
    /// Let its jobs be claimed again
    Resume(QueueArgs),
    /// Say how many of its jobs run at a time, and how many start in a time
    Limit(LimitArgs),
    /// Remove what waits in it
    Purge(PurgeArgs),
    /// Wait until nothing waits in it and nothing runs
    Drain(DrainArgs),
}

/// `tempest queues pause`, `tempest queues resume`.
#[derive(Args, Debug)]
pub(crate) struct QueueArgs {
    /// The queue
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Queue,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest queues limit`.
#[derive(Args, Debug)]
#[group(id = "limits", required = true, multiple = true, args = ["concurrency", "rate", "per_key"])]
pub(crate) struct LimitArgs {
    /// The queue
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Queue,
    /// How many of its jobs run at a time; none: as many as there are slots
    #[arg(long, value_name = "N|none", value_parser = wish)]
    concurrency: Option<Wish<u64>>,
    /// How many start in a time: 100/s, 600/min, 5/10s; none: as many as come
    #[arg(long, value_name = "RATE|none", value_parser = rate)]
    rate: Option<Wish<Rate>>,
    /// How many jobs of one key run at a time; none: one
    #[arg(long, value_name = "N|none", value_parser = wish)]
    per_key: Option<Wish<u64>>,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

impl LimitArgs {
    /// What is to be changed.
    pub(crate) fn changes(&self) -> Vec<LimitChange> {
        let concurrency = self.concurrency.map(|wish| LimitChange::Concurrency(wish.0));
        let rate = self.rate.map(|wish| LimitChange::Rate(wish.0.map(|rate| (rate.jobs, rate.per_ms))));
        let per_key = self.per_key.map(|wish| LimitChange::PerKey(wish.0));
        [concurrency, rate, per_key].into_iter().flatten().collect()
    }
}

/// `tempest queues purge`.
#[derive(Args, Debug)]
pub(crate) struct PurgeArgs {
    /// The queue
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Queue,
    /// Only what waits in this lane: high, normal or low; several times [default: all]
    #[arg(long = "lane", value_parser = name::<Lane>, value_name = "LANE")]
    pub(crate) lanes: Vec<Lane>,
    /// And what is due later
    #[arg(long)]
    pub(crate) later: bool,
    /// And what is dead
    #[arg(long)]
    pub(crate) dead: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest queues drain`.
#[derive(Args, Debug)]
pub(crate) struct DrainArgs {
    /// The queue
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Queue,
    /// Wait no longer than this: 30s, 5m, 2h [default: as long as it takes]
    #[arg(long, value_parser = age, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish<T>(pub(crate) Option<T>);

/// So many jobs in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) jobs: u64,
    pub(crate) per_ms: u64,
}

/// What is said for no limit.
const NONE: &str = "none";
/// More is no limit that anybody could mean.
const JOBS_MAX: u64 = 1_000_000;

fn wish(text: &str) -> Result<Wish<u64>, String> {
    if text == NONE {
        return Ok(Wish(None));
    }
    let number = text.parse().ok().filter(|number| (1..=JOBS_MAX).contains(number));
    number
        .map(|number| Wish(Some(number)))
        .ok_or_else(|| format!("it must be a number from 1 to {JOBS_MAX}, or none"))
}

fn rate(text: &str) -> Result<Wish<Rate>, String> {
    if text == NONE {
        return Ok(Wish(None));
    }
    let wrong = || "it must be a rate like 100/s, 600/min, 20/h or 5/10s, or none".to_owned();
    let (jobs, per) = text.split_once('/').filter(|(_, per)| !per.is_empty()).ok_or_else(wrong)?;
    let jobs = jobs.parse().ok().filter(|jobs| (1..=JOBS_MAX).contains(jobs)).ok_or_else(wrong)?;
    let per = if per.starts_with(|letter: char| letter.is_ascii_digit()) {
        per.to_owned()
    } else {
        format!("1{per}")
    };
    let per_ms = u64::try_from(duration(&per).map_err(|_| wrong())?.as_millis()).map_err(|_| wrong())?;
    Ok(Wish(Some(Rate { jobs, per_ms })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_rates_or_none() {
        assert_eq!((wish("4"), wish("none")), (Ok(Wish(Some(4))), Ok(Wish(None))));
        let told = |text: &str| rate(text).map(|wish| wish.0.map(|rate| (rate.jobs, rate.per_ms)));
        assert_eq!(told("100/s"), Ok(Some((100, 1_000))));
        assert_eq!(told("600/min"), Ok(Some((600, 60_000))));
        assert_eq!(told("5/10s"), Ok(Some((5, 10_000))));
        assert_eq!(told("none"), Ok(None));
        for wrong in ["", "0", "-1", "many", "1000001"] {
            assert!(wish(wrong).is_err() && rate(wrong).is_err(), "{wrong}");
        }
        for wrong in ["100", "0/s", "1/", "1/0s", "/s", "1/week"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
