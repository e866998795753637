//! Jobs pushed in batches, as a program does it that has many at once.

use std::{
    ops::Range,
    time::{Duration, Instant, UNIX_EPOCH},
};

use anyhow::ensure;
use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tempest_worker::{Client, Push, Pushed};

/// What is pushed.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long, default_value = "default")]
    pub(crate) queue: String,
    #[arg(long, default_value = "noop")]
    pub(crate) action: String,
    /// How many.
    #[arg(long)]
    pub(crate) jobs: usize,
    /// How many in one call.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) batch: usize,
    /// Calls under way at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) calls: usize,
    /// The arguments are a text of so many bytes; 0: a number.
    #[arg(long, default_value_t = 0)]
    pub(crate) bytes: usize,
    /// When all of them are due, in ms since 1970; absent: at once.
    #[arg(long)]
    pub(crate) due: Option<u64>,
    /// Keep results for so many seconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) keep: u64,
}

/// Pushes the jobs. The time includes that in which they are made.
pub(crate) async fn fill(client: &Client, options: &Options) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let batches = (0..options.jobs).step_by(options.batch.max(1));
    stream::iter(batches.map(|from| from..(from + options.batch).min(options.jobs)))
        .map(|numbers| push(client, options, numbers))
        .buffer_unordered(options.calls.max(1))
        .try_collect::<()>()
        .await?;
    Ok(json!({ "jobs": options.jobs, "seconds": begun.elapsed().as_secs_f64() }))
}

async fn push(client: &Client, options: &Options, numbers: Range<usize>) -> anyhow::Result<()> {
    let jobs = numbers.map(|number| options.job(number)).collect();
    let pushed = client.push_many(jobs).await?;
    ensure!(pushed.iter().all(|(_, became)| *became == Pushed::New), "a job was not pushed");
    Ok(())
}

impl Options {
    fn job(&self, number: usize) -> Push {
        let job = match self.bytes {
            0 => Push::new(&self.queue, &self.action, &number),
            bytes => Push::new(&self.queue, &self.action, &"x".repeat(bytes)),
        };
        let job = job.keep(Duration::from_secs(self.keep));
        match self.due {
            Some(ms) => job.at(UNIX_EPOCH + Duration::from_millis(ms)),
            None => job,
        }
    }

    /// Plain jobs for one queue.
    pub(crate) fn plain(queue: &str, jobs: usize, batch: usize) -> Self {
        let (queue, action) = (queue.to_owned(), "noop".to_owned());
        Self { queue, action, jobs, batch, calls: 1, bytes: 0, due: None, keep: 0 }
    }
}
