//! One push and one claim after the other, at a queue that stays as deep as it is.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};
use tempest_broker::{Acked, RunList, Traces};
use tempest_protocol::{Job, Queue, WorkerId};
use tempest_worker::{Client, Lane, Push};

use crate::{fill, summary::Times};

/// How deep, how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Jobs that wait in the queue, which is empty before.
    #[arg(long)]
    depth: usize,
    /// How many are pushed, and how many taken.
    #[arg(long, default_value_t = 10_000)]
    turns: usize,
}

const QUEUE: &str = "deep";

/// What is measured of each turn.
#[derive(Default)]
struct Turns {
    push: Times,
    claim: Times,
    ack: Times,
}

/// Fills the queue, then pushes, claims and acks a job in turn. Nothing else waits for an answer meanwhile.
pub(crate) async fn deep(client: &Client, options: &Options) -> anyhow::Result<Value> {
    fill::fill(client, &fill::Options::plain(QUEUE, options.depth, 1_000)).await?;
    let worker = WorkerId::new("deep")?;
    let run = client.broker().run_list(&Queue::new(QUEUE)?, &worker, 0);
    let mut turns = Turns::default();
    for number in 0..options.turns {
        turn(client, &run, number, &mut turns).await?;
    }
    let Turns { push, claim, ack } = turns;
    Ok(json!({ "push": push.summary(), "claim": claim.summary(), "ack": ack.summary() }))
}

async fn turn(client: &Client, run: &RunList, number: usize, turns: &mut Turns) -> anyhow::Result<()> {
    let broker = client.broker();
    let begun = Instant::now();
    client.push(Push::new(QUEUE, "noop", &number)).await?;
    let pushed = Instant::now();
    let taken = broker.take(Lane::Normal, std::slice::from_ref(run)).await?;
    let claimed = Instant::now();
    let frame = taken.into_iter().next().flatten().context("the queue is empty")?;
    let job = Job::decode(frame, broker.keys())?;
    let id = job.envelope.id.as_ref().context("a job without an id")?;
    let ready = Instant::now();
    ensure!(
        broker.finish(run, job.frame(), &Traces { id: id.clone(), has_log: false }).await? == Acked::Done,
        "the job was taken away"
    );
    turns.push.add(pushed - begun);
    turns.claim.add(claimed - pushed);
    turns.ack.add(ready.elapsed());
    Ok(())
}
