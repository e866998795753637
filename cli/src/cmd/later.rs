//! `tempest later`

use tempest_broker::{Broker, Record, Shelf, Shelved};

use super::shelf::{Chosen, Deed, listed, name_cells, tell_of_more, to_json};
use crate::{
    args::{LaterArgs, LaterCommand, LaterList, LaterSome},
    failure::Failure,
    output::{absent, fit, print_json, print_table, show_again, span, table},
};

const HEADINGS: [&str; 6] = ["QUEUE", "ID", "ACTION", "ATTEMPT", "DUE", "FAILED WITH"];
/// Characters of a failure in a table.
const FAILURE_MAX: usize = 80;

/// A delayed job, and what its record says.
type Delayed = (Shelved, Option<Record>);

pub(crate) async fn run(args: &LaterArgs) -> Result<(), Failure> {
    match &args.command {
        None => list(&args.list).await,
        Some(LaterCommand::List(args)) => list(args).await,
        Some(LaterCommand::Run(args)) => change(args, Deed::Run).await,
        Some(LaterCommand::Delete(args)) => change(args, Deed::Delete).await,
    }
}

async fn list(args: &LaterList) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    if args.shown.watch {
        let text = async || {
            let seen = look(args, &broker).await?;
            Ok::<_, Failure>(table(&HEADINGS, &rows(&seen, broker.now_ms())))
        };
        return show_again(text).await;
    }
    let seen = look(args, &broker).await?;
    if args.shown.as_json {
        let as_json = |(entry, record): &Delayed| to_json(entry, Shelf::Later, record.as_ref());
        return print_json(&seen.iter().map(as_json).collect());
    }
    if seen.is_empty() {
        eprintln!("tempest: no job is delayed, of those that were asked for");
        return Ok(());
    }
    print_table(&HEADINGS, &rows(&seen, broker.now_ms()))?;
    tell_of_more(seen.len(), args.limit);
    Ok(())
}

async fn look(args: &LaterList, broker: &Broker) -> Result<Vec<Delayed>, Failure> {
    let queues = super::queues(broker, args.queue.as_ref()).await?;
    let filter = args.filter.at(broker.now_ms());
    let mut seen = Vec::new();
    for entry in listed(broker, &queues, Shelf::Later, &filter, args.limit).await? {
        seen.push((entry, None));
    }
    for queue in &queues {
        let mut of_queue: Vec<&mut Delayed> = seen.iter_mut().filter(|(it, _)| it.queue == *queue).collect();
        let ids: Vec<_> = of_queue.iter().map(|(entry, _)| entry.id().cloned()).collect();
        for (delayed, record) in of_queue.iter_mut().zip(broker.records(queue, &ids).await?) {
            delayed.1 = record;
        }
    }
    Ok(seen)
}

fn rows(seen: &[Delayed], now_ms: u64) -> Vec<Vec<String>> {
    let row = |(entry, record): &Delayed| {
        let failure = record.as_ref().and_then(|record| record.failure.as_ref());
        let mut row = name_cells(entry);
        row.push(match entry.at_ms.checked_sub(now_ms) {
            Some(left) => format!("in {}", span(left)),
            None => "now".to_owned(),
        });
        let told = |it: &tempest_protocol::Failure| fit(&format!("{}: {}", it.code, it.message), FAILURE_MAX);
        row.push(failure.map_or_else(absent, told));
        row
    };
    seen.iter().map(row).collect()
}

async fn change(args: &LaterSome, deed: Deed) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let chosen = Chosen {
        shelf: Shelf::Later,
        deed,
        queue: args.queue.as_ref(),
        ids: &args.ids,
        filter: args.filter.at(broker.now_ms()),
        yes: args.yes,
        as_json: args.as_json,
    };
    chosen.act(&broker).await
}
