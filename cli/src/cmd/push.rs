//! `tempest push`

mod background;

use std::{io::Read, time::Duration};

use bytes::Bytes;
use serde_json::value::RawValue;
use tempest_broker::{Broker, Caps};
use tempest_protocol::{Action, Content, Encoding, Envelope, Job, JobId, Keys, Raw, Reply, limits};

use crate::{args::PushArgs, failure::Failure, output::print, signals::Signals};

pub(crate) async fn run(args: &PushArgs) -> Result<(), Failure> {
    if args.many {
        let broker = super::connect(&args.flags).await?;
        broker.announce(std::slice::from_ref(&args.queue)).await?;
        return background::many(args, &broker).await;
    }
    let value = arguments(args.json.as_deref())?;
    let signals = Signals::listen()?;
    let broker = super::connect(&args.flags).await?;
    broker.announce(std::slice::from_ref(&args.queue)).await?;
    if args.wait {
        let waited = Box::pin(push_and_wait(args, &value, &broker, &signals));
        return signals.guard(waited).await;
    }
    background::one(args, &value, &broker).await
}

/// The arguments of the job, kept as they were written.
pub(super) fn arguments(json: Option<&str>) -> Result<Box<RawValue>, Failure> {
    let text = match json {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::usage([format!("cannot read standard input: {error}")]))?;
            text
        }
        Some(text) => text.to_owned(),
        None => "null".to_owned(),
    };
    checked(&text)
}

/// A JSON text that a worker can read.
fn checked(text: &str) -> Result<Box<RawValue>, Failure> {
    let value: Box<RawValue> = serde_json::from_str(text).map_err(|error| {
        Failure::usage([format!("the arguments are not JSON: {error}; a text needs quotes: '\"text\"'")])
    })?;
    // What no worker could read is refused here, where somebody can mend it.
    let raw = Raw::encode(Encoding::Json, &value).map_err(wrong)?;
    let trial = Envelope::new(Action::new("trial").map_err(wrong)?).encode(&raw);
    Job::decode(trial, &Keys::default()).map_err(wrong)?;
    Ok(value)
}

/// The envelope of a job that nobody waits for yet, and its id.
fn envelope(args: &PushArgs, broker: &Broker) -> Result<(Envelope, JobId), Failure> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => JobId::new(uuid::Uuid::now_v7().to_string()).map_err(wrong)?,
    };
    let now_ms = broker.now_ms();
    let mut envelope = Envelope::new(args.action.clone());
    envelope.id = Some(id.clone());
    envelope.lane = args.lane;
    envelope.queued_at_ms = Some(now_ms);
    envelope.deadline_ms = limit(args).map_or(0, |limit| now_ms + millis(limit));
    Ok((envelope, id))
}

fn wrong(error: tempest_protocol::Error) -> Failure {
    Failure::usage([error.to_string()])
}

/// How long somebody waits; none: nobody does.
fn limit(args: &PushArgs) -> Option<Duration> {
    args.timeout.or_else(|| args.wait.then_some(limits::HTTP_DEADLINE))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn push_and_wait(
    args: &PushArgs,
    value: &RawValue,
    broker: &Broker,
    signals: &Signals,
) -> Result<(), Failure> {
    let inbox = broker.open_inbox("push").await?;
    let (mut envelope, id) = envelope(args, broker)?;
    envelope.reply_to = Some(inbox.key().to_owned());
    let frame = envelope.encode(&Raw::encode(Encoding::Json, &value).map_err(wrong)?);
    let mut waiter = inbox.expect(&id);
    let limit = limit(args).unwrap_or(limits::HTTP_DEADLINE);
    let depth = broker.push(&args.queue, args.lane, &frame, &Caps::default()).await?;
    let reply = tokio::select! {
        reply = tokio::time::timeout(limit, waiter.reply()) => reply.ok(),
        () = signals.stop.cancelled() => None,
    };
    let result = match reply {
        Some(Ok(reply)) => show(args, &reply),
        Some(Err(error)) => Err(Failure::new(format!("the reply cannot be used: {error}"))),
        None => Err(give_up(args, broker, &frame, &id, depth, signals.stop.is_cancelled()).await),
    };
    drop(waiter);
    if let Err(error) = inbox.close().await {
        tracing::debug!(%error, "the mailbox is left to the keeper");
    }
    result
}

/// Nobody waits any more: the job is cancelled. Says what became of it.
async fn give_up(
    args: &PushArgs,
    broker: &Broker,
    frame: &Bytes,
    id: &JobId,
    depth: u64,
    interrupted: bool,
) -> Failure {
    let queue = &args.queue;
    let waiting = broker.cancel(queue, args.lane, frame, id, depth, None).await;
    let what = if interrupted {
        "interrupted".to_owned()
    } else {
        format!("no reply within {:?}", limit(args).unwrap_or_default())
    };
    Failure::new(match waiting {
        Ok(true) => format!(
            "{what}: no worker of queue {queue} took the job, it is taken back; tempest workers shows who works"
        ),
        Ok(false) => format!("{what}: the job was told to cancel"),
        Err(error) => format!("{what}, and it could not be cancelled: {error}"),
    })
}

fn show(args: &PushArgs, reply: &Reply) -> Result<(), Failure> {
    if args.as_json {
        let mut text =
            reply.encode(Encoding::Json).map_err(|error| Failure::new(error.to_string()))?.to_vec();
        text.push(b'\n');
        print(&text)?;
    }
    match &reply.content {
        Content::Result(result) if !args.as_json => {
            let result = result.to_encoding(Encoding::Json);
            let result = result.map_err(|error| Failure::new(format!("the result is no JSON: {error}")))?;
            print(&[result.bytes(), &b"\n"[..]].concat())
        }
        Content::Http { body, .. } | Content::Part(body) if !args.as_json => {
            print(body)?;
            status(reply)
        }
        Content::Error(failure) => {
            Err(Failure::new(format!("{}: {}", failure.code, one_line(&failure.message))))
        }
        _ => status(reply),
    }
}

fn status(reply: &Reply) -> Result<(), Failure> {
    match &reply.content {
        Content::Http { status, .. } if *status >= 400 => {
            Err(Failure::new(format!("the worker replied with status {status}")))
        }
        _ => Ok(()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
