//! The one binary `tempest`.
//!
//! It holds no logic of the cluster: it finds a Redis, reads the configuration, starts what the other crates give,
//! and prints.

mod acl;
mod args;
mod cluster;
mod cmd;
mod config;
mod consent;
mod docs;
mod doctor;
mod failure;
mod file;
mod flags;
mod given;
mod log;
mod open_files;
mod orders;
mod output;
mod private_redis;
mod reload;
mod service;
mod setting;
mod signals;
mod successor;
mod traces;
mod watch;

use std::{process::ExitCode, time::Duration};

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;
use given::Given;

/// A front makes and drops many small things a request, on several threads: a fifth of its instructions went into the
/// system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long what is still running may hold up the end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => return usage(&error),
    };
    // Before there are threads.
    let given = match command {
        Command::Up(_) | Command::Front(_) => Given::take(),
        _ => Ok(Given::default()),
    };
    let given = match given {
        Ok(given) => given,
        Err(failure) => return failure.report(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::new(format!("cannot start: {error}")).report(),
    };
    let result = runtime.block_on(Box::pin(run(command, given)));
    runtime.shutdown_timeout(LAST_MOMENTS);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(command: Command, given: Given) -> Result<(), Failure> {
    match command {
        Command::Up(args) => Box::pin(cmd::up::run(&args, given)).await,
        Command::Front(args) => Box::pin(cmd::front::run(&args, given)).await,
        Command::Push(args) => Box::pin(cmd::push::run(&args)).await,
        Command::Cancel(args) => Box::pin(cmd::cancel::run(&args)).await,
        Command::Publish(args) => cmd::publish::run(&args).await,
        Command::Queues(args) => Box::pin(cmd::queues::run(&args)).await,
        Command::Jobs(args) => Box::pin(cmd::jobs::run(&args)).await,
        Command::Job(args) => Box::pin(cmd::job::run(&args)).await,
        Command::Dead(args) => Box::pin(cmd::dead::run(&args)).await,
        Command::Later(args) => Box::pin(cmd::later::run(&args)).await,
        Command::Schedules(args) => Box::pin(cmd::schedules::run(&args)).await,
        Command::Workers(args) => cmd::workers::run(&args).await,
        Command::Reload(args) => cmd::reload::run(&args).await,
        Command::Scale(args) => cmd::scale::run(&args).await,
        Command::Doctor(args) => Box::pin(cmd::doctor::run(&args)).await,
        Command::Acl(args) => cmd::acl::run(&args).await,
        Command::Config(args) => cmd::config::run(&args),
        Command::Init(args) => cmd::init::run(&args),
    }
}

/// Help goes out as it is; a mistake is one line.
fn usage(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    if matches!(error.kind(), DisplayHelp | DisplayVersion) {
        // Nobody reads on: that is no failure.
        error.print().ok();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("called wrongly").trim_start_matches("error: ").to_owned();
    // `the following required arguments were not provided:` is told in the next line.
    let rest = if first.ends_with(':') { lines.next().unwrap_or_default() } else { "" };
    let line = match error.kind() {
        clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command".to_owned(),
        _ => format!("{first} {rest}").trim_end().to_owned(),
    };
    Failure::usage([format!("{line} (see tempest --help)")]).report()
}
