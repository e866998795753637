//! Pushes jobs nobody waits for: one, or one for each line of standard input.

use std::io::BufRead;

use serde_json::{json, value::RawValue};
use tempest_broker::{Broker, Error, NewJob, Pushed, PushedUnique};
use tempest_protocol::{Background, Encoding, Envelope, Holds, JobId, Raw, limits};

use super::{checked, envelope, millis, wrong};
use crate::{
    args::PushArgs,
    failure::Failure,
    output::{print, print_json},
};

/// Jobs pushed in one round trip.
const TOGETHER: usize = 1_000;

/// Pushes one, and prints its id.
pub(super) async fn one(args: &PushArgs, value: &RawValue, broker: &Broker) -> Result<(), Failure> {
    let (job, id) = job(args, value, broker)?;
    let pushed = match &args.background.unique {
        None => broker.enqueue(&args.queue, &[job]).await?.first().copied().unwrap_or(Pushed::NoRoom),
        Some(key) => {
            let (holds, time) = holds(args);
            match broker.enqueue_unique(&args.queue, &job, key, holds, millis(time)).await? {
                PushedUnique::Pushed(pushed) => pushed,
                PushedUnique::Held(holder) => {
                    return Err(Failure::new(format!(
                        "not_unique: job {holder} holds the key {key}; nothing was pushed"
                    )));
                }
            }
        }
    };
    let is_new = room(args, pushed)?;
    if args.as_json {
        return print_json(&json!({ "id": id.as_str(), "queue": args.queue.as_str(), "pushed": is_new }));
    }
    if !is_new {
        eprintln!("tempest: a job {id} is known already; nothing was pushed");
    }
    print(format!("{id}\n").as_bytes())
}

/// Pushes one for each line, and prints their ids.
pub(super) async fn many(args: &PushArgs, broker: &Broker) -> Result<(), Failure> {
    let (mut lines, mut ids) = (std::io::stdin().lock().lines().enumerate(), Vec::new());
    loop {
        let (jobs, named) = chunk(args, broker, &mut lines)?;
        if jobs.is_empty() {
            break;
        }
        for (pushed, id) in broker.enqueue(&args.queue, &jobs).await?.into_iter().zip(&named) {
            if let Err(failure) = room(args, pushed) {
                let line = failure.lines().collect::<Vec<_>>().join("; ");
                return Err(Failure::new(format!("{line}; from job {id} on nothing may have been pushed")));
            }
            if !args.as_json {
                print(format!("{id}\n").as_bytes())?;
            }
        }
        ids.extend(named);
    }
    match args.as_json {
        true => {
            let ids: Vec<_> = ids.iter().map(JobId::as_str).collect();
            print_json(&json!({ "queue": args.queue.as_str(), "ids": ids }))
        }
        false => Ok(()),
    }
}

/// The next jobs, and their ids. Empty lines are passed over.
fn chunk(
    args: &PushArgs,
    broker: &Broker,
    lines: &mut impl Iterator<Item = (usize, std::io::Result<String>)>,
) -> Result<(Vec<NewJob>, Vec<JobId>), Failure> {
    let (mut jobs, mut ids) = (Vec::new(), Vec::new());
    for (number, line) in lines {
        let line = line.map_err(|error| Failure::usage([format!("cannot read standard input: {error}")]))?;
        if line.trim().is_empty() {
            continue;
        }
        let value = checked(&line).map_err(|failure| {
            let why: Vec<_> = failure.lines().map(|why| format!("line {}: {why}", number + 1)).collect();
            Failure::usage(why)
        })?;
        let (job, id) = job(args, &value, broker)?;
        jobs.push(job);
        ids.push(id);
        if jobs.len() == TOGETHER {
            break;
        }
    }
    Ok((jobs, ids))
}

fn job(args: &PushArgs, value: &RawValue, broker: &Broker) -> Result<(NewJob, JobId), Failure> {
    let said = &args.background;
    let (mut envelope, id): (Envelope, JobId) = envelope(args, broker)?;
    let now_ms = broker.now_ms();
    if let Some(ttl) = said.ttl {
        envelope.deadline_ms = now_ms + millis(ttl);
    }
    envelope.attempts = said.attempts;
    let background = Background {
        keep_ms: said.keep.map_or(0, millis),
        unique: said.unique.clone(),
        unique_while: holds(args).0,
        key: said.key.clone(),
        ..Background::default()
    };
    envelope.background = Some(Box::new(background)).filter(|background| !background.is_empty());
    let frame = envelope.encode(&Raw::encode(Encoding::Json, &value).map_err(wrong)?);
    let due_ms = said.at.or(said.after.map(|after| now_ms + millis(after)));
    let job = NewJob::new(&envelope, frame, due_ms);
    Ok((job.ok_or_else(|| Failure::new("a background job needs an id"))?, id))
}

/// How long it holds its unique key.
fn holds(args: &PushArgs) -> (Holds, std::time::Duration) {
    match args.background.unique_for {
        Some(time) => (Holds::Time, time),
        None => (args.background.unique_while.unwrap_or_default(), limits::RECORD_AGE_MAX),
    }
}

/// Whether it is new.
fn room(args: &PushArgs, pushed: Pushed) -> Result<bool, Failure> {
    match pushed {
        Pushed::New => Ok(true),
        Pushed::Known => Ok(false),
        Pushed::NoRoom => Err(Error::QueueFull { queue: args.queue.to_string() }.into()),
    }
}
