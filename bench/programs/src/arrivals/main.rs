//! Requests that come when they are due, whether or not those before them were answered (open loop), over connections
//! of HTTP/1.1 that are kept; or, to find what a server can do, from so many clients one after the other (closed loop).
//!
//! Latency is counted from when a request was due, not from when it could be sent: a generator that is held up does not
//! hide the wait (coordinated omission). What waits for an answer holds up nothing behind it as long as connections are
//! left. One line a request is written at the end, see [`record::Record`].

mod connection;
mod load;
mod record;
mod schedule;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Parser;

use crate::{
    load::{Target, closed, open},
    record::Record,
    schedule::Phase,
};

/// Asks at a rate, or from each connection in turn, and writes down how each request ended.
#[derive(Parser)]
struct Arguments {
    /// The port of the server on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// What is asked for.
    #[arg(long, default_value = "/")]
    path: String,
    /// Open loop: requests per second and for how many seconds; several phases follow one another: 500x5,2000x10.
    #[arg(long, value_delimiter = ',', conflicts_with = "seconds")]
    phases: Vec<Phase>,
    /// Connections, all opened before the first request is due: how many may wait for an answer at once.
    #[arg(long)]
    connections: usize,
    /// Closed loop: for how long each connection asks again as soon as it was answered.
    #[arg(long)]
    seconds: Option<f64>,
    /// The same seed gives the same arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long an answer is waited for; a request without one by then is written down as hung.
    #[arg(long, default_value_t = 60.0)]
    patience: f64,
    /// Where the lines are written.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-arrivals: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all_files())
        .context("cannot open as many connections as the system allows")?;
    let patience = Duration::try_from_secs_f64(arguments.patience).context("--patience")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let records = runtime.block_on(async {
        let target = Target::open(arguments.port, &arguments.path, patience, arguments.connections).await?;
        match arguments.seconds {
            Some(seconds) => {
                let time = Duration::try_from_secs_f64(seconds).context("--seconds")?;
                Ok(closed(target, time).await)
            }
            None if arguments.phases.is_empty() => bail!("--phases or --seconds must say what to do"),
            None => open(target, &arguments.phases, arguments.seed).await,
        }
    })?;
    write(&records, &arguments.out).with_context(|| arguments.out.display().to_string())
}

fn all_files() -> rustix::process::Rlimit {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::Rlimit { current: limit.maximum, ..limit }
}

fn write(records: &[Record], path: &PathBuf) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for record in records {
        writeln!(file, "{record}")?;
    }
    Ok(file.flush()?)
}
