//! How background jobs begin and end: their records change with them (SPEC "Background jobs").

use bytes::Bytes;
use redis::Cmd;
use tempest_protocol::{Failure, Job, JobId, Keys, Lane, Tag, limits};

use crate::{
    Acked, Broker, Error, State,
    claim::{RunList, next, read, take},
    clock::millis,
    record,
    script::Run,
    settle::remove,
};

/// What a background job leaves behind of which nothing is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// Its record.
    pub id: JobId,
    /// It may have a log, too.
    pub has_log: bool,
}

/// How a background job ends, or ends for now. Times are milliseconds of Redis time.
#[derive(Clone, Debug)]
pub enum End {
    /// It is done.
    Done {
        /// What is kept, if something is to be.
        reply: Option<Bytes>,
        /// When.
        done_at_ms: u64,
        /// How long its handler took, in µs.
        work_us: Option<u64>,
    },
    /// It is tried again.
    Later {
        /// Its frame with `attempt` raised.
        member: Bytes,
        /// When.
        due_ms: u64,
        /// Why.
        failure: Failure,
    },
    /// It was cancelled: nothing is kept of it.
    Gone,
    /// It is given up.
    Dead {
        /// What is kept of it for a human.
        member: Bytes,
        /// What is kept for whoever waits for its result, if something is to be.
        reply: Option<Bytes>,
        /// When.
        died_ms: u64,
    },
}

impl End {
    /// What goes to `later` or `dead`, and its score.
    fn member(&self) -> (&[u8], u64) {
        match self {
            Self::Later { member, due_ms, .. } => (member, *due_ms),
            Self::Dead { member, died_ms, .. } => (member, *died_ms),
            Self::Done { .. } | Self::Gone => (b"", 0),
        }
    }

    /// How long the record lives from now, in ms; 0: it goes.
    fn age_ms(&self, kept_ms: u64) -> u64 {
        match self {
            Self::Done { .. } => kept_ms,
            Self::Gone => 0,
            Self::Later { .. } => millis(limits::RECORD_AGE_MAX),
            Self::Dead { .. } => millis(limits::DEAD_AGE_MAX).max(kept_ms),
        }
    }

    /// The unique key the job lets go: what runs again still holds it.
    fn lets_go<'a>(&self, job: &'a Job) -> Option<&'a Tag> {
        match self {
            Self::Later { .. } => None,
            _ => job.envelope.unique_at_end(),
        }
    }

    fn reply(&self) -> Option<&Bytes> {
        match self {
            Self::Done { reply, .. } | Self::Dead { reply, .. } => reply.as_ref(),
            Self::Later { .. } | Self::Gone => None,
        }
    }

    /// What the record says from now on.
    fn fields(&self, job: &Job) -> Vec<String> {
        let mut fields = vec!["action".to_owned(), job.envelope.action.to_string()];
        match self {
            Self::Done { done_at_ms, work_us, .. } => {
                fields.extend(record::state(State::Done));
                fields.extend(["done_at".into(), done_at_ms.to_string()]);
                fields.extend(work_us.iter().flat_map(|us| ["work_us".to_owned(), us.to_string()]));
            }
            Self::Later { due_ms, failure, .. } => {
                fields.extend(record::state(State::Later));
                fields.extend(["due".into(), due_ms.to_string()]);
                fields.extend(record::failed(failure));
            }
            Self::Gone => {}
            Self::Dead { member, died_ms, .. } => fields.extend(record::dead(member, died_ms.to_string())),
        }
        fields.extend(["attempt".into(), job.envelope.attempt.to_string()]);
        fields
    }
}

impl Broker {
    /// Acks a background job of which nothing is kept, and removes its record, in one write with what others ask. The record
    /// goes also if the job was taken away: see [`Broker::finish_if_held`].
    ///
    /// Errors: as for [`Broker::answer_and_ack`].
    pub async fn finish(&self, run: &RunList, frame: &Bytes, traces: &Traces) -> Result<Acked, Error> {
        let answers = self.link().gather().ask_all(None, self.finishing(run, frame, traces)).await?;
        next(&mut answers.into_iter()).map(Acked::of)
    }

    /// The same, and takes the next job of the lane into the run list behind it: see [`Broker::answer_ack_and_take`].
    ///
    /// Errors: as there.
    pub async fn finish_and_take(
        &self,
        run: &RunList,
        frame: &Bytes,
        traces: Option<&Traces>,
        lane: Lane,
    ) -> Result<(Result<Acked, Error>, Result<Option<Bytes>, Error>), Error> {
        let lane = self.keys().lane(run.queue(), lane);
        let mut commands = match traces {
            Some(traces) => self.finishing(run, frame, traces).to_vec(),
            None => vec![remove(run, frame)],
        };
        commands.push(take(&lane, run));
        let mut answers = self.link().gather().ask_all(None, commands).await?;
        let came = answers.pop().map_or(Ok(None), |next| Ok(read::<Option<Vec<u8>>>(next)?.map(Bytes::from)));
        Ok((next(&mut answers.into_iter()).map(Acked::of), came))
    }

    /// The same for a job that may have been taken away meanwhile, because it ran for longer than [`limits::SHORT_JOB`], or
    /// because the first try got lost: the record stays if it was.
    ///
    /// Errors: [`Error::Away`]: unknown, do it again; Redis is away or refuses.
    pub async fn finish_if_held(
        &self,
        run: &RunList,
        frame: &Bytes,
        traces: &Traces,
    ) -> Result<Acked, Error> {
        let [record, log, result] = record::keys(self.keys(), run.queue(), &traces.id);
        let run = Run {
            keys: &[run.key(), &record, &log, &result, &record, &record],
            args: &[frame, b"", b"0", b"", b"0", b""],
        };
        Ok(Acked::of(self.scripts().settle.run(self, &run).await?.unsigned_abs()))
    }

    fn finishing(&self, run: &RunList, frame: &Bytes, traces: &Traces) -> [Cmd; 2] {
        let mut forget = Cmd::with_capacity(3, 192);
        forget.arg("UNLINK").arg(self.keys().record(run.queue(), &traces.id));
        // A key that is not there costs Redis a look at cold memory, as much as all else that is done here.
        if traces.has_log {
            forget.arg(self.keys().log(run.queue(), &traces.id));
        }
        [remove(run, frame), forget]
    }

    /// Says in the record of a background job that the worker of this run list runs it, since when in milliseconds of
    /// Redis time, and lets go the unique key of one that holds it until then. False: it was taken away meanwhile.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn begin(&self, run: &RunList, job: &Job, since_ms: u64) -> Result<bool, Error> {
        let Some(id) = &job.envelope.id else { return Ok(true) };
        let Some(worker) = Keys::worker_of(run.slot()) else { return Ok(false) };
        let record = self.keys().record(run.queue(), id);
        let lets_go = job.envelope.unique_at_start();
        let unique = lets_go.map(|key| self.keys().unique(run.queue(), key));
        let (age, since) = (millis(limits::RECORD_AGE_MAX).to_string(), since_ms.to_string());
        let attempt = job.envelope.attempt.to_string();
        let run = Run {
            keys: &[run.key(), &record, unique.as_deref().unwrap_or(&record)],
            args: &[
                job.frame(),
                age.as_bytes(),
                lets_go.map_or("", |_| id.as_str()).as_bytes(),
                b"worker",
                worker.as_str().as_bytes(),
                b"since",
                since.as_bytes(),
                b"attempt",
                attempt.as_bytes(),
                b"action",
                job.envelope.action.as_str().as_bytes(),
            ],
        };
        Ok(self.scripts().begin.run(self, &run).await? == 1)
    }

    /// Ends a background job, with its record, its kept result and its unique key: all or nothing.
    ///
    /// Errors: [`Error::Away`]: unknown, do it again; Redis is away or refuses.
    pub async fn end(&self, run: &RunList, job: &Job, end: &End) -> Result<Acked, Error> {
        let acked = match (&job.envelope.id, end) {
            (Some(id), _) => self.settle(run, job, id, end).await?,
            (None, End::Later { member, due_ms, .. }) => {
                return self.retry_later(run, job.frame(), member, *due_ms).await;
            }
            (None, End::Dead { member, died_ms, .. }) => {
                return self.bury(run, job.frame(), member, *died_ms).await;
            }
            (None, End::Done { .. } | End::Gone) => return self.ack(run, job.frame()).await,
        };
        if let End::Dead { .. } = end {
            self.bound(&self.keys().dead(run.queue())).await;
        }
        Ok(acked)
    }

    async fn settle(&self, run: &RunList, job: &Job, id: &JobId, end: &End) -> Result<Acked, Error> {
        let (keys, queue) = (self.keys(), run.queue());
        let [record, log, result] = record::keys(keys, queue, id);
        let lets_go = end.lets_go(job);
        let unique = lets_go.map(|key| keys.unique(queue, key));
        let set = match end {
            End::Later { .. } => keys.later(queue),
            End::Dead { .. } => keys.dead(queue),
            End::Done { .. } | End::Gone => record.clone(),
        };
        let (member, score_ms) = end.member();
        let kept_ms =
            job.envelope.background.as_ref().map_or(0, |it| it.keep_ms).min(millis(limits::KEEP_MAX));
        let (score, age) = (score_ms.to_string(), end.age_ms(kept_ms).to_string());
        let fields = end.fields(job);
        let mut args: Vec<&[u8]> = vec![
            job.frame(),
            member,
            score.as_bytes(),
            end.reply().filter(|_| kept_ms > 0).map_or(b"", AsRef::as_ref),
            age.as_bytes(),
            lets_go.map_or("", |_| id.as_str()).as_bytes(),
        ];
        args.extend(fields.iter().map(String::as_bytes));
        let unique = unique.as_deref().unwrap_or(&record);
        let run = Run { keys: &[run.key(), &record, &log, &result, &set, unique], args: &args };
        Ok(Acked::of(self.scripts().settle.run(self, &run).await?.unsigned_abs()))
    }
}
