//! `tempest job`: where one background job is and how it fares.

use std::time::Duration;

use serde_json::{Value, json};
use tempest_broker::{Awaited, Broker, Record, State, Whereabouts};
use tempest_protocol::{Content, Encoding, Job, JobId, Lane, Queue, Reply};
use tokio::time::Instant;

use super::{dead::arguments, jobs::parsed};
use crate::{
    args::JobArgs,
    failure::Failure,
    output::{fit, print, print_json, span},
    signals::Signals,
};

/// As long as it takes.
const EVER: Duration = Duration::from_secs(366 * 24 * 3_600);

pub(crate) async fn run(args: &JobArgs) -> Result<(), Failure> {
    let broker = super::connect(&args.flags).await?;
    let Some(mut seen) = Seen::look(args, &broker).await? else {
        return Err(Failure::new(format!(
            "not found: no job {} waits, runs, is due later, is dead or has a result that is kept",
            args.id
        )));
    };
    if args.wait {
        seen.wait(args, &broker).await?;
    }
    if args.with_log {
        seen.log = Some(broker.job_log(&seen.queue, &args.id, 0).await?);
    }
    match args.as_json {
        true => print_json(&seen.as_json(&args.id))?,
        false => print(seen.text(&args.id, broker.now_ms()).as_bytes())?,
    }
    seen.judge()
}

/// What is known of the job.
struct Seen {
    queue: Queue,
    /// None: it has none, or it has none any more.
    record: Option<Record>,
    place: Option<Whereabouts>,
    job: Option<Job>,
    result: Option<Reply>,
    log: Option<Vec<String>>,
    /// How a wait for it ended, if it did not end well.
    trouble: Option<String>,
}

impl Seen {
    /// By its record; if it has none it is searched for.
    async fn look(args: &JobArgs, broker: &Broker) -> Result<Option<Self>, Failure> {
        let queues = super::queues(broker, args.queue.as_ref()).await?;
        for queue in broker.queues_with(&queues, &args.id).await? {
            if let Some(sighting) = broker.sight(&queue, &args.id).await? {
                let (place, job) = sighting.seen.unzip();
                let record = Some(sighting.record);
                return Ok(Some(Self::of(args, broker, queue, record, place, job).await?));
            }
        }
        for queue in queues {
            if let Some((place, job)) = broker.find(&queue, &args.id, &Lane::ALL).await? {
                return Ok(Some(Self::of(args, broker, queue, None, Some(place), Some(job)).await?));
            }
        }
        Ok(None)
    }

    async fn of(
        args: &JobArgs,
        broker: &Broker,
        queue: Queue,
        record: Option<Record>,
        place: Option<Whereabouts>,
        job: Option<Job>,
    ) -> Result<Self, Failure> {
        let result = broker.result(&queue, &args.id).await?;
        Ok(Self { queue, record, place, job, result, log: None, trouble: None })
    }

    /// Waits for its end, and looks again.
    async fn wait(&mut self, args: &JobArgs, broker: &Broker) -> Result<(), Failure> {
        if self.record.is_none() {
            self.trouble = Some("it has no record: nobody can wait for it".to_owned());
            return Ok(());
        }
        let signals = Signals::listen()?;
        let until = Instant::now() + args.timeout.unwrap_or(EVER);
        let awaited = signals
            .stop
            .run_until_cancelled(Box::pin(broker.await_result(&self.queue, &args.id, until)))
            .await
            .transpose()?;
        let record = broker.record(&self.queue, &args.id).await?;
        self.trouble = match &awaited {
            None => Some("interrupted: it lives on".to_owned()),
            Some(Awaited::Late) => Some("it was not done in time".to_owned()),
            Some(Awaited::Reply(_) | Awaited::Unknown) => None,
        };
        if let Some(Awaited::Reply(reply)) = awaited {
            self.result = Some(*reply);
        }
        self.place = None;
        self.record = record;
        Ok(())
    }

    /// The word for where it is.
    fn state(&self) -> &'static str {
        match (&self.record, &self.place) {
            (Some(record), _) => record.state.as_str(),
            (None, Some(Whereabouts::Waiting(_) | Whereabouts::SetAside { .. })) => State::Waiting.as_str(),
            (None, Some(Whereabouts::Held(_))) => State::Running.as_str(),
            (None, Some(Whereabouts::Later)) => State::Later.as_str(),
            (None, Some(Whereabouts::Dead)) => State::Dead.as_str(),
            // Waited for, and gone without a trace: it kept no result.
            (None, None) => "over",
        }
    }

    /// Whether all is well, for the exit code.
    fn judge(&self) -> Result<(), Failure> {
        if let Some(trouble) = &self.trouble {
            return Err(Failure::new(trouble.clone()));
        }
        let failed = self.result.as_ref().and_then(|reply| match &reply.content {
            Content::Error(failure) => Some(failure.clone()),
            _ => None,
        });
        let died = || self.record.as_ref().and_then(|record| record.failure.clone());
        if self.state() == State::Dead.as_str() {
            let why = died().or(failed).map(|it| format!(": {}: {}", it.code, fit(&it.message, usize::MAX)));
            return Err(Failure::new(format!("it is dead{}", why.unwrap_or_default())));
        }
        match failed {
            Some(it) => {
                Err(Failure::new(format!("it failed: {}: {}", it.code, fit(&it.message, usize::MAX))))
            }
            None => Ok(()),
        }
    }

    fn worker(&self) -> Option<&str> {
        match (&self.record, &self.place) {
            (_, Some(Whereabouts::Held(worker))) => Some(worker.as_str()),
            (Some(record), _) => record.worker.as_ref().map(AsRef::as_ref),
            _ => None,
        }
    }

    /// The key it waits for: as many others of it run as may.
    fn waits_for(&self) -> Option<&str> {
        match &self.place {
            Some(Whereabouts::SetAside { key, .. }) => Some(key.as_str()),
            _ => None,
        }
    }

    fn lane(&self) -> Option<Lane> {
        let of_job = self.job.as_ref().map(|job| job.envelope.lane);
        of_job.or(self.record.as_ref().map(|record| record.lane))
    }

    /// Which start it is, or will be; of one that is done which it was.
    fn attempt(&self) -> Option<u64> {
        let of_job = self.job.as_ref().map(|job| job.envelope.attempt);
        of_job.or(self.record.as_ref().and_then(|record| record.attempt))
    }

    fn queued_at_ms(&self) -> Option<u64> {
        let of_record = self.record.as_ref().and_then(|record| record.queued_at_ms);
        of_record.or(self.job.as_ref().and_then(|job| job.envelope.queued_at_ms))
    }

    fn action(&self) -> Option<&str> {
        let of_job = self.job.as_ref().map(|job| job.envelope.action.as_str());
        of_job.or(self.record.as_ref().and_then(|record| record.action.as_ref().map(AsRef::as_ref)))
    }

    fn as_json(&self, id: &JobId) -> Value {
        let record = self.record.as_ref();
        let failure = record.and_then(|it| it.failure.as_ref());
        let mut about = json!({
            "id": id.as_str(),
            "queue": self.queue.as_str(),
            "state": self.state(),
            "action": self.action(),
            "lane": self.lane().map(Lane::as_str),
            "attempt": self.attempt(),
            "attempts": self.job.as_ref().map(|job| job.envelope.attempts_max()),
            "waits_for_key": self.waits_for(),
            "queued_at": self.queued_at_ms(),
            "due": record.and_then(|it| it.due_ms),
            "worker": self.worker(),
            "since": record.and_then(|it| it.since_ms),
            "died_at": record.and_then(|it| it.died_at_ms),
            "done_at": record.and_then(|it| it.done_at_ms),
            "work_us": record.and_then(|it| it.work_us),
            "progress": parsed(record.and_then(|it| it.progress.as_ref()).map(|it| it.as_str())),
            "error": failure.map(|it| json!({ "code": it.code, "message": it.message })),
            "args": self.job.as_ref().and_then(|job| job.args().decode::<Value>().ok()),
            "reply": self.result.as_ref().map(reply_as_json),
            "result": self.result.as_ref().and_then(result_of),
        });
        if let Some(log) = &self.log {
            about["log"] = log.clone().into();
        }
        about
    }

    fn text(&self, id: &JobId, now_ms: u64) -> String {
        let record = self.record.as_ref();
        let ago = |at_ms: u64| format!("{} ago", span(now_ms.saturating_sub(at_ms)));
        let mut lines: Vec<(&str, Option<String>)> = vec![
            ("id", Some(id.to_string())),
            ("queue", Some(self.queue.to_string())),
            ("state", Some(self.state().to_owned())),
            ("action", self.action().map(str::to_owned)),
            ("lane", self.lane().map(|lane| lane.to_string())),
            ("attempt", self.attempt().map(|attempt| attempt.to_string())),
            ("waits", self.waits_for().map(|key| format!("for its key {key}"))),
            ("queued", self.queued_at_ms().map(ago)),
            (
                "due",
                record.and_then(|it| it.due_ms).map(|due| format!("in {}", span(due.saturating_sub(now_ms)))),
            ),
            ("worker", self.worker().map(str::to_owned)),
            ("since", record.and_then(|it| it.since_ms).map(ago)),
            ("died", record.and_then(|it| it.died_at_ms).map(ago)),
            ("done", record.and_then(|it| it.done_at_ms).map(ago)),
            ("took", record.and_then(|it| it.work_us).map(|us| format!("{} ms", us.div_ceil(1_000)))),
            ("progress", record.and_then(|it| it.progress.as_ref()).map(|it| fit(it.as_str(), usize::MAX))),
        ];
        let failure = record.and_then(|it| it.failure.as_ref());
        lines.push(("failed", failure.map(|it| fit(&format!("{}: {}", it.code, it.message), usize::MAX))));
        lines.push(("args", self.args_text()));
        lines.push(("result", self.result.as_ref().and_then(result_of).map(|result| result.to_string())));
        let told = |(name, value): (&str, Option<String>)| value.map(|value| format!("{name:<10}{value}\n"));
        let mut text: String = lines.into_iter().filter_map(told).collect();
        for line in self.log.iter().flatten() {
            text += &format!("{:<10}{}\n", "log", fit(line, usize::MAX));
        }
        text
    }

    fn args_text(&self) -> Option<String> {
        let waits = self.state() == State::Waiting.as_str();
        match &self.job {
            Some(job) => Some(arguments(job)),
            None if waits => Some("not near the ends of its lane; deeper in nobody looks".to_owned()),
            None => None,
        }
    }
}

fn reply_as_json(reply: &Reply) -> Value {
    let frame = reply.encode(Encoding::Json).unwrap_or_default();
    serde_json::from_slice(&frame).unwrap_or_default()
}

/// What came out of it as a value; none of a failure.
fn result_of(reply: &Reply) -> Option<Value> {
    match &reply.content {
        Content::Result(result) => result.decode().ok(),
        Content::Http { status, body, .. } => {
            Some(json!({ "status": status, "body": String::from_utf8_lossy(body) }))
        }
        Content::Part(_) | Content::Error(_) => None,
    }
}
