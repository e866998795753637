//! The command line.

macro_rules! with_find_help {
    ($help:literal) => {
        concat!(
            "Which Redis: --redis-url, else the cluster that `tempest up` runs in this folder or one above\n",
            "(.tempest/up.json), else TEMPEST_REDIS_URL, else [redis] url of tempest.toml, else redis://127.0.0.1:6379.\n\n",
            $help
        )
    };
}

mod dead;
mod job;
mod later;
mod moment;
mod push;
mod queues;
mod schedules;
mod shown;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use tempest_broker::acl::Role;
use tempest_protocol::{JobId, Lane, Queue, Topic};

use crate::{flags::Flags, setting::used};

pub(crate) use dead::{DeadArgs, DeadCommand, DeadList, DeadShow, DeadSome};
pub(crate) use job::{JobArgs, JobsArgs};
pub(crate) use later::{LaterArgs, LaterCommand, LaterList, LaterSome};
pub(crate) use push::PushArgs;
pub(crate) use queues::{DrainArgs, LimitArgs, PurgeArgs, QueueArgs, QueuesArgs, QueuesCommand};
pub(crate) use schedules::{
    ScheduleAdd, ScheduleNext, ScheduleOne, SchedulesArgs, SchedulesCommand, SchedulesList,
};
pub(crate) use shown::Shown;

/// A web front that holds the connections, workers in any language that do the work, and a real Redis in between.
#[derive(Debug, Parser)]
#[command(
    name = "tempest",
    version,
    about,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  tempest up                          a whole cluster on this machine
  curl -i http://localhost:1337/      is answered by a worker
  tempest push default echo '{\"a\":1}' --wait

`tempest COMMAND --help` tells the rest."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster: a private Redis, the front, and the workers of tempest.toml
    #[command(after_help = UP_HELP)]
    Up(UpArgs),
    /// Run a front alone
    #[command(after_help = FRONT_HELP)]
    Front(FrontArgs),
    /// Push a job to a queue, and wait for its reply if told to
    #[command(after_help = push::HELP)]
    Push(PushArgs),
    /// Cancel a job wherever it is: take it out of its queue, or tell the worker that runs it
    #[command(after_help = CANCEL_HELP)]
    Cancel(CancelArgs),
    /// Publish a live event to a topic
    #[command(after_help = PUBLISH_HELP)]
    Publish(PublishArgs),
    /// Show every queue; pause, resume, limit, purge or drain one
    #[command(after_help = queues::HELP, args_conflicts_with_subcommands = true)]
    Queues(QueuesArgs),
    /// Show what runs and what waits, job by job
    #[command(after_help = job::JOBS_HELP)]
    Jobs(JobsArgs),
    /// Show where a background job is and how it fares, its log, its result; or wait for it
    #[command(after_help = job::HELP)]
    Job(JobArgs),
    /// Show dead jobs; run them again, or delete them
    #[command(after_help = dead::HELP, args_conflicts_with_subcommands = true)]
    Dead(DeadArgs),
    /// Show delayed jobs and those that will be tried again; run them now, or delete them
    #[command(after_help = later::HELP, args_conflicts_with_subcommands = true)]
    Later(LaterArgs),
    /// Show schedules: jobs that are pushed again and again; add, remove, pause or run one
    #[command(after_help = schedules::HELP, args_conflicts_with_subcommands = true)]
    Schedules(SchedulesArgs),
    /// Show every worker: alive or gone, its queue, what it runs
    #[command(after_help = WORKERS_HELP)]
    Workers(WorkersArgs),
    /// Read tempest.toml again in the cluster of this folder, and replace its workers one after the other
    #[command(after_help = RELOAD_HELP)]
    Reload(ReloadArgs),
    /// Change how many children a worker of this folder's cluster has
    #[command(after_help = SCALE_HELP)]
    Scale(ScaleArgs),
    /// Check Redis, this machine and the configuration, and say what to change
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArgs),
    /// Write accounts for Redis that may do what a front, a worker or a publisher does, and nothing else
    #[command(after_help = ACL_HELP)]
    Acl(AclArgs),
    /// Show the effective settings and where each comes from
    #[command(after_help = CONFIG_HELP)]
    Config(ConfigArgs),
    /// Write a commented tempest.toml
    #[command(after_help = INIT_HELP)]
    Init(InitArgs),
}

const UP_HELP: &str = "\
Without a Redis URL a private redis-server (or valkey-server) is started; its data lies in .tempest/redis of the
current folder and outlives it. Workers that die are started again, and what they held is recovered at once.
Ctrl-C stops in order: the front finishes what it holds, then the workers, then Redis. A second Ctrl-C ends at once.
Where everything is: .tempest/up.json, as long as it runs; the other commands find it by that.
With --watch each worker is restarted when a file in its folder (dir of its [[worker]]) changes, or its program. The new
one is started first, so that no request is lost; if it does not come up, the one before works on. What .gitignore names,
and what tools write (.git, target, node_modules, __pycache__, .venv, *.pyc, *.log …) does not count.

Examples:
  tempest up
  tempest up --watch
  tempest up --listen 0.0.0.0:8080 --config prod.toml
  TEMPEST_REDIS_URL=redis://10.0.0.5:6379 tempest up";

const FRONT_HELP: &str = with_find_help!(
    "\
Workers run elsewhere: by `tempest up`, by hand, in containers; they need only the URL of the same Redis.
SIGTERM stops in order, a second one at once. SIGHUP reads the configuration again. SIGUSR2 starts this command once more,
with the program as it now lies on the disk, on the same sockets; when it serves, this front ends. Sockets that systemd
gives (LISTEN_FDS) are used instead of listening.

Examples:
  tempest front --redis-url redis://10.0.0.5:6379 --listen 0.0.0.0:80
  tempest front --config prod.toml"
);

const CANCEL_HELP: &str = with_find_help!(
    "\
A job that waits, or is due later, is removed. The worker of one that runs is told, and has two seconds to stop before it
is said that it still runs; what it replies then is dropped, and nothing is tried again. Whoever waits for the reply gets
the code cancelled (HTTP 500) at once. A dead job runs no more: it is left where it is. With --kill-after the
supervisor ends the worker that does not stop in that time, with all it runs. The id of a request is its x-request-id.
Exit code: 0 the job was found, 1 it was not, 2 called wrongly.

Examples:
  tempest cancel 0196a1f0-7c3e-7c5a-9d0e-3f1b2a4c5d6e
  tempest cancel nightly --queue reports --lane low
  tempest cancel nightly --kill-after 5s --json"
);

const PUBLISH_HELP: &str = with_find_help!(
    "\
Every browser at /sub/TOPIC hears it. DATA is text or JSON: [\"x\"] is the event x, [\"name\", \"x\"] an event of that
name, {\"data\":…, \"event\":…} sets fields. The same as redis-cli publish TOPIC DATA.

Examples:
  tempest publish test '[\"Bob\"]'
  date | tempest publish clock"
);

const WORKERS_HELP: &str = with_find_help!(
    "\
A worker that is gone stays in sight for a minute. Those that a supervisor runs are shown with what it knows of them:
memory of the process group, restarts, and how the last one died that nobody had asked to end. Workers that rest between two
starts are there, too (waiting, crash_loop).

Examples:
  tempest workers
  tempest workers --watch
  tempest workers --json | jq '.[] | select(.alive)'"
);

const RELOAD_HELP: &str = "\
The same as SIGHUP to that tempest up, but it waits and tells how it went. A configuration with a mistake changes nothing. New
children are started first; when one works, the one before finishes what it holds and ends: no request is lost. One that
does not come up ends the roll of its worker: those before it are new, it and the others work on as before.

Examples:
  tempest reload
  tempest reload web mail";

const SCALE_HELP: &str = "\
It holds until the next start, or until the next reload that changes this worker. Children that are too many finish what they
hold and end.

Examples:
  tempest scale web 8
  tempest scale mail 0";

const DOCTOR_HELP: &str = with_find_help!(
    "\
A line for each check: ok, warn or fail, what there is, and what to type where it should be otherwise. Nothing is
changed. Exit code: 0 nothing failed, 1 something did.

Examples:
  tempest doctor
  tempest doctor --config prod.toml --json | jq '.checks[] | select(.level != \"ok\")'"
);

const ACL_HELP: &str = with_find_help!(
    "\
Roles: front; worker and caller (whoever pushes jobs and reads the replies) of the queues that --queue names; publisher
to the topics that --topic names; supervisor; up (tempest up, with the workers that have no account of their own);
inspector (tempest queues, tempest workers). Every account may only use keys of this prefix. `tempest cancel` wants the
account of a front, a supervisor or up.
Without --apply nothing is asked and nothing changed: the accounts are printed as lines for the ACL file of Redis
(aclfile in redis.conf), or as commands. No password stands on the command line or in what is printed, only its SHA-256.
--apply sets them in the Redis that runs, as an account that may (ACL SETUSER); connections it has go on. An account that is
there keeps its passwords unless a new one is given; --add-password lets both serve, so that fronts and workers can change
one after the other.

Examples:
  tempest acl --user front --user worker --queue mail --generate > users.acl
  tempest acl --user worker=mail --queue mail --queue mail-slow --topic 'mail.*' --password-env MAIL_PASSWORD
  printf '%s\\n' \"$PASSWORD\" | tempest acl --user publisher --topic 'news.*' --password-stdin --format setuser | redis-cli
  tempest acl --user front --generate --add-password --apply --redis-url redis://admin:…@10.0.0.5:6379"
);

const CONFIG_HELP: &str = "\
An option wins over its variable, the variable over the file, the file over the default.

Examples:
  tempest config
  tempest config --config prod.toml --json";

const INIT_HELP: &str = "\
Examples:
  tempest init
  tempest init --file prod.toml --force";

/// `tempest up`.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Restart workers when their files change, and reload tempest.toml when it does
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::UP }>,
}

/// `tempest front`.
#[derive(Args, Debug)]
pub(crate) struct FrontArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::FRONT }>,
}

/// Which file.
#[derive(Args, Debug)]
pub(crate) struct FileArgs {
    /// The configuration file; absent: ./tempest.toml if it is there \[TEMPEST_CONFIG\]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `tempest cancel`.
#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    /// The id of the job
    #[arg(value_parser = name::<JobId>)]
    pub(crate) id: JobId,
    /// Only in this queue [default: in all]
    #[arg(long, value_parser = name::<Queue>)]
    pub(crate) queue: Option<Queue>,
    /// Of jobs that wait only those in this lane: high, normal or low; may be given several times [default: all]
    #[arg(long = "lane", value_parser = name::<Lane>, value_name = "LANE")]
    pub(crate) lanes: Vec<Lane>,
    /// Have the worker ended that still runs it after this time: 0s, 500ms, 5s, at most 24h
    #[arg(long, value_parser = duration_or_zero, value_name = "TIME")]
    pub(crate) kill_after: Option<Duration>,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest publish`.
#[derive(Args, Debug)]
pub(crate) struct PublishArgs {
    /// The topic
    #[arg(value_parser = name::<Topic>)]
    pub(crate) topic: Topic,
    /// The payload; absent: standard input, without its last line end
    #[arg(allow_hyphen_values = true)]
    pub(crate) data: Option<String>,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest reload`.
#[derive(Args, Debug)]
pub(crate) struct ReloadArgs {
    /// Only the children of these workers are replaced
    pub(crate) workers: Vec<String>,
}

/// `tempest scale`.
#[derive(Args, Debug)]
pub(crate) struct ScaleArgs {
    /// The name of a worker of tempest.toml
    pub(crate) worker: String,
    /// How many children it has from now on
    #[arg(value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub(crate) count: u16,
}

/// `tempest workers`.
#[derive(Args, Debug)]
pub(crate) struct WorkersArgs {
    /// Print one JSON array
    #[arg(long = "json", conflicts_with = "watch")]
    pub(crate) as_json: bool,
    /// Show them anew each second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// `tempest doctor`.
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::FRONT }>,
}

/// `tempest acl`.
#[derive(Args, Debug)]
pub(crate) struct AclArgs {
    /// Whom to write an account for, several times; =NAME if it is not called like its role
    #[arg(long = "user", value_name = "ROLE[=NAME]", required = true, value_parser = account)]
    pub(crate) users: Vec<Account>,
    /// A queue that workers and callers may use; several times
    #[arg(long = "queue", value_name = "QUEUE", value_parser = name::<Queue>)]
    pub(crate) queues: Vec<Queue>,
    /// Topics that publishers, workers and callers may publish to, and fronts hear (all unless told); * is any text; several times
    #[arg(long = "topic", value_name = "PATTERN", value_parser = pattern)]
    pub(crate) topics: Vec<String>,
    /// Make a password for each account and show it once, on standard error
    #[arg(long, group = "passwords")]
    pub(crate) generate: bool,
    /// Read a password for each account from standard input, a line each
    #[arg(long, group = "passwords")]
    pub(crate) password_stdin: bool,
    /// The variable that holds the password; several times, in the order of --user
    #[arg(long, group = "passwords", value_name = "VARIABLE")]
    pub(crate) password_env: Vec<String>,
    /// The SHA-256 of the password; several times, in the order of --user
    #[arg(long, group = "passwords", value_name = "HEX", value_parser = sha256)]
    pub(crate) password_hash: Vec<String>,
    /// Set the accounts in Redis instead of printing them
    #[arg(long)]
    pub(crate) apply: bool,
    /// Let the passwords that an account has serve beside the new one
    #[arg(long, requires = "apply", requires = "passwords")]
    pub(crate) add_password: bool,
    /// How to print them: file (lines of an ACL file) or setuser (commands for redis-cli)
    #[arg(long, value_enum, default_value = "file", conflicts_with = "apply")]
    pub(crate) format: AclFormat,
    /// Print one JSON array
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::CONNECT }>,
}

/// An account that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) role: Role,
    pub(crate) name: String,
}

/// How accounts are printed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum AclFormat {
    File,
    Setuser,
}

/// `tempest config`.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) file: FileArgs,
    /// Print one JSON object
    #[arg(long = "json")]
    pub(crate) as_json: bool,
    /// Print the page docs/configuration.md: everything that can be set
    #[arg(long, conflicts_with = "as_json")]
    pub(crate) docs: bool,
    #[command(flatten)]
    pub(crate) flags: Flags<{ used::UP }>,
}

/// `tempest init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = "tempest.toml")]
    pub(crate) file: PathBuf,
    /// Overwrite what is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// A name of the wire; its own error text, in clap's words.
fn name<T: std::str::FromStr<Err = tempest_protocol::Error>>(word: &str) -> Result<T, String> {
    word.parse().map_err(|error: tempest_protocol::Error| error.detail().to_owned())
}

/// `ROLE` or `ROLE=NAME`.
fn account(text: &str) -> Result<Account, String> {
    let (role, name) = text.split_once('=').unwrap_or((text, text));
    let Some(role) = Role::ALL.into_iter().find(|known| known.as_str() == role) else {
        let known: Vec<_> = Role::ALL.into_iter().map(Role::as_str).collect();
        return Err(format!("{role:?} is no role; there are {}", known.join(", ")));
    };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(good) {
        return Err(format!("{name:?} is no name of an account: A-Z a-z 0-9 . _ -"));
    }
    Ok(Account { role, name: name.to_owned() })
}

/// What Redis understands as a pattern, without what would end a rule.
fn pattern(text: &str) -> Result<String, String> {
    let good =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"()\"'".contains(&byte));
    if good { Ok(text.to_owned()) } else { Err("it must be a pattern like news.*".into()) }
}

fn sha256(text: &str) -> Result<String, String> {
    let hash = text.trim_start_matches('#').to_ascii_lowercase();
    let good = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    if good { Ok(hash) } else { Err("it must be the 64 hexadecimal digits of a SHA-256".into()) }
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match text.strip_prefix(digits) {
        Some("ms") => 1.0,
        Some("s" | "") => 1_000.0,
        Some("m" | "min") => 60_000.0,
        Some("h") => 3_600_000.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().unwrap_or(f64::NAN) * unit_ms / 1_000.0;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time >= Duration::from_millis(1) && time <= Duration::from_secs(24 * 3_600) => Ok(time),
        _ => Err("it must be a time like 500ms, 5s or 2m, at most 24h".into()),
    }
}

fn duration_or_zero(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" | "0ms" => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        let ms = |text: &str| duration(text).map(|time| time.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("5s"), Ok(5_000));
        assert_eq!(ms("5"), Ok(5_000));
        assert_eq!(ms("1.5m"), Ok(90_000));
        for wrong in ["", "s", "-1s", "5 parsecs", "0", "nan", "inf", "25h"] {
            assert!(ms(wrong).is_err(), "{wrong}");
        }
    }
}
