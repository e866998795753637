//! Background jobs on their way into a queue: many in one round trip, each once, with their records (SPEC "Background
//! jobs").

use bytes::Bytes;
use redis::{Cmd, Value};
use tempest_protocol::{Action, Envelope, Holds, Job, JobId, Keys, Lane, Queue, Tag, limits};

use crate::{
    Broker, Error,
    claim::read,
    clock::millis,
    script::{Run, Script, is_unknown},
};

/// Jobs in one call of a script: Redis serves nobody else meanwhile.
const TOGETHER_MAX: usize = 128;
/// Bytes of jobs in one call, as far as it has more than one job.
const TOGETHER_BYTES_MAX: usize = 256 << 10;

/// A background job that is to be pushed.
#[derive(Clone, Debug)]
pub struct NewJob {
    id: JobId,
    action: Action,
    lane: Lane,
    /// When it is due, in milliseconds of Redis time; none: now.
    due_ms: Option<u64>,
    frame: Bytes,
}

impl NewJob {
    /// Of a frame and its envelope; none if it has no id, or if somebody waits for it.
    pub fn new(envelope: &Envelope, frame: Bytes, due_ms: Option<u64>) -> Option<Self> {
        let id = envelope.record_id()?.clone();
        Some(Self { id, action: envelope.action.clone(), lane: envelope.lane, due_ms, frame })
    }

    /// Of a job as it is, due at once; none as for [`NewJob::new`].
    pub fn of(job: &Job) -> Option<Self> {
        Self::new(&job.envelope, job.frame().clone(), None)
    }

    /// When it is due, in milliseconds of Redis time; none: at once.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// The job as it is pushed.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Its id.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// The lane it goes to, or `later`.
    fn place(&self, keys: &Keys, queue: &Queue) -> String {
        match self.due_ms {
            None => keys.lane(queue, self.lane),
            Some(_) => keys.later(queue),
        }
    }

    /// Whether one call of the script can push both: it names one place and one lane.
    fn goes_with(&self, other: &Self) -> bool {
        self.lane == other.lane && self.due_ms.is_some() == other.due_ms.is_some()
    }

    fn due(&self) -> String {
        self.due_ms.map(|due| due.to_string()).unwrap_or_default()
    }
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It lies in its lane, or in `later`.
    New,
    /// A job of this id is known already: nothing was pushed.
    Known,
    /// The lane, or `later`, holds as much as it may: nothing was pushed.
    NoRoom,
}

/// What becomes of a push with a unique key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushedUnique {
    /// As without one.
    Pushed(Pushed),
    /// Another job holds the key: nothing was pushed.
    Held(JobId),
}

impl Broker {
    /// Pushes background jobs, each once: one round trip, however many they are. What was pushed before (the id has a
    /// record) is not pushed again, so this may be repeated. A lane and `later` hold up to
    /// [`limits::BACKLOG_JOBS_MAX`].
    ///
    /// Errors: [`Error::Down`]: nothing was sent; [`Error::Away`]: it may have been pushed, repeat it; the first refusal
    /// by Redis: others may have been pushed all the same.
    pub async fn enqueue(&self, queue: &Queue, jobs: &[NewJob]) -> Result<Vec<Pushed>, Error> {
        let now_ms = self.now_ms().to_string();
        let batches = batches(jobs);
        let commands = batches.iter().map(|batch| self.push_batch(queue, batch, &now_ms, Script::short));
        let answers = self.link().gather().ask_all(None, commands).await?;
        let mut pushed = Vec::with_capacity(jobs.len());
        for (batch, answer) in batches.iter().zip(answers) {
            let answer: Vec<i64> = match answer {
                Err(error) if is_unknown(&error) => {
                    let command = self.push_batch(queue, batch, &now_ms, Script::long);
                    self.link().gather().ask(command).await?
                }
                answer => read(answer)?,
            };
            pushed.extend(answer.into_iter().skip(1).map(Pushed::of)); // behind how many lie there now
        }
        Ok(pushed)
    }

    /// A call of the script `push` for jobs of one place.
    fn push_batch(
        &self,
        queue: &Queue,
        batch: &[NewJob],
        now_ms: &str,
        command: fn(&Script, &Run<'_>) -> Cmd,
    ) -> Cmd {
        let records: Vec<_> = batch.iter().map(|job| self.keys().record(queue, &job.id)).collect();
        let dues: Vec<_> = batch.iter().map(NewJob::due).collect();
        let (room, age) = (limits::BACKLOG_JOBS_MAX.to_string(), millis(limits::RECORD_AGE_MAX).to_string());
        let lane = batch[0].lane.as_str();
        let mut args: Vec<&[u8]> = Vec::with_capacity(4 + 3 * batch.len());
        args.extend([room.as_bytes(), age.as_bytes(), now_ms.as_bytes(), lane.as_bytes()]);
        for (job, due) in batch.iter().zip(&dues) {
            args.extend([job.action.as_str().as_bytes(), due.as_bytes(), job.frame.as_ref()]);
        }
        let place = batch[0].place(self.keys(), queue);
        let keys: Vec<&str> = std::iter::once(&place).chain(&records).map(String::as_str).collect();
        command(&self.scripts().push, &Run { keys: &keys, args: &args })
    }

    /// Pushes one job that is to hold a unique key, unless another one holds it. `holds_ms` is how long it may do that at
    /// most, for [`Holds::Time`] how long it does. A holder that is gone without a trace is passed over.
    ///
    /// Errors: as for [`Broker::enqueue`].
    pub async fn enqueue_unique(
        &self,
        queue: &Queue,
        job: &NewJob,
        key: &Tag,
        holds: Holds,
        holds_ms: u64,
    ) -> Result<PushedUnique, Error> {
        let mut gone: Option<JobId> = None;
        loop {
            let answer = self.push_unique(queue, job, key, holds, holds_ms, gone.as_ref()).await?;
            let holder = match answer {
                Value::Array(numbers) => {
                    let became = numbers.into_iter().nth(1);
                    return Ok(PushedUnique::Pushed(Pushed::of(read(Ok(became.unwrap_or(Value::Nil)))?)));
                }
                holder => read::<String>(Ok(holder))?,
            };
            // Who holds it for a time needs no record.
            let timed = holder.strip_prefix('!');
            let holder = JobId::new(timed.unwrap_or(&holder))?;
            if timed.is_some() || gone.as_ref() == Some(&holder) {
                return Ok(PushedUnique::Held(holder));
            }
            gone = Some(holder);
        }
    }

    async fn push_unique(
        &self,
        queue: &Queue,
        job: &NewJob,
        key: &Tag,
        holds: Holds,
        holds_ms: u64,
        gone: Option<&JobId>,
    ) -> Result<Value, Error> {
        let keys = self.keys();
        let place = job.place(keys, queue);
        let record = keys.record(queue, &job.id);
        let holder = gone.map_or_else(|| record.clone(), |gone| keys.record(queue, gone));
        let (room, age) = (limits::BACKLOG_JOBS_MAX.to_string(), millis(limits::RECORD_AGE_MAX).to_string());
        let (now, due, holds_ms) = (self.now_ms().to_string(), job.due(), holds_ms.max(1).to_string());
        let mark = if holds == Holds::Time { format!("!{}", job.id) } else { job.id.to_string() };
        let run = Run {
            keys: &[&place, &record, &keys.unique(queue, key), &holder],
            args: &[
                room.as_bytes(),
                age.as_bytes(),
                now.as_bytes(),
                job.lane.as_str().as_bytes(),
                job.action.as_str().as_bytes(),
                due.as_bytes(),
                &job.frame,
                mark.as_bytes(),
                holds_ms.as_bytes(),
                gone.map_or("", JobId::as_str).as_bytes(),
            ],
        };
        self.scripts().push_unique.value(self, &run).await
    }
}

impl Pushed {
    fn of(became: i64) -> Self {
        match became {
            1 => Self::New,
            0 => Self::Known,
            _ => Self::NoRoom,
        }
    }
}

/// The jobs in batches of one place each, in their order.
fn batches(jobs: &[NewJob]) -> Vec<&[NewJob]> {
    let (mut batches, mut rest) = (Vec::new(), jobs);
    while let Some(first) = rest.first() {
        let mut bytes = 0;
        let fits = |job: &&NewJob| {
            bytes += job.frame.len();
            job.goes_with(first) && bytes <= TOGETHER_BYTES_MAX
        };
        // One that is too large for company goes alone.
        let count = rest.iter().take(TOGETHER_MAX).take_while(fits).count().max(1);
        let (batch, others) = rest.split_at(count);
        batches.push(batch);
        rest = others;
    }
    batches
}
