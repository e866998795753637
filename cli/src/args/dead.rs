//! `tempest dead`

use std::time::Duration;

use clap::{Args, Subcommand};
use tempest_broker::Filter;
use tempest_protocol::{Action, JobId, Queue};

use super::{Shown, name, shown::age};
use crate::{flags::Flags, setting::used};

pub(super) const HELP: &str = with_find_help!(
    "\
A background job that failed and has no attempt left lies in dead: at most 10,000 in each queue, and for 7 days. One that
is run again goes to the end of its lane with its attempts anew. To change several at once wants --yes, or a yes at the
terminal. A queue that is called like one of these commands is shown with: tempest dead list QUEUE.

Examples:
  tempest dead
  tempest dead mail --code handler_error --younger-than 1h
  tempest dead --watch
  tempest dead show 0196a1f0-7c3e-7c5a-9d0e-3f1b2a4c5d6e
  tempest dead retry 0196a1f0-7c3e-7c5a-9d0e-3f1b2a4c5d6e
  tempest dead retry --all --queue mail --message 'connection refused' --yes
  tempest dead delete --all --older-than 2d
  tempest dead --limit 10000 --json | jq 'group_by(.error.code) | map({code: .[0].error.code, jobs: length})'"
);

/// `tempest dead`.
#[derive(Args, Debug)]
pub(crate) struct DeadArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DeadCommand>,
    #[command(flatten)]
    pub(crate) list: DeadList,
}

/// What to do about dead jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadCommand {
    /// Show dead jobs, the newest first
    List(DeadList),
    /// Show one with its arguments and its log
    Show(DeadShow),
    /// Run some again
    Retry(DeadSome),
    /// Delete some, with all that is known of them
    Delete(DeadSome),
}

/// `tempest dead list`.
#[derive(Args, Debug)]
pub(crate) struct DeadList {
    /// Only of this queue [default: of all]
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    #[command(flatten)]
    pub(crate) filter: DeadFilter,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) shown: Shown,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest dead show`.
#[derive(Args, Debug)]
pub(crate) struct DeadShow {
    /// The id of the job
    #[arg(value_parser = name::<JobId>)]
    pub(crate) id: JobId,
    /// Only in this queue [default: in all]
    #[arg(long, value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest dead retry`, `tempest dead delete`.
#[derive(Args, Debug)]
pub(crate) struct DeadSome {
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
    pub(crate) filter: DeadFilter,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// Which dead jobs.
#[derive(Args, Debug)]
pub(crate) struct DeadFilter {
    /// Only for this handler
    #[arg(long, value_parser = name::<Action>)]
    action: Option<Action>,
    /// Only those that failed with this code
    #[arg(long)]
    code: Option<String>,
    /// Only those whose failure says this text
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Only those that died longer ago: 30s, 5m, 2h, 7d
    #[arg(long, value_parser = age, value_name = "TIME")]
    older_than: Option<Duration>,
    /// Only those that died within this time
    #[arg(long, value_parser = age, value_name = "TIME")]
    younger_than: Option<Duration>,
}

impl DeadFilter {
    /// Those that are meant at this moment of Redis time.
    pub(crate) fn at(&self, now_ms: u64) -> Filter {
        let filter = Filter {
            action: self.action.clone(),
            code: self.code.clone(),
            text: self.message.clone(),
            ..Filter::default()
        };
        let filter = match self.younger_than {
            Some(age) => filter.younger_than(age, now_ms),
            None => filter,
        };
        match self.older_than {
            Some(age) => filter.older_than(age, now_ms),
            None => filter,
        }
    }
}
