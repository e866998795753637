//! `tempest schedules`

use std::time::Duration;

use clap::{Args, Subcommand};
use tempest_protocol::{Queue, Schedule};

use super::{Shown, name, shown::age};
use crate::{flags::Flags, setting::used};

pub(super) const HELP: &str = with_find_help!(
    "\
A schedule pushes a job again and again: at the times of a cron pattern in a time zone, or at an interval. Of all fronts and
supervisors of a cluster one pushes it, whichever dies. Patterns have five fields (minute hour day month weekday), or six with
seconds in front; also @hourly, @daily, @weekly, @monthly, @yearly. A time that the clocks leave out in spring fires when
they go on, one that comes twice in autumn fires once; where the hours are * every hour is one.
Schedules of a tempest.toml ([[schedule]]) come and go with it; they can be paused here, which holds.

Examples:
  tempest schedules
  tempest schedules add nightly --queue reports --cron '30 2 * * *' --zone Europe/Berlin report '{\"days\":1}'
  tempest schedules add ping --every 30s check --ttl 10s --missed skip
  tempest schedules next nightly --count 10
  tempest schedules pause nightly
  tempest schedules run nightly"
);

/// `tempest schedules`.
#[derive(Args, Debug)]
pub(crate) struct SchedulesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SchedulesCommand>,
    #[command(flatten)]
    pub(crate) list: SchedulesList,
}

/// What to do about schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum SchedulesCommand {
    /// Show schedules: when they fire, and when they did
    List(SchedulesList),
    /// Write a schedule; one of this name in this queue is replaced
    Add(Box<ScheduleAdd>),
    /// Remove a schedule; jobs that it pushed stay
    Remove(ScheduleOne),
    /// Have a schedule rest
    Pause(ScheduleOne),
    /// Have a schedule go on, with the next time from now
    Resume(ScheduleOne),
    /// Push the job of a schedule now; when it is due next stays as it is
    Run(ScheduleOne),
    /// Show the next times at which a schedule fires
    Next(ScheduleNext),
}

/// `tempest schedules list`.
#[derive(Args, Debug)]
pub(crate) struct SchedulesList {
    /// Only of this queue [default: of all]
    #[arg(value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    #[command(flatten)]
    pub(crate) shown: Shown,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest schedules add`.
#[derive(Args, Debug)]
pub(crate) struct ScheduleAdd {
    /// Its name, one of its queue
    #[arg(value_parser = name::<Schedule>)]
    pub(crate) name: Schedule,
    /// The handler its jobs are for
    pub(crate) action: String,
    /// Their arguments, one JSON value; - reads standard input [default: null]
    #[arg(allow_hyphen_values = true)]
    pub(crate) json: Option<String>,
    /// The queue its jobs go to
    #[arg(long, value_parser = name::<Queue>, default_value = "default")]
    pub(crate) queue: Queue,
    /// When it fires: a cron pattern
    #[arg(long, value_name = "PATTERN", required_unless_present = "every", conflicts_with = "every")]
    pub(crate) cron: Option<String>,
    /// When it fires: again and again after this time, like 30s, 5m, 2h
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) every: Option<Duration>,
    /// The time zone of the pattern, like Europe/Berlin [default: UTC]
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Priority lane of its jobs: high, normal or low [default: normal]
    #[arg(long)]
    pub(crate) lane: Option<String>,
    /// How often each job is tried [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) attempts: Option<u64>,
    /// A job that nobody has started this long after its time is left out
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) ttl: Option<Duration>,
    /// How long the result of each job is kept
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) keep: Option<Duration>,
    /// What becomes of firings that no front and no supervisor was there for: skip, once (the last), all (each) [default: once]
    #[arg(long)]
    pub(crate) missed: Option<String>,
    /// It rests until it is resumed
    #[arg(long)]
    pub(crate) paused: bool,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// Which schedule.
#[derive(Args, Debug)]
pub(crate) struct ScheduleOne {
    /// The name of the schedule
    #[arg(value_parser = name::<Schedule>)]
    pub(crate) name: Schedule,
    /// The queue it is of, if several have one of this name
    #[arg(long, value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest schedules next`.
#[derive(Args, Debug)]
pub(crate) struct ScheduleNext {
    #[command(flatten)]
    pub(crate) one: ScheduleOne,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) count: u16,
}
