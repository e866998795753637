//! `tempest jobs` and `tempest job`

use std::time::Duration;

use clap::Args;
use tempest_protocol::{JobId, Queue};

use super::{Shown, name, shown::age};
use crate::{flags::Flags, setting::used};

pub(super) const JOBS_HELP: &str = with_find_help!(
    "\
First what workers have in hand: who, since when, how far. Then the head of each lane, in the order in which it is taken.
What is due later and what is dead: tempest later, tempest dead.

Examples:
  tempest jobs
  tempest jobs mail --limit 100
  tempest jobs --watch
  tempest jobs --json | jq '.[] | select(.state == \"running\") | .progress'"
);

pub(super) const HELP: &str = with_find_help!(
    "\
A background job has a record that says where it is, for 30 days while it lives, for 7 when it is dead; when it is done as
long as it was told to keep its result. The arguments of a job that waits are looked for near the two ends of its lane. A job
without a record is searched for in all places. Exit code: 0 it lives or is done, 1 it was not found, is dead or has failed
(with --wait also: it was not done in time), 2 called wrongly.

Examples:
  tempest job 0196a1f0-7c3e-7c5a-9d0e-3f1b2a4c5d6e
  tempest job nightly --queue reports --with-log
  tempest job nightly --wait --timeout 1h --json | jq .result"
);

/// `tempest jobs`.
#[derive(Args, Debug)]
pub(crate) struct JobsArgs {
    /// Only of this queue [default: of all]
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    /// Show at most so many that run, and so many of each lane
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) shown: Shown,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest job`.
#[derive(Args, Debug)]
pub(crate) struct JobArgs {
    /// The id of the job
    #[arg(value_parser = name::<JobId>)]
    pub(crate) id: JobId,
    /// Only in this queue [default: in all]
    #[arg(long, value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    /// Print the lines it wrote, too
    #[arg(long)]
    pub(crate) with_log: bool,
    /// Wait until it is done or dead
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// Wait no longer than this: 30s, 5m, 2h, 7d [default: as long as it takes]
    #[arg(long, value_parser = age, value_name = "TIME", requires = "wait")]
    pub(crate) timeout: Option<Duration>,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}
