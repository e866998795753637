//! `tempest queues`

mod drain;

use serde_json::{Value, json};
use tempest_broker::{Broker, Error, LimitChange, Purge, QueueLimits, QueueState};
use tempest_protocol::Lane;

use crate::{
    args::{LimitArgs, PurgeArgs, QueueArgs, QueuesArgs, QueuesCommand},
    consent,
    failure::Failure,
    output::{print, print_json, print_table, show_again, table},
};

const HEADINGS: [&str; 9] =
    ["QUEUE", "HIGH", "NORMAL", "LOW", "RUNNING", "LATER", "DEAD", "WORKERS", "LIMITS"];

pub(crate) async fn run(args: &QueuesArgs) -> Result<(), Failure> {
    match &args.command {
        None => list(args).await,
        Some(QueuesCommand::Pause(args)) => pause(args, true).await,
        Some(QueuesCommand::Resume(args)) => pause(args, false).await,
        Some(QueuesCommand::Limit(args)) => limit(args).await,
        Some(QueuesCommand::Purge(args)) => purge(args).await,
        Some(QueuesCommand::Drain(args)) => drain::run(args).await,
    }
}

async fn list(args: &QueuesArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    if args.shown.watch {
        return show_again(async || Ok::<_, Failure>(table(&HEADINGS, &rows(&look(&broker).await?)))).await;
    }
    let seen = look(&broker).await?;
    if args.shown.as_json {
        return print_json(&seen.iter().map(|(state, limits)| as_json(state, limits)).collect());
    }
    if seen.is_empty() {
        eprintln!("tempest: no queue was used yet");
        return Ok(());
    }
    print_table(&HEADINGS, &rows(&seen))
}

async fn look(broker: &Broker) -> Result<Vec<(QueueState, QueueLimits)>, Error> {
    let states = broker.queue_states().await?;
    let limits = broker.limits_of(states.iter().map(|state| &state.queue)).await?;
    Ok(states.into_iter().zip(limits).collect())
}

fn rows(seen: &[(QueueState, QueueLimits)]) -> Vec<Vec<String>> {
    let row = |(state, limits): &(QueueState, QueueLimits)| {
        let waiting = state.waiting.iter().map(|load| load.jobs);
        let workers = u64::try_from(state.workers).unwrap_or(u64::MAX);
        let numbers = waiting.chain([state.running, state.later, state.dead, workers]);
        let queue = std::iter::once(state.queue.to_string());
        queue.chain(numbers.map(|number| number.to_string())).chain([in_words(limits)]).collect()
    };
    seen.iter().map(row).collect()
}

fn as_json(state: &QueueState, limits: &QueueLimits) -> Value {
    let lanes = Lane::ALL.iter().zip(state.waiting);
    let waiting: serde_json::Map<_, _> = lanes
        .map(|(lane, load)| (lane.to_string(), json!({ "jobs": load.jobs, "bytes": load.bytes })))
        .collect();
    json!({
        "queue": state.queue.as_str(),
        "waiting": waiting,
        "running": state.running,
        "later": state.later,
        "dead": state.dead,
        "workers": state.workers,
        "paused": limits.paused,
        "limits": limits_as_json(limits),
    })
}

fn limits_as_json(limits: &QueueLimits) -> Value {
    json!({
        "concurrency": limits.concurrency,
        "rate": limits.rate,
        "per_ms": limits.rate.map(|_| limits.per_ms),
        "per_key": limits.per_key,
    })
}

/// What limits a queue, in few words; `-` if nothing does.
fn in_words(limits: &QueueLimits) -> String {
    let mut words = Vec::new();
    words.extend(limits.paused.then(|| "paused".to_owned()));
    words.extend(limits.concurrency.map(|jobs| format!("{jobs} at a time")));
    words.extend(limits.rate.map(|jobs| format!("{jobs}/{}", per(limits.per_ms))));
    words.extend((limits.per_key != 1).then(|| format!("{} of a key", limits.per_key)));
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn per(ms: u64) -> String {
    match ms {
        1_000 => "s".to_owned(),
        60_000 => "min".to_owned(),
        3_600_000 => "h".to_owned(),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

async fn pause(args: &QueueArgs, paused: bool) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    broker.set_limits(&args.queue, &[LimitChange::Paused(paused)]).await?;
    if args.as_json {
        return print_json(&json!({ "queue": args.queue.as_str(), "paused": paused }));
    }
    print(format!("{}: {}\n", args.queue, if paused { "paused" } else { "resumed" }).as_bytes())
}

async fn limit(args: &LimitArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    broker.set_limits(&args.queue, &args.changes()).await?;
    let limits = broker.limits(&args.queue).await?;
    if args.as_json {
        let about = json!({
            "queue": args.queue.as_str(), "paused": limits.paused, "limits": limits_as_json(&limits),
        });
        return print_json(&about);
    }
    let words = in_words(&limits);
    let words = if words == "-" { "no limits" } else { &words };
    print(format!("{}: {words}\n", args.queue).as_bytes())
}

async fn purge(args: &PurgeArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let lanes = if args.lanes.is_empty() { Lane::ALL.to_vec() } else { args.lanes.clone() };
    let purge = Purge { lanes, later: args.later, dead: args.dead };
    if !consent::given(&question(args, &purge, &broker).await?, args.yes)? {
        return Ok(());
    }
    let purged = broker.purge(&args.queue, &purge).await?;
    if args.as_json {
        return print_json(&json!({
            "queue": args.queue.as_str(), "waiting": purged.waiting, "later": purged.later, "dead": purged.dead,
        }));
    }
    let mut text = format!("removed: {} that waited", purged.waiting);
    if args.later {
        text += &format!(", {} that were due later", purged.later);
    }
    if args.dead {
        text += &format!(", {} dead", purged.dead);
    }
    print(format!("{text}\n").as_bytes())
}

async fn question(args: &PurgeArgs, purge: &Purge, broker: &Broker) -> Result<String, Failure> {
    let Some(state) = broker.queue_state(&args.queue).await? else {
        return Err(Failure::new(format!("a key of queue {} has a wrong type", args.queue)));
    };
    let lanes = Lane::ALL.iter().zip(state.waiting).filter(|(lane, _)| purge.lanes.contains(lane));
    let mut parts = vec![format!("{} that wait", lanes.map(|(_, load)| load.jobs).sum::<u64>())];
    parts.extend(purge.later.then(|| format!("{} that are due later", state.later)));
    parts.extend(purge.dead.then(|| format!("{} dead ones", state.dead)));
    Ok(format!("remove the jobs of queue {}: {}", args.queue, parts.join(", ")))
}
