//! `tempest jobs`: what runs and what waits, job by job.

use serde_json::{Value, json};
use tempest_broker::{Broker, Error, InHand, InLine, Record};
use tempest_protocol::{Job, JobId, Lane};

use crate::{
    args::JobsArgs,
    failure::Failure,
    output::{absent, fit, print_json, print_table, show_again, span, table},
};

const HEADINGS: [&str; 9] =
    ["STATE", "QUEUE", "LANE", "ID", "ACTION", "ATTEMPT", "FOR", "WORKER", "PROGRESS"];
/// Characters of progress in a table.
const PROGRESS_MAX: usize = 40;

/// What is shown.
struct Seen {
    now_ms: u64,
    in_hand: Vec<InHand>,
    in_line: Vec<InLine>,
}

pub(crate) async fn run(args: &JobsArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    if args.shown.watch {
        return show_again(async || {
            Ok::<_, Failure>(table(&HEADINGS, &Seen::look(args, &broker).await?.rows()))
        })
        .await;
    }
    let seen = Seen::look(args, &broker).await?;
    if args.shown.as_json {
        return print_json(&seen.as_json());
    }
    let rows = seen.rows();
    if rows.is_empty() {
        eprintln!("tempest: nothing runs and nothing waits");
        return Ok(());
    }
    print_table(&HEADINGS, &rows)
}

impl Seen {
    async fn look(args: &JobsArgs, broker: &Broker) -> Result<Self, Failure> {
        let (mut in_hand, mut in_line) = (Vec::new(), Vec::new());
        for queue in super::queues(broker, args.queue.as_ref()).await? {
            in_hand.extend(broker.in_hand(&queue, args.limit).await?);
            for lane in Lane::ALL {
                in_line.extend(waiting(broker.in_line(&queue, lane, args.limit).await)?);
            }
        }
        in_hand.truncate(args.limit);
        Ok(Self { now_ms: broker.now_ms(), in_hand, in_line })
    }

    fn rows(&self) -> Vec<Vec<String>> {
        let in_hand = self.in_hand.iter().map(|it| {
            let record = it.record.as_ref();
            let since = record.and_then(|record| record.since_ms);
            let mut row = self.row("running", it.queue.as_str(), it.job.as_ref(), since);
            row.push(it.worker.to_string());
            row.push(progress(record).map_or_else(absent, |text| fit(text, PROGRESS_MAX)));
            row
        });
        let in_line = self.in_line.iter().map(|it| {
            let queued = it.job.as_ref().and_then(|job| job.envelope.queued_at_ms);
            let mut row = self.row("waiting", it.queue.as_str(), it.job.as_ref(), queued);
            it.lane.as_str().clone_into(&mut row[2]);
            row.extend([absent(), absent()]);
            row
        });
        in_hand.chain(in_line).collect()
    }

    fn row(&self, state: &str, queue: &str, job: Option<&Job>, since_ms: Option<u64>) -> Vec<String> {
        let envelope = job.map(|job| &job.envelope);
        let id = envelope.and_then(|it| it.id.as_ref());
        vec![
            state.to_owned(),
            queue.to_owned(),
            envelope.map_or_else(absent, |it| it.lane.to_string()),
            id.map_or_else(absent, ToString::to_string),
            envelope.map_or_else(|| "no job".to_owned(), |it| it.action.to_string()),
            envelope.map_or_else(absent, |it| format!("{} of {}", it.attempt, it.attempts_max())),
            since_ms.map_or_else(absent, |since_ms| span(self.now_ms.saturating_sub(since_ms))),
        ]
    }

    fn as_json(&self) -> Value {
        let in_hand = self.in_hand.iter().map(|it| {
            let record = it.record.as_ref();
            let mut about = about(it.queue.as_str(), "running", it.job.as_ref());
            about["worker"] = it.worker.as_str().into();
            about["since"] = record.and_then(|record| record.since_ms).into();
            about["progress"] = parsed(progress(record));
            about
        });
        let in_line = self.in_line.iter().map(|it| {
            let mut about = about(it.queue.as_str(), "waiting", it.job.as_ref());
            about["lane"] = it.lane.as_str().into();
            about
        });
        in_hand.chain(in_line).collect()
    }
}

/// What waits; nothing in a lane that is no list.
fn waiting(in_line: Result<Vec<InLine>, Error>) -> Result<Vec<InLine>, Error> {
    match in_line {
        Err(Error::Refused { word, .. }) if word == "WRONGTYPE" => Ok(Vec::new()),
        in_line => in_line,
    }
}

fn progress(record: Option<&Record>) -> Option<&str> {
    record?.progress.as_deref()
}

/// A JSON text as a value; null if there is none.
pub(super) fn parsed(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn about(queue: &str, state: &str, job: Option<&Job>) -> Value {
    let envelope = job.map(|job| &job.envelope);
    json!({
        "queue": queue,
        "state": state,
        "id": envelope.and_then(|it| it.id.as_ref()).map(JobId::as_str),
        "action": envelope.map(|it| it.action.as_str()),
        "lane": envelope.map(|it| it.lane.as_str()),
        "attempt": envelope.map(|it| it.attempt),
        "attempts": envelope.map(tempest_protocol::Envelope::attempts_max),
        "queued_at": envelope.and_then(|it| it.queued_at_ms),
        "waited_for": envelope.map(|it| it.reply_to.is_some()),
    })
}
