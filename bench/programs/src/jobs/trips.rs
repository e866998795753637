//! How long a job takes from its push until it has run, sampled at a fixed rate.

use std::{convert::Infallible, time::Duration};

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};
use tempest_worker::{Client, Context, Push, Worker};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use crate::{seconds, summary::Times, worker};

/// How often, for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// For how long a job is pushed now and then, in seconds.
    #[arg(long, value_parser = seconds)]
    seconds: Duration,
    /// How long after the one before, in ms.
    #[arg(long, default_value_t = 5)]
    every: u64,
}

const QUEUE: &str = "trips";
/// Jobs that are pushed before anything is measured.
const WARM: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// A sample: when its push was due, and when it had run.
type Ran = (usize, Instant);

/// Pushes a job when it is due, whether or not those before it have run, and counts from when it was due.
pub(crate) async fn trips(client: &Client, options: &Options) -> anyhow::Result<Value> {
    let (tell, mut ran) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let work = tokio::spawn(telling(worker(QUEUE, 16), tell).run(async {
        stopped.await.ok();
    }));
    for number in 0..WARM {
        client.push(Push::new(QUEUE, "trip", &number)).await?;
        timeout(PATIENCE, ran.recv()).await?;
    }
    let (times, first_ms) = sample(client, options, &mut ran).await?;
    stop.send(()).ok();
    work.await??;
    let mut found = times.summary();
    found["first_ms"] = json!(first_ms);
    Ok(found)
}

fn telling(worker: Worker, tell: mpsc::UnboundedSender<Ran>) -> Worker {
    worker.on_job("trip", move |number: usize, _: Context| {
        let sent = tell.send((number, Instant::now()));
        async move {
            sent.ok();
            Ok::<_, Infallible>(())
        }
    })
}

/// Gives the times, and when the first job was due in ms of Redis time.
async fn sample(
    client: &Client,
    options: &Options,
    ran: &mut mpsc::UnboundedReceiver<Ran>,
) -> anyhow::Result<(Times, u64)> {
    let (begun, first_ms) = (Instant::now(), client.broker().now_ms());
    let every = Duration::from_millis(options.every.max(1));
    let mut ticks = interval_at(begun, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut due, mut pushes) = (Vec::new(), JoinSet::new());
    while begun.elapsed() < options.seconds {
        let tick = ticks.tick().await;
        let (client, number) = (client.clone(), due.len());
        pushes.spawn(async move { client.push(Push::new(QUEUE, "trip", &number)).await });
        due.push(tick);
    }
    while let Some(pushed) = pushes.join_next().await {
        pushed??;
    }
    let mut times = Times::default();
    while times.len() < due.len() {
        let (number, at) = timeout(PATIENCE, ran.recv()).await?.unwrap_or((usize::MAX, begun));
        ensure!(number < due.len(), "a job ran that nobody pushed");
        times.add(at - due[number]);
    }
    Ok((times, first_ms))
}
