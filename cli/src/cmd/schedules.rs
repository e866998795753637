//! `tempest schedules`

use std::time::Duration;

use serde_json::{Value, json};
use tempest_broker::{Broker, Definition, Mistake, NamedSchedule, PutSchedule, ScheduleState};
use tempest_protocol::Schedule as Name;

use crate::{
    args::{ScheduleAdd, ScheduleNext, ScheduleOne, SchedulesArgs, SchedulesCommand, SchedulesList},
    failure::Failure,
    output::{absent, fit, print, print_json, print_table, show_again, span, table},
};

const HEADINGS: [&str; 9] = ["NAME", "QUEUE", "WHEN", "ZONE", "ACTION", "NEXT", "LAST", "MISSED", "STATE"];

pub(crate) async fn run(args: &SchedulesArgs) -> Result<(), Failure> {
    match &args.command {
        None => list(&args.list).await,
        Some(SchedulesCommand::List(args)) => list(args).await,
        Some(SchedulesCommand::Add(args)) => add(args).await,
        Some(SchedulesCommand::Remove(args)) => remove(args).await,
        Some(SchedulesCommand::Pause(args)) => pause(args, true).await,
        Some(SchedulesCommand::Resume(args)) => pause(args, false).await,
        Some(SchedulesCommand::Run(args)) => push(args).await,
        Some(SchedulesCommand::Next(args)) => preview(args).await,
    }
}

async fn list(args: &SchedulesList) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let queues: Vec<_> = args.queue.iter().cloned().collect();
    let rows = async || {
        let states = broker.schedules(&queues).await?;
        Ok::<_, tempest_broker::Error>(
            states.iter().map(|state| row(state, broker.now_ms())).collect::<Vec<_>>(),
        )
    };
    if args.shown.watch {
        return show_again(async || Ok(table(&HEADINGS, &rows().await?))).await;
    }
    if args.shown.as_json {
        return print_json(&broker.schedules(&queues).await?.iter().map(as_json).collect());
    }
    let rows = rows().await?;
    if rows.is_empty() {
        eprintln!("tempest: there is no schedule; tempest schedules add writes one");
        return Ok(());
    }
    print_table(&HEADINGS, &rows)
}

fn row(state: &ScheduleState, now_ms: u64) -> Vec<String> {
    let schedule = state.schedule.as_ref().ok();
    let definition = schedule.map(|schedule| schedule.definition());
    let text = |text: Option<String>| text.map_or_else(absent, |text| fit(&text, 60));
    let zone =
        definition.filter(|it| it.cron.is_some()).map(|it| it.zone.as_deref().unwrap_or("UTC").to_owned());
    vec![
        fit(&state.name, 60),
        state.queue.to_string(),
        text(definition.map(Definition::when)),
        text(zone),
        text(schedule.map(|schedule| schedule.action().to_string())),
        text(schedule.zip(state.due_ms).map(|(schedule, due_ms)| schedule.shown(due_ms))),
        last(state, now_ms),
        text(schedule.map(|schedule| schedule.missed().as_str().to_owned())),
        word(state),
    ]
}

/// How long ago it fired.
fn last(state: &ScheduleState, now_ms: u64) -> String {
    let Some(last) = &state.last else { return absent() };
    let ago = span(now_ms.saturating_sub(last.due_ms));
    match &last.error {
        Some(error) => format!("{ago} ago, {}", fit(error, 40)),
        None => format!("{ago} ago"),
    }
}

fn word(state: &ScheduleState) -> String {
    match &state.schedule {
        Err(why) => format!("broken: {}", fit(why, 200)),
        Ok(schedule) if schedule.definition().paused => "paused".to_owned(),
        Ok(_) => "active".to_owned(),
    }
}

fn as_json(state: &ScheduleState) -> Value {
    let schedule = state.schedule.as_ref().ok();
    json!({
        "name": state.name,
        "queue": state.queue.as_str(),
        "definition": state.definition(),
        "paused": schedule.is_some_and(|schedule| schedule.definition().paused),
        "next_ms": state.due_ms,
        "next": schedule.zip(state.due_ms).map(|(schedule, due_ms)| schedule.shown(due_ms)),
        "last_ms": state.last.as_ref().map(|last| last.due_ms),
        "last_error": state.last.as_ref().and_then(|last| last.error.clone()),
        "error": state.schedule.as_ref().err(),
    })
}

async fn add(args: &ScheduleAdd) -> Result<(), Failure> {
    let ms = |time: Option<Duration>| time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let definition = Definition {
        cron: args.cron.clone(),
        every_ms: ms(args.every),
        zone: args.zone.clone(),
        action: args.action.clone(),
        args: args.json.as_deref().map(|json| super::push::arguments(Some(json))).transpose()?,
        lane: args.lane.clone(),
        attempts: args.attempts,
        keep: ms(args.keep),
        ttl_ms: ms(args.ttl),
        missed: args.missed.clone(),
        paused: args.paused,
        source: None,
    };
    let schedule =
        definition.check().map_err(|wrong| Failure::usage(wrong.iter().map(said).collect::<Vec<_>>()))?;
    let broker = super::connect(&args.flags).await?;
    let states = broker.schedules(std::slice::from_ref(&args.queue)).await?;
    if states.iter().any(|state| state.name == args.name.as_str() && state.is_from_file()) {
        let name = &args.name;
        return Err(Failure::new(format!(
            "schedule {name} is of a tempest.toml; change it there, and reload"
        )));
    }
    let named = NamedSchedule { queue: args.queue.clone(), name: args.name.clone(), schedule };
    let put = broker.put_schedule(&named).await?;
    let next_ms = named.schedule.after(broker.now_ms()).filter(|_| !args.paused);
    let next = next_ms.map(|next_ms| named.schedule.shown(next_ms));
    let word = match put {
        PutSchedule::Added => "added",
        PutSchedule::Changed => "changed",
        PutSchedule::Unchanged => "unchanged",
    };
    if args.as_json {
        let (name, queue) = (named.name.as_str(), named.queue.as_str());
        return print_json(
            &json!({ "name": name, "queue": queue, "put": word, "next_ms": next_ms, "next": next }),
        );
    }
    let when = next.map_or_else(|| "paused".to_owned(), |next| format!("next at {next}"));
    print(format!("{} of queue {}: {word}; {when}\n", named.name, named.queue).as_bytes())
}

/// A mistake, in the words of the command line.
fn said(mistake: &Mistake) -> String {
    let option = match mistake.field {
        "every_ms" => "--every",
        "ttl_ms" => "--ttl",
        "action" => "ACTION",
        "args" => "JSON",
        field => return format!("--{field}: {}", mistake.what),
    };
    format!("{option}: {}", mistake.what)
}

async fn remove(args: &ScheduleOne) -> Result<(), Failure> {
    let (broker, state) = find(args).await?;
    broker.remove_schedule(&state.queue, &args.name).await?;
    if state.is_from_file() {
        eprintln!(
            "tempest: it is of a tempest.toml; if that still has it, it is back with the next start or reload"
        );
    }
    tell(args, &state, "removed", json!({ "removed": true }))
}

async fn pause(args: &ScheduleOne, pause: bool) -> Result<(), Failure> {
    let (broker, state) = find(args).await?;
    broker.pause_schedule(&state.queue, &args.name, pause).await?;
    tell(args, &state, if pause { "paused" } else { "resumed" }, json!({ "paused": pause }))
}

async fn push(args: &ScheduleOne) -> Result<(), Failure> {
    let (broker, state) = find(args).await?;
    let id = broker.run_schedule(&state.queue, &args.name).await?.ok_or_else(|| unknown(&args.name))?;
    if args.as_json {
        return tell(args, &state, "", json!({ "id": id.as_str() }));
    }
    print(format!("{id}\n").as_bytes())
}

async fn preview(args: &ScheduleNext) -> Result<(), Failure> {
    let (broker, state) = find(&args.one).await?;
    let schedule =
        state.schedule.map_err(|why| Failure::new(format!("schedule {} is broken: {why}", state.name)))?;
    let times = schedule.next(broker.now_ms(), usize::from(args.count));
    if args.one.as_json {
        let time = |ms: &u64| json!({ "at_ms": ms, "at": schedule.shown(*ms) });
        return print_json(&times.iter().map(time).collect());
    }
    if schedule.definition().paused {
        eprintln!("tempest: it is paused; so it would fire");
    }
    let lines: String = times.iter().map(|ms| schedule.shown(*ms) + "\n").collect();
    print(lines.as_bytes())
}

/// The schedule that is meant.
async fn find(args: &ScheduleOne) -> Result<(Broker, ScheduleState), Failure> {
    let broker = super::connect(&args.flags).await?;
    let queues: Vec<_> = args.queue.iter().cloned().collect();
    let mut states = broker.schedules(&queues).await?;
    states.retain(|state| state.name == args.name.as_str());
    match states.len() {
        0 => Err(unknown(&args.name)),
        1 => Ok((broker, states.remove(0))),
        _ => {
            let queues: Vec<_> = states.iter().map(|state| state.queue.to_string()).collect();
            let line = format!(
                "several queues have a schedule {}: {}; name one with --queue",
                args.name,
                queues.join(", ")
            );
            Err(Failure::usage([line]))
        }
    }
}

fn unknown(name: &Name) -> Failure {
    Failure::new(format!("there is no schedule {name}; tempest schedules shows those there are"))
}

fn tell(args: &ScheduleOne, state: &ScheduleState, what: &str, mut more: Value) -> Result<(), Failure> {
    if !args.as_json {
        return print(format!("{} of queue {}: {what}\n", state.name, state.queue).as_bytes());
    }
    more["name"] = state.name.as_str().into();
    more["queue"] = state.queue.as_str().into();
    print_json(&more)
}
