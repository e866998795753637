//! `tempest cancel`

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempest_broker::{Broker, Whereabouts};
use tempest_protocol::{Job, Lane, Queue, WorkerId};

use crate::{
    args::CancelArgs,
    failure::Failure,
    output::{print, print_json},
};

/// How long a worker may take to stop before it is said that it still runs.
const ENDS_WITHIN: Duration = Duration::from_secs(2);
/// How often its run list is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait before a job is looked for again that was in no place.
const AGAIN: Duration = Duration::from_millis(100);
/// Copies and moves that are followed at most.
const ROUNDS: usize = 16;

pub(crate) async fn run(args: &CancelArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let queues = match &args.queue {
        Some(queue) => vec![queue.clone()],
        None => broker.queues().await?,
    };
    let mut search = Search { args, broker, queues, is_client_told: false, has_record: false };
    let ended = search.cancel_all().await?;
    if args.as_json {
        let found: Vec<_> = ended.iter().map(Ended::to_json).collect();
        let told = search.is_client_told;
        print_json(&json!({ "id": args.id.as_str(), "found": found, "client_told": told }))?;
    } else {
        let lines: String = ended.iter().map(|ended| format!("{ended}\n")).collect();
        print(lines.as_bytes())?;
        if search.is_client_told {
            print(b"whoever waited for its reply is told\n")?;
        }
    }
    match ended.is_empty() {
        true => {
            Err(Failure::new(format!("not found: no job {} waits, runs, is due later or is dead", args.id)))
        }
        false => Ok(()),
    }
}

struct Search<'a> {
    args: &'a CancelArgs,
    broker: Broker,
    queues: Vec<Queue>,
    is_client_told: bool,
    /// It has a record, or had one: it is in one place.
    has_record: bool,
}

/// What became of a job where it was found.
struct Ended {
    queue: Queue,
    place: Whereabouts,
    /// How long a worker took to stop; none: it still runs.
    after: Option<Duration>,
}

impl Search<'_> {
    /// Cancels the job, and whatever else has its id, wherever it moves meanwhile.
    async fn cancel_all(&mut self) -> Result<Vec<Ended>, Failure> {
        let mut ended: Vec<Ended> = Vec::new();
        for _ in 0..ROUNDS {
            let is_first = ended.is_empty();
            let found = match self.find(is_first).await? {
                None if is_first => {
                    tokio::time::sleep(AGAIN).await;
                    self.find(is_first).await?
                }
                found => found,
            };
            let Some((queue, place, job)) = found else { break };
            let Some(outcome) = self.cancel(queue, place, &job).await? else { continue };
            let is_last = outcome.is_last();
            ended.push(outcome);
            if is_last {
                break;
            }
        }
        Ok(ended)
    }

    /// Where its record says, if it has one; else wherever it can be. One with a record, of which something was cancelled
    /// already, is nowhere else.
    async fn find(&mut self, is_first: bool) -> Result<Option<(Queue, Whereabouts, Job)>, Failure> {
        for queue in self.broker.queues_with(&self.queues, &self.args.id).await? {
            let sighting = self.broker.sight(&queue, &self.args.id).await?;
            self.has_record |= sighting.is_some();
            match sighting.and_then(|sighting| sighting.seen) {
                Some((place, _)) if place.lane().is_some_and(|lane| !self.is_meant(lane)) => {}
                Some((place, job)) => return Ok(Some((queue, place, job))),
                None => {}
            }
        }
        if self.has_record && !is_first {
            return Ok(None);
        }
        self.search().await
    }

    fn is_meant(&self, lane: Lane) -> bool {
        self.args.lanes.is_empty() || self.args.lanes.contains(&lane)
    }

    async fn search(&self) -> Result<Option<(Queue, Whereabouts, Job)>, Failure> {
        let lanes = match self.args.lanes.as_slice() {
            [] => &Lane::ALL[..],
            lanes => lanes,
        };
        for queue in &self.queues {
            if let Some((place, job)) = self.broker.find(queue, &self.args.id, lanes).await? {
                return Ok(Some((queue.clone(), place, job)));
            }
        }
        Ok(None)
    }

    /// Cancels the job where it is. None: it is there no more.
    async fn cancel(
        &mut self,
        queue: Queue,
        place: Whereabouts,
        job: &Job,
    ) -> Result<Option<Ended>, Failure> {
        let broker = &self.broker;
        let mut after = None;
        match &place {
            Whereabouts::Waiting(_) | Whereabouts::SetAside { .. } | Whereabouts::Later => {
                if !broker.take_away(&queue, &place, job).await? {
                    return Ok(None);
                }
                self.tell_client(job).await?;
            }
            Whereabouts::Held(worker) => {
                let begun = Instant::now();
                broker.tell_cancelled(&queue, &self.args.id, self.args.kill_after).await?;
                self.tell_client(job).await?;
                after = self.is_over(&queue, worker).await?.then(|| begun.elapsed());
            }
            Whereabouts::Dead => {}
        }
        Ok(Some(Ended { queue, place, after }))
    }

    /// Whether the worker stops within a while.
    async fn is_over(&self, queue: &Queue, worker: &WorkerId) -> Result<bool, Failure> {
        let until = Instant::now() + self.args.kill_after.unwrap_or_default() + ENDS_WITHIN;
        while self.broker.holder(queue, &self.args.id, |each| each == worker).await?.is_some() {
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    }

    /// Whoever waits for the reply learns that there will be none, with the code `cancelled`. A reply that was quicker
    /// counts, and this one is dropped.
    async fn tell_client(&mut self, job: &Job) -> Result<(), Failure> {
        self.is_client_told |= self.broker.tell_removed(job, "cancelled by tempest cancel").await?;
        Ok(())
    }
}

impl Ended {
    /// Whether there is nothing more to do: it runs on, or is where nothing is done about it.
    fn is_last(&self) -> bool {
        match self.place {
            Whereabouts::Held(_) => self.after.is_none(),
            Whereabouts::Dead => true,
            Whereabouts::Waiting(_) | Whereabouts::SetAside { .. } | Whereabouts::Later => false,
        }
    }

    fn to_json(&self) -> Value {
        let (state, worker) = match &self.place {
            Whereabouts::Waiting(_) | Whereabouts::SetAside { .. } => ("waiting", None),
            Whereabouts::Held(worker) => ("running", Some(worker.as_str())),
            Whereabouts::Later => ("later", None),
            Whereabouts::Dead => ("dead", None),
        };
        json!({
            "state": state,
            "queue": self.queue.as_str(),
            "lane": self.place.lane().map(Lane::as_str),
            "worker": worker,
            "removed": !matches!(self.place, Whereabouts::Held(_) | Whereabouts::Dead),
            "ended_after_ms": self.after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = &self.queue;
        match (&self.place, self.after) {
            (Whereabouts::Waiting(Lane::Normal), _) => write!(f, "waiting in {queue}: removed"),
            (Whereabouts::Waiting(lane), _) => {
                write!(f, "waiting in {queue}, lane {}: removed", lane.as_str())
            }
            (Whereabouts::SetAside { key, .. }, _) => {
                write!(f, "waiting in {queue} for its key {key}: removed")
            }
            (Whereabouts::Held(worker), Some(after)) => {
                write!(f, "running on {worker}: told, ended after {} ms", after.as_millis())
            }
            (Whereabouts::Held(worker), None) => {
                write!(
                    f,
                    "running on {worker}: told, and still runs; a handler that does not ask runs to its end"
                )
            }
            (Whereabouts::Later, _) => write!(f, "due later in {queue}: removed"),
            (Whereabouts::Dead, _) => write!(f, "dead in {queue}: it runs no more; nothing is changed"),
        }
    }
}
