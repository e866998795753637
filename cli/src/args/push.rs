//! `tempest push`

use std::time::Duration;

use clap::Args;
use tempest_protocol::{Action, Holds, JobId, Lane, Queue, Tag, limits};

use super::{duration, moment::moment_ms, name, shown::age};
use crate::{flags::Flags, setting::used};

pub(super) const HELP: &str = with_find_help!(
    "\
JSON is one value, the arguments of the job; absent is null, - is read from standard input. Without --wait it is a background
job, and its id is printed: tempest job ID tells how it fares. With --wait the result is printed, or the body of an HTTP reply.
A background job is pushed once, however often one of its id is. With --many each line of standard input has the arguments of
one job, and the ids are printed in that order. Exit code: 0 done, 1 failed, 2 called wrongly.

Examples:
  tempest push mail welcome '{\"to\":\"bob@example.org\"}'
  tempest push default echo '[1,2,3]' --wait --timeout 5s
  tempest push default url '{\"method\":\"GET\",\"url\":\"/\",\"headers\":{}}' --wait
  echo '\"big\"' | tempest push default echo - --lane low
  tempest push mail remind '{\"to\":\"bob\"}' --at 2026-12-24T18:00:00+01:00 --ttl 30d
  tempest push reports nightly --in 10m --attempts 5 --keep 7d --unique nightly
  jq -c '.users[]' users.json | tempest push mail welcome --many --lane low"
);

/// `tempest push`.
#[derive(Args, Debug)]
pub(crate) struct PushArgs {
    /// The queue
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Queue,
    /// The handler the job is for
    #[arg(value_parser = name::<Action>)]
    pub(crate) action: Action,
    /// Its arguments, one JSON value; - reads standard input [default: null]
    #[arg(allow_hyphen_values = true)]
    pub(crate) json: Option<String>,
    /// Wait for the reply and print it
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// Nobody waits longer than this: 500ms, 5s, 2m [default with --wait: 30s, else never]
    #[arg(long, value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
    /// Priority lane: high, normal or low
    #[arg(long, value_parser = name::<Lane>, default_value = "normal")]
    pub(crate) lane: Lane,
    /// Its id [default: a new one]
    #[arg(long, value_parser = name::<JobId>)]
    pub(crate) id: Option<JobId>,
    #[command(flatten)]
    pub(crate) background: BackgroundArgs,
    /// Push a job for each line of standard input, which has its arguments
    #[arg(long, conflicts_with_all = ["json", "wait", "id", "unique"])]
    pub(crate) many: bool,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// What only background jobs have.
#[derive(Args, Debug)]
#[command(next_help_heading = "Background jobs")]
pub(crate) struct BackgroundArgs {
    /// Run it after this time: 30s, 10m, 2h, 7d
    #[arg(long = "in", value_parser = age, value_name = "TIME", conflicts_with_all = ["wait", "at"])]
    pub(crate) after: Option<Duration>,
    /// Run it at this moment: 2026-12-24T18:00:00Z
    #[arg(long, value_parser = moment_ms, value_name = "MOMENT", conflicts_with = "wait")]
    pub(crate) at: Option<u64>,
    /// Do not start it later than this after the push: 30s, 10m, 2h, 7d
    #[arg(long, value_parser = age, value_name = "TIME", conflicts_with_all = ["wait", "timeout"])]
    pub(crate) ttl: Option<Duration>,
    /// Keep its result for this time after its end, at most 30d
    #[arg(long, value_parser = keep, value_name = "TIME", conflicts_with = "wait")]
    pub(crate) keep: Option<Duration>,
    /// How often it may be started [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000), conflicts_with = "wait")]
    pub(crate) attempts: Option<u64>,
    /// Jobs with the same key run one at a time, or as many as the queue's limits say
    #[arg(long, value_parser = name::<Tag>, conflicts_with = "wait")]
    pub(crate) key: Option<Tag>,
    /// Push it only if no other job of the queue holds this key
    #[arg(long, value_parser = name::<Tag>, value_name = "KEY", conflicts_with = "wait")]
    pub(crate) unique: Option<Tag>,
    /// How long it holds that key: until it is started (queued) or until it ends (running) [default: running]
    #[arg(long, value_parser = held, value_name = "STATE", requires = "unique")]
    pub(crate) unique_while: Option<Holds>,
    /// Hold that key for this time, whatever becomes of the job
    #[arg(long, value_parser = keep, value_name = "TIME", requires = "unique", conflicts_with = "unique_while")]
    pub(crate) unique_for: Option<Duration>,
}

fn keep(text: &str) -> Result<Duration, String> {
    let time = age(text)?;
    if time <= limits::KEEP_MAX { Ok(time) } else { Err("it must be at most 30d".into()) }
}

fn held(word: &str) -> Result<Holds, String> {
    let states = [Holds::Queued, Holds::Running];
    let known = states.into_iter().find(|holds| holds.as_str() == word);
    known.ok_or_else(|| "it must be queued or running; for a time there is --unique-for".into())
}
