//! `tempest workers`: what the workers say of themselves in their leases, and what supervisors know of their children.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tempest_broker::{Broker, Error, SupervisorState, WorkerState};

use crate::{
    args::WorkersArgs,
    failure::Failure,
    output::{absent, fit, print_json, print_table, show_again, span, table},
};

const HEADINGS: [&str; 12] = [
    "WORKER",
    "QUEUE",
    "STATE",
    "SLOTS",
    "RUNNING",
    "LANG",
    "PID",
    "JOB",
    "FOR",
    "MEMORY",
    "RESTARTS",
    "LAST DEATH",
];

pub(crate) async fn run(args: &WorkersArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    if args.watch {
        let text = async || {
            let seen = Seen::look(&broker).await?;
            Ok::<_, Failure>(table(&HEADINGS, &seen.lines().iter().map(Line::row).collect::<Vec<_>>()))
        };
        return show_again(text).await;
    }
    let seen = Seen::look(&broker).await?;
    let lines = seen.lines();
    if args.as_json {
        return print_json(&lines.iter().map(Line::as_json).collect());
    }
    if lines.is_empty() {
        eprintln!("tempest: no worker is registered; one that only takes jobs with BLPOP never is");
        return Ok(());
    }
    print_table(&HEADINGS, &lines.iter().map(Line::row).collect::<Vec<_>>())
}

/// What Redis tells at one moment.
struct Seen {
    now_ms: u64,
    workers: Vec<WorkerState>,
    /// Jobs in hand of workers that do not tell them.
    held: BTreeMap<String, Value>,
    children: Vec<Value>,
}

/// A worker on one of its queues, or a child that is no worker at the moment.
struct Line<'a> {
    now_ms: u64,
    worker: Option<&'a WorkerState>,
    /// What it says of itself.
    about: Value,
    child: Option<&'a Value>,
    held: Option<&'a Value>,
}

impl Seen {
    async fn look(broker: &Broker) -> Result<Self, Error> {
        let (workers, supervisors) = tokio::try_join!(broker.worker_states(), broker.supervisors())?;
        let silent = workers.iter().filter(|it| it.hides_jobs());
        let silent: Vec<_> = silent.map(|it| (&it.queue, &it.worker, it.slots)).collect();
        let held = broker.jobs_in_hand(&silent).await?.into_iter().map(|(worker, job)| {
            let id = job.id.map(|id| id.to_string());
            (worker.to_string(), json!({"id": id, "action": job.action.as_str()}))
        });
        let held = held.collect();
        let children = supervisors.iter().flat_map(children).collect();
        Ok(Self { now_ms: broker.now_ms(), workers, held, children })
    }

    /// Workers in order of queue and name; then children that are none.
    fn lines(&self) -> Vec<Line<'_>> {
        let is_of = |child: &Value, worker: &WorkerState| {
            child["tag"].as_str().is_some_and(|tag| worker.has_tag(tag))
        };
        let worker = |worker| Line {
            now_ms: self.now_ms,
            worker: Some(worker),
            about: worker.said(),
            child: self.children.iter().find(|child| is_of(child, worker)),
            held: self.held.get(worker.worker.as_str()),
        };
        let mut lines: Vec<_> = self.workers.iter().map(worker).collect();
        let others = self.children.iter().filter(|child| !self.workers.iter().any(|it| is_of(child, it)));
        lines.extend(others.map(|child| Line {
            now_ms: self.now_ms,
            worker: None,
            about: Value::Null,
            child: Some(child),
            held: None,
        }));
        lines
    }
}

/// What a supervisor says of its children; each also with the host they are on.
fn children(supervisor: &SupervisorState) -> Vec<Value> {
    let mut about: Value = serde_json::from_slice(&supervisor.about).unwrap_or_default();
    let host = about["host"].take();
    let Value::Array(mut children) = about["workers"].take() else { return Vec::new() };
    children.retain(Value::is_object);
    children.iter_mut().for_each(|child| child["host"] = host.clone());
    children
}

impl Line<'_> {
    fn row(&self) -> Vec<String> {
        let child = self.child.unwrap_or(&Value::Null);
        let job = self.job();
        let slots = self.worker.map_or_else(absent, |worker| worker.slots.to_string());
        let running = self.worker.map_or_else(absent, |worker| worker.running.to_string());
        let death = match child["last_death"]["cause"].as_str() {
            Some(cause) => format!("{cause}, {} ago", self.age(&child["last_death"]["at"])),
            None => absent(),
        };
        vec![
            self.name(),
            self.worker.map_or_else(absent, |worker| worker.queue.to_string()),
            self.state(),
            slots,
            running,
            said(&self.about["lang"]),
            said(if self.about["pid"].is_null() { &child["pid"] } else { &self.about["pid"] }),
            job.map_or_else(absent, |job| said(&job["action"])),
            job.map_or_else(absent, |job| self.age(&job["since"])),
            child["memory"].as_u64().map_or_else(absent, |bytes| format!("{} MiB", bytes >> 20)),
            said(&child["restarts"]),
            death,
        ]
    }

    /// `web.1` of a supervisor's child, else its id.
    fn name(&self) -> String {
        match (self.child, self.worker) {
            (Some(child), _) => format!("{}.{}", said(&child["name"]), said(&child["number"])),
            (None, Some(worker)) => worker.worker.to_string(),
            (None, None) => absent(),
        }
    }

    fn state(&self) -> String {
        let child = self.child.and_then(|child| child["state"].as_str());
        let word = match (self.worker.map(WorkerState::is_alive), self.about["state"].as_str(), child) {
            (Some(false), ..) => "gone",
            (Some(true), Some("draining"), _) => "draining",
            (Some(true), ..) => "alive",
            // A child without a lease.
            (None, _, Some("running")) => "starting",
            (None, _, Some("waiting")) => "waiting",
            (None, _, Some("crash_loop")) => "crash_loop",
            (None, _, Some("stopping")) => "stopping",
            (None, ..) => "-",
        };
        word.to_owned()
    }

    /// The job it runs longest.
    fn job(&self) -> Option<&Value> {
        self.about["jobs"].get(0).or(self.held)
    }

    /// How long ago that was, in a short form; the time is in milliseconds of Redis time.
    fn age(&self, at: &Value) -> String {
        let Some(at_ms) = at.as_u64() else { return absent() };
        span(self.now_ms.saturating_sub(at_ms))
    }

    fn as_json(&self) -> Value {
        json!({
            "worker": self.worker.map(|it| it.worker.as_str()),
            "queue": self.worker.map(|it| it.queue.as_str()),
            "alive": self.worker.is_some_and(WorkerState::is_alive),
            "state": self.state(),
            "slots": self.worker.map(|it| it.slots),
            "running": self.worker.map(|it| it.running),
            "job": self.job(),
            "about": self.about,
            "child": self.child,
        })
    }
}

/// A word of somebody's own, fit for a terminal.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => fit(text, 40),
        Value::Number(number) => number.to_string(),
        _ => absent(),
    }
}
