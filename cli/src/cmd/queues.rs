//! `tempest queues`

use serde_json::{Value, json};
use tempest_broker::QueueState;
use tempest_protocol::Lane;

use crate::{
    args::InspectArgs,
    failure::Failure,
    output::{print_json, print_table},
};

pub(crate) async fn run(args: &InspectArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let states = broker.queue_states().await?;
    if args.as_json {
        return print_json(&states.iter().map(as_json).collect());
    }
    if states.is_empty() {
        eprintln!("tempest: no queue was used yet");
        return Ok(());
    }
    let headings = ["QUEUE", "HIGH", "NORMAL", "LOW", "RUNNING", "LATER", "DEAD", "WORKERS"];
    print_table(&headings, &states.iter().map(row).collect::<Vec<_>>())
}

fn row(state: &QueueState) -> Vec<String> {
    let waiting = state.waiting.iter().map(|load| load.jobs);
    let workers = u64::try_from(state.workers).unwrap_or(u64::MAX);
    let numbers = waiting.chain([state.running, state.later, state.dead, workers]);
    std::iter::once(state.queue.to_string()).chain(numbers.map(|number| number.to_string())).collect()
}

fn as_json(state: &QueueState) -> Value {
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
    })
}
