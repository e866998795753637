//! A worker at a queue that is filled up as fast as it is drained.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tempest_worker::{Client, Context, Worker};
use tokio::sync::{Notify, oneshot};

use crate::{fill, seconds, summary::count, worker};

/// How deep, for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Jobs that wait in the queue, which is empty before, beside those the worker has in hand.
    #[arg(long)]
    depth: usize,
    /// Jobs the worker runs at a time.
    #[arg(long)]
    slots: usize,
    /// For how long it is measured, in seconds.
    #[arg(long, value_parser = seconds)]
    seconds: Duration,
}

const QUEUE: &str = "steady";
/// At least and at most so many that are done are replaced at once.
const BATCH: usize = 32;
const BATCH_MAX: usize = 128;

/// How many jobs are done; whoever waits is told of each [`BATCH`] of them.
#[derive(Default)]
struct Done {
    count: AtomicUsize,
    batch: Notify,
}

impl Done {
    fn one_more(&self) {
        if (self.count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(BATCH) {
            self.batch.notify_one();
        }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Waits until so many are done. Gives how many are.
    async fn reaches(&self, count: usize) -> usize {
        while self.count() < count {
            self.batch.notified().await;
        }
        self.count()
    }
}

/// Fills the queue, and replaces what is done in batches. Gives jobs done per second.
pub(crate) async fn steady(client: &Client, options: &Options) -> anyhow::Result<Value> {
    let depth = options.depth + options.slots;
    fill::fill(client, &fill::Options::plain(QUEUE, depth, 1_000)).await?;
    let (done, (stop, stopped)) = (Arc::<Done>::default(), oneshot::channel::<()>());
    let work = tokio::spawn(counting(worker(QUEUE, options.slots), done.clone()).run(async {
        stopped.await.ok();
    }));
    let from = done.reaches(BATCH).await;
    let (begun, mut replaced) = (Instant::now(), 0);
    while begun.elapsed() < options.seconds {
        let batch = (done.reaches(replaced + BATCH).await - replaced).min(BATCH_MAX);
        fill::fill(client, &fill::Options::plain(QUEUE, batch, batch)).await?;
        replaced += batch;
    }
    let rate = count(done.count() - from) / begun.elapsed().as_secs_f64();
    let behind = done.count().saturating_sub(replaced);
    stop.send(()).ok();
    work.await??;
    Ok(json!({ "rate": rate, "behind": behind }))
}

fn counting(worker: Worker, done: Arc<Done>) -> Worker {
    worker.on_job("noop", move |_: IgnoredAny, _: Context| {
        done.one_more();
        async { Ok::<_, Infallible>(()) }
    })
}
