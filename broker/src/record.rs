//! Records of background jobs: where each is and how it fares (SPEC "Background jobs"). They are for whoever looks; what
//! becomes of a job is decided by where its frame lies.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use redis::cmd;
use serde_json::value::RawValue;
use tempest_protocol::{
    Action, Code, Envelope, Error as WireError, Failure, JobId, Keys, Lane, Queue, Reply, Tag, WorkerId,
    dead, limits,
};
use tokio::time::Instant;

use crate::{Broker, Error, claim::next, clock::millis, script::Run};

/// Where a background job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In its lane.
    Waiting,
    /// A worker has it.
    Running,
    /// Delayed, or to be tried again.
    Later,
    /// At its end, with its result kept.
    Done,
    /// Given up.
    Dead,
}

impl State {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Later, Self::Done, Self::Dead];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Later => "later",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// What is known of a background job. Times are milliseconds of Redis time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it is.
    pub state: State,
    /// What it is for.
    pub action: Option<Action>,
    /// Its lane.
    pub lane: Lane,
    /// The key for which it was set aside, now or before.
    pub key: Option<Tag>,
    /// When it was pushed.
    pub queued_at_ms: Option<u64>,
    /// When it runs again, if it is to run later.
    pub due_ms: Option<u64>,
    /// Who has it, while it runs.
    pub worker: Option<WorkerId>,
    /// Since when.
    pub since_ms: Option<u64>,
    /// Which start that is, or was.
    pub attempt: Option<u64>,
    /// How its last start failed.
    pub failure: Option<Failure>,
    /// When it was given up.
    pub died_at_ms: Option<u64>,
    /// When it was done.
    pub done_at_ms: Option<u64>,
    /// How long its handler took, in µs.
    pub work_us: Option<u64>,
    /// What it last told of its progress: a JSON text.
    pub progress: Option<String>,
    /// How long the record lives from now.
    pub expires_in: Option<Duration>,
}

impl Record {
    /// Of the fields of a hash; none if it says no state that is known.
    pub(crate) fn of(mut fields: HashMap<String, Vec<u8>>) -> Option<Self> {
        let mut text = |name: &str| fields.remove(name).and_then(|value| String::from_utf8(value).ok());
        let word = text("state")?;
        let state = State::ALL.into_iter().find(|each| each.as_str() == word)?;
        let failure = text("code").map(|code| (code, text("message").unwrap_or_default()));
        let progress = text("progress").filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
        let action = text("action").and_then(|action| Action::new(action).ok());
        let lane = text("lane").and_then(|lane| lane.parse().ok()).unwrap_or_default();
        let key = text("key").and_then(|key| Tag::new(key).ok());
        let worker = text("worker").and_then(|worker| WorkerId::new(worker).ok());
        let mut number = |name: &str| text(name).and_then(|value| value.parse().ok());
        Some(Self {
            state,
            action,
            lane,
            key,
            queued_at_ms: number("queued_at"),
            due_ms: number("due").filter(|_| state == State::Later),
            worker,
            since_ms: number("since"),
            attempt: number("attempt"),
            failure: failure.map(|(code, message)| Failure { code, message }),
            died_at_ms: number("died_at"),
            done_at_ms: number("done_at"),
            work_us: number("work_us"),
            progress,
            expires_in: None,
        })
    }
}

/// How a wait for a result ended.
#[derive(Clone, Debug)]
pub enum Awaited {
    /// With what came out of the job.
    Reply(Box<Reply>),
    /// The job lives on.
    Late,
    /// There is no such job, or nothing of it is kept.
    Unknown,
}

impl Broker {
    /// What is known of a job; none if it has no record.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn record(&self, queue: &Queue, id: &JobId) -> Result<Option<Record>, Error> {
        let key = self.keys().record(queue, id);
        let (mut all, mut ttl) = (cmd("HGETALL"), cmd("PTTL"));
        all.arg(&key);
        ttl.arg(&key);
        let mut answers = self.link().gather().ask_all(None, [all, ttl]).await?.into_iter();
        let record = Record::of(next(&mut answers)?);
        let left: i64 = next(&mut answers)?;
        let expires_in = u64::try_from(left).ok().map(Duration::from_millis);
        Ok(record.map(|record| Record { expires_in, ..record }))
    }

    /// The lines a job has written, from this one on; the first is 0.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn job_log(&self, queue: &Queue, id: &JobId, from: usize) -> Result<Vec<String>, Error> {
        let lines: Vec<Vec<u8>> =
            self.link().ask(cmd("LRANGE").arg(self.keys().log(queue, id)).arg(from).arg(-1)).await?;
        Ok(lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }

    /// What came out of a job, if that is kept.
    ///
    /// Errors: `bad_reply`: it cannot be read; Redis is away or refuses.
    pub async fn result(&self, queue: &Queue, id: &JobId) -> Result<Option<Reply>, Error> {
        let frame: Option<Vec<u8>> =
            self.link().ask(cmd("LINDEX").arg(self.keys().result(queue, id)).arg(0)).await?;
        Ok(frame.map(|frame| Reply::decode(&frame.into())).transpose()?)
    }

    /// Waits for what comes out of a job that keeps it, on a connection of its own. Cancel-safe.
    ///
    /// Errors: as for [`Broker::result`].
    pub async fn await_result(&self, queue: &Queue, id: &JobId, until: Instant) -> Result<Awaited, Error> {
        let key = self.keys().result(queue, id);
        let mut connection = self.link().dedicated(limits::BLOCK_ANSWER).await?;
        loop {
            if let Some(reply) = self.result(queue, id).await? {
                return Ok(Awaited::Reply(Box::new(reply)));
            }
            // A dead job has a result if it keeps one; else nothing will ever come.
            let is_over = |record: Record| matches!(record.state, State::Done | State::Dead);
            if self.record(queue, id).await?.is_none_or(is_over) {
                // It may have ended between the two looks.
                let reply = self.result(queue, id).await?;
                return Ok(reply.map_or(Awaited::Unknown, |reply| Awaited::Reply(Box::new(reply))));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Awaited::Late);
            }
            // Moves nothing: it ends when something lies there.
            let mut look = cmd("BLMOVE");
            look.arg(&key).arg(&key).arg("LEFT").arg("LEFT");
            look.arg(left.min(limits::BLOCK).as_secs_f64().max(0.01));
            self.stats().commands.one(&look);
            look.query_async::<redis::Value>(&mut connection).await?;
        }
    }

    /// Tells how far a job is. False: its record says that it neither waits nor runs, or it has none; nothing was written.
    ///
    /// Errors: `bad_job`: more than 4 KiB; Redis is away or refuses.
    pub async fn tell_progress(&self, queue: &Queue, id: &JobId, json: &str) -> Result<bool, Error> {
        let record = self.keys().record(queue, id);
        self.note(&record, &record, json).await
    }

    /// Adds a line to the log of a job; the oldest of more than a thousand go. False as for [`Broker::tell_progress`].
    ///
    /// Errors: `bad_job`: more than 4 KiB; Redis is away or refuses.
    pub async fn write_log(&self, queue: &Queue, id: &JobId, line: &str) -> Result<bool, Error> {
        self.note(&self.keys().record(queue, id), &self.keys().log(queue, id), line).await
    }

    async fn note(&self, record: &str, to: &str, text: &str) -> Result<bool, Error> {
        if text.len() > limits::LOG_LINE_BYTES_MAX {
            let detail = format!("{} bytes; {} are allowed", text.len(), limits::LOG_LINE_BYTES_MAX);
            return Err(WireError::new(Code::BadJob, detail).into());
        }
        let (age, lines) = (millis(limits::RECORD_AGE_MAX).to_string(), limits::LOG_LINES_MAX.to_string());
        let run = Run { keys: &[record, to], args: &[text.as_bytes(), age.as_bytes(), lines.as_bytes()] };
        Ok(self.scripts().note.run(self, &run).await? == 1)
    }
}

/// All keys of a job's record.
pub(crate) fn keys(keys: &Keys, queue: &Queue, id: &JobId) -> [String; 3] {
    [keys.record(queue, id), keys.log(queue, id), keys.result(queue, id)]
}

/// What the record of a job says that waits again.
pub(crate) fn waiting() -> Vec<String> {
    state(State::Waiting).into()
}

/// What the record of a job says that is pushed now, beside its state.
pub(crate) fn waiting_new<'a>(envelope: &'a Envelope, now_ms: &'a str) -> [&'a str; 6] {
    ["action", envelope.action.as_str(), "lane", envelope.lane.as_str(), "queued_at", now_ms]
}

pub(crate) fn state(state: State) -> [String; 2] {
    ["state".into(), state.as_str().into()]
}

/// What it says of a failure.
pub(crate) fn failed(failure: &Failure) -> [String; 4] {
    ["code".into(), failure.code.clone(), "message".into(), failure.message.clone()]
}

/// What it says of a job that is a member of `dead` now.
pub(crate) fn dead(member: &Bytes, died_at_ms: String) -> Vec<String> {
    let failure = dead::failure_of(member).unwrap_or_else(|| Failure::new(Code::BadJob, ""));
    let died = ["died_at".to_owned(), died_at_ms];
    state(State::Dead).into_iter().chain(failed(&failure)).chain(died).collect()
}
