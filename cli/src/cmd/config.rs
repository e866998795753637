//! `tempest config`

use serde_json::{Map, Value, json};
use tempest_broker::NamedSchedule;
use tempest_front::Route;
use tempest_protocol::{Lane, Queue};
use tempest_supervisor::WorkerSpec;

use crate::{
    args::ConfigArgs,
    config::{Config, Sources},
    docs,
    failure::Failure,
    output::{print, print_json, print_table},
};

pub(crate) fn run(args: &ConfigArgs) -> Result<(), Failure> {
    if args.docs {
        return print(docs::page().as_bytes());
    }
    let sources =
        Sources { flags: args.flags.given(), file: args.file.config.as_deref(), ..Sources::default() };
    let config = Config::load(&sources)?;
    if args.as_json { print_json(&as_json(&config)) } else { print_text(&config) }
}

fn shown_file(config: &Config) -> String {
    config.file.as_ref().map_or_else(|| "none".to_owned(), |file| file.display().to_string())
}

/// Where a route leads, in words.
fn target(route: &Route) -> String {
    let fields = serde_json::to_value(route).unwrap_or_default();
    let found = ["queue", "topic", "static"].iter().find_map(|key| Some((*key, fields[key].as_str()?)));
    match found {
        Some((key, name)) if route.jobs => format!("jobs of {key} {name}"),
        Some((key, name)) if route.background => format!("{key} {name}, in the background"),
        Some((key, name)) => format!("{key} {name}"),
        None => "jobs".into(),
    }
}

fn print_text(config: &Config) -> Result<(), Failure> {
    print(format!("file: {}\n\n", shown_file(config)).as_bytes())?;
    let rows: Vec<_> = config
        .values()
        .iter()
        .map(|value| vec![value.setting.key.to_owned(), value.shown(), value.origin.to_string()])
        .collect();
    print_table(&["SETTING", "VALUE", "ORIGIN"], &rows)?;
    for route in &config.routes {
        print(format!("\nroute {} → {}", route.path, target(route)).as_bytes())?;
    }
    for worker in &config.workers {
        let queues: Vec<_> = worker.queues.iter().map(Queue::as_str).collect();
        let WorkerSpec { name, count, command, .. } = worker;
        let queues = queues.join(",");
        print(format!("\nworker {name} × {count} on {queues}: {}", command.join(" ")).as_bytes())?;
    }
    for NamedSchedule { queue, name, schedule } in &config.schedules {
        let (when, action) = (schedule.definition().when(), schedule.action());
        let zone = schedule.definition().zone.as_ref().map_or_else(String::new, |zone| format!(" in {zone}"));
        print(format!("\nschedule {name} of {queue}: {when}{zone} → {action}").as_bytes())?;
    }
    let is_bare = config.routes.is_empty() && config.workers.is_empty() && config.schedules.is_empty();
    if is_bare { Ok(()) } else { print(b"\n") }
}

fn as_json(config: &Config) -> Value {
    let settings: Map<_, _> = config
        .values()
        .iter()
        .map(|value| {
            let shown = json!({ "value": value.shown(), "origin": value.origin.to_string() });
            (value.setting.key.to_owned(), shown)
        })
        .collect();
    let workers: Vec<_> = config.workers.iter().map(worker_as_json).collect();
    let schedules: Vec<_> = config.schedules.iter().map(schedule_as_json).collect();
    json!({ "file": config.file, "settings": settings, "routes": config.routes, "workers": workers, "schedules": schedules })
}

fn schedule_as_json(named: &NamedSchedule) -> Value {
    let NamedSchedule { queue, name, schedule } = named;
    json!({ "name": name.as_str(), "queue": queue.as_str(), "definition": schedule.definition() })
}

fn worker_as_json(worker: &WorkerSpec) -> Value {
    json!({
        "name": worker.name,
        "command": worker.command,
        "queues": worker.queues.iter().map(Queue::as_str).collect::<Vec<_>>(),
        "lanes": worker.lanes.iter().map(|lane| Lane::as_str(*lane)).collect::<Vec<_>>(),
        "count": worker.count,
        "env": worker.env,
        "dir": worker.dir,
        "beat": worker.is_beaten_for,
        "memory_mib_max": worker.limits.memory_bytes.map(|bytes| bytes >> 20),
        "age_ms_max": worker.limits.age.map(|age| age.as_millis()),
        "jobs_max": worker.limits.jobs,
        "run_ms_max": worker.limits.run.map(|run| run.as_millis()),
        "stall_ms_max": worker.limits.stall.map(|stall| stall.as_millis()),
    })
}
