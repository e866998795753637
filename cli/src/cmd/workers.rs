//! `tempest workers`

use serde_json::{Value, json};
use tempest_broker::WorkerState;

use crate::{
    args::InspectArgs,
    failure::Failure,
    output::{print_json, print_table},
};

pub(crate) async fn run(args: &InspectArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let states = broker.worker_states().await?;
    if args.as_json {
        return print_json(&states.iter().map(as_json).collect());
    }
    if states.is_empty() {
        eprintln!("tempest: no worker is registered; one that only takes jobs with BLPOP never is");
        return Ok(());
    }
    let headings = ["WORKER", "QUEUE", "STATE", "SLOTS", "RUNNING", "LANG", "VERSION", "HOST", "PID"];
    print_table(&headings, &states.iter().map(row).collect::<Vec<_>>())
}

/// What a worker says of itself, if that is JSON.
fn about(state: &WorkerState) -> Option<Value> {
    serde_json::from_slice(state.about.as_ref()?).ok()
}

fn row(state: &WorkerState) -> Vec<String> {
    let about = about(state).unwrap_or_default();
    let said = |field: &str| match &about[field] {
        Value::String(text) => text.chars().filter(|letter| !letter.is_control()).take(40).collect(),
        Value::Number(number) => number.to_string(),
        _ => "-".to_owned(),
    };
    let word = match (state.is_alive(), about["state"].as_str()) {
        (false, _) => "gone",
        (true, Some("draining")) => "draining",
        (true, _) => "alive",
    };
    vec![
        state.worker.to_string(),
        state.queue.to_string(),
        word.to_owned(),
        state.slots.to_string(),
        state.running.to_string(),
        said("lang"),
        said("version"),
        said("host"),
        said("pid"),
    ]
}

fn as_json(state: &WorkerState) -> Value {
    json!({
        "worker": state.worker.as_str(),
        "queue": state.queue.as_str(),
        "alive": state.is_alive(),
        "slots": state.slots,
        "running": state.running,
        "about": about(state),
    })
}
