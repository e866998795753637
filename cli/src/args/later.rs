//! `tempest later`

use std::time::Duration;

use clap::{Args, Subcommand};
use tempest_broker::Filter;
use tempest_protocol::{Action, JobId, Queue};

use super::{Shown, name, shown::age};
use crate::{flags::Flags, setting::used};

pub(super) const HELP: &str = with_find_help!(
    "\
Here lie jobs that were pushed to run later, and those that failed and will be tried again. One that is run now goes to the
end of its lane as it is: it is the attempt that it would have been. To change several at once wants --yes, or a yes at the
terminal.

Examples:
  tempest later
  tempest later mail --due-within 10m
  tempest later run 0196a1f0-7c3e-7c5a-9d0e-3f1b2a4c5d6e
  tempest later run --all --queue mail --action send --yes
  tempest later delete --all --queue reports"
);

/// `tempest later`.
#[derive(Args, Debug)]
pub(crate) struct LaterArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LaterCommand>,
    #[command(flatten)]
    pub(crate) list: LaterList,
}

/// What to do about delayed jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum LaterCommand {
    /// Show delayed jobs, the soonest first
    List(LaterList),
    /// Run some now
    Run(LaterSome),
    /// Delete some, with all that is known of them
    Delete(LaterSome),
}

/// `tempest later list`.
#[derive(Args, Debug)]
pub(crate) struct LaterList {
    /// Only of this queue [default: of all]
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    #[command(flatten)]
    pub(crate) filter: LaterFilter,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) shown: Shown,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest later run`, `tempest later delete`.
#[derive(Args, Debug)]
pub(crate) struct LaterSome {
    /// The ids of the jobs
    #[arg(value_parser = name::<JobId>, required_unless_present = "all")]
    pub(crate) ids: Vec<JobId>,
    /// All that the options mean
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Only in this queue [default: in all]
    #[arg(long, value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    #[command(flatten)]
    pub(crate) filter: LaterFilter,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// Which delayed jobs.
#[derive(Args, Debug)]
pub(crate) struct LaterFilter {
    /// Only for this handler
    #[arg(long, value_parser = name::<Action>)]
    action: Option<Action>,
    /// Only those that are due within this time: 30s, 5m, 2h, 7d
    #[arg(long, value_parser = age, value_name = "TIME")]
    due_within: Option<Duration>,
}

impl LaterFilter {
    /// Those that are meant at this moment of Redis time.
    pub(crate) fn at(&self, now_ms: u64) -> Filter {
        let filter = Filter { action: self.action.clone(), ..Filter::default() };
        match self.due_within {
            Some(time) => filter.due_within(time, now_ms),
            None => filter,
        }
    }
}
