//! `tempest dead`

use tempest_broker::{Broker, Shelf, Shelved};
use tempest_protocol::{Encoding, Job};

use super::shelf::{Chosen, Deed, listed, name_cells, tell_of_more, to_json};
use crate::{
    args::{DeadArgs, DeadCommand, DeadList, DeadShow, DeadSome},
    failure::Failure,
    output::{absent, fit, print, print_json, print_table, show_again, span, table},
};

const HEADINGS: [&str; 7] = ["QUEUE", "ID", "ACTION", "ATTEMPT", "DIED", "CODE", "MESSAGE"];
/// Characters of a message in a table.
const MESSAGE_MAX: usize = 80;

pub(crate) async fn run(args: &DeadArgs) -> Result<(), Failure> {
    match &args.command {
        None => list(&args.list).await,
        Some(DeadCommand::List(args)) => list(args).await,
        Some(DeadCommand::Show(args)) => show(args).await,
        Some(DeadCommand::Retry(args)) => change(args, Deed::Run).await,
        Some(DeadCommand::Delete(args)) => change(args, Deed::Delete).await,
    }
}

async fn list(args: &DeadList) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    if args.shown.watch {
        let text = async || {
            let seen = look(args, &broker).await?;
            Ok::<_, Failure>(table(&HEADINGS, &rows(&seen, &broker)))
        };
        return show_again(text).await;
    }
    let seen = look(args, &broker).await?;
    if args.shown.as_json {
        return print_json(&seen.iter().map(|entry| to_json(entry, Shelf::Dead, None)).collect());
    }
    if seen.is_empty() {
        eprintln!("tempest: no job is dead, of those that were asked for");
        return Ok(());
    }
    print_table(&HEADINGS, &rows(&seen, &broker))?;
    tell_of_more(seen.len(), args.limit);
    Ok(())
}

async fn look(args: &DeadList, broker: &Broker) -> Result<Vec<Shelved>, Failure> {
    let queues = super::queues(broker, args.queue.as_ref()).await?;
    let filter = args.filter.at(broker.now_ms());
    Ok(listed(broker, &queues, Shelf::Dead, &filter, args.limit).await?)
}

fn rows(seen: &[Shelved], broker: &Broker) -> Vec<Vec<String>> {
    let now_ms = broker.now_ms();
    let row = |entry: &Shelved| {
        let failure = entry.failure.as_ref();
        let mut row = name_cells(entry);
        row.push(format!("{} ago", span(now_ms.saturating_sub(entry.at_ms))));
        row.push(failure.map_or_else(absent, |failure| fit(&failure.code, 40)));
        row.push(failure.map_or_else(absent, |failure| fit(&failure.message, MESSAGE_MAX)));
        row
    };
    seen.iter().map(row).collect()
}

async fn show(args: &DeadShow) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let mut shown = Vec::new();
    for queue in super::queues(&broker, args.queue.as_ref()).await? {
        shown.extend(broker.shelved_of(&queue, Shelf::Dead, std::slice::from_ref(&args.id)).await?);
    }
    let Some(entry) = shown.first() else {
        return Err(Failure::new(format!("not found: no job {} is dead", args.id)));
    };
    let log = broker.job_log(&entry.queue, &args.id, 0).await?;
    if args.as_json {
        let mut about = to_json(entry, Shelf::Dead, None);
        about["args"] = entry.job.as_ref().and_then(|job| job.args().decode().ok()).unwrap_or_default();
        about["log"] = log.into();
        return print_json(&about);
    }
    let headings = HEADINGS.iter().zip(rows(std::slice::from_ref(entry), &broker).remove(0));
    let mut text: String =
        headings.map(|(heading, cell)| format!("{:<9}{cell}\n", heading.to_lowercase())).collect();
    text += &format!("{:<9}{}\n", "args", entry.job.as_ref().map_or_else(absent, arguments));
    text.extend(log.iter().map(|line| format!("{:<9}{}\n", "log", fit(line, usize::MAX))));
    print(text.as_bytes())
}

/// The arguments of a job as JSON.
pub(super) fn arguments(job: &Job) -> String {
    match job.args().to_encoding(Encoding::Json) {
        Ok(args) => fit(&String::from_utf8_lossy(args.bytes()), usize::MAX),
        Err(_) => format!("{} bytes of MessagePack that JSON cannot hold", job.args().bytes().len()),
    }
}

async fn change(args: &DeadSome, deed: Deed) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let chosen = Chosen {
        shelf: Shelf::Dead,
        deed,
        queue: args.queue.as_ref(),
        ids: &args.ids,
        filter: args.filter.at(broker.now_ms()),
        yes: args.yes,
        as_json: args.as_json,
    };
    chosen.act(&broker).await
}
