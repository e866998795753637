//! Background jobs as `bench/jobs` measures them: pushed in batches, drained by a worker, taken from a deep queue, and on
//! their way while Redis is busy with others. Each command prints one line of JSON with what it found.

mod deep;
mod fill;
mod steady;
mod summary;
mod trips;
mod work;

use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use serde_json::Value;
use tempest_worker::{Client, Worker};

/// Several small pieces of memory a job come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pushes and runs background jobs, and says how long it took. `TEMPEST_REDIS_URL` names the Redis.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Drains a queue until it is told to end. `TEMPEST_CONCURRENCY` is how many slots it has.
    Work,
    /// Pushes jobs in batches.
    Fill(fill::Options),
    /// Pushes a job and takes one, in turn, from a queue of a given depth.
    Deep(deep::Options),
    /// Drains a queue that is filled up to a given depth all the time.
    Steady(steady::Options),
    /// Pushes a job now and then, and measures how long it takes until it has run.
    Trips(trips::Options),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    println!("{}", run(Arguments::parse().measure).await?);
    Ok(())
}

async fn run(measure: Measure) -> anyhow::Result<Value> {
    match measure {
        Measure::Work => work::work().await,
        Measure::Fill(options) => fill::fill(&client().await?, &options).await,
        Measure::Deep(options) => deep::deep(&client().await?, &options).await,
        Measure::Steady(options) => steady::steady(&client().await?, &options).await,
        Measure::Trips(options) => trips::trips(&client().await?, &options).await,
    }
}

async fn client() -> anyhow::Result<Client> {
    Client::from_env().await.context("TEMPEST_REDIS_URL")
}

/// A worker of one queue over connections of its own, so that it does not wait for what a pusher asks.
fn worker(queue: &str, slots: usize) -> Worker {
    Worker::new(queue).concurrency(slots)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
