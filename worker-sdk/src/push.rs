//! A background job that is being made: what it is for, when it runs, what it excludes, what comes after it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use tempest_broker::{Broker, Error, NewJob, Pushed, PushedUnique};
use tempest_protocol::{
    Action, Background, Code, Encoding, Envelope, Error as WireError, Group, Holds, JobId, Lane, Queue, Raw,
    Tag, chain, limits,
};

/// A background job that is to be pushed. What is wrong in it is told when it is: `bad_name`, or `bad_job` for arguments
/// that JSON cannot hold.
#[derive(Clone, Debug)]
#[must_use = "nothing is pushed yet"]
pub struct Push {
    queue: Result<Queue, WireError>,
    envelope: Result<Envelope, WireError>,
    args: Result<Raw, WireError>,
    background: Background,
    key: Option<Result<Tag, WireError>>,
    unique: Option<(Result<Tag, WireError>, Holds, Duration)>,
    due: Due,
    ttl: Option<Duration>,
    then: Vec<Push>,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    Now,
    In(Duration),
    At(SystemTime),
}

impl Push {
    /// A job for an action of a queue, with a new id (UUIDv7); due at once, in the normal lane, started up to three times.
    pub fn new(queue: impl AsRef<str>, action: impl AsRef<str>, args: &impl Serialize) -> Self {
        let envelope = Action::new(action).and_then(|action| {
            let mut envelope = Envelope::new(action);
            envelope.id = Some(JobId::new(uuid::Uuid::now_v7().to_string())?);
            Ok(envelope)
        });
        Self {
            queue: Queue::new(queue),
            envelope,
            args: Raw::encode(Encoding::Json, args),
            background: Background::default(),
            key: None,
            unique: None,
            due: Due::Now,
            ttl: None,
            then: Vec::new(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Envelope)) -> Self {
        if let Ok(envelope) = &mut self.envelope {
            change(envelope);
        }
        self
    }

    /// Gives it an id of one's own: a job of an id that is known is not pushed again.
    pub fn id(self, id: JobId) -> Self {
        self.with(|envelope| envelope.id = Some(id))
    }

    /// Puts it into another lane.
    pub fn lane(self, lane: Lane) -> Self {
        self.with(|envelope| envelope.lane = lane)
    }

    /// How often it may be started, from 1.
    pub fn attempts(self, attempts: u64) -> Self {
        self.with(|envelope| envelope.attempts = Some(attempts.max(1)))
    }

    /// Carries on a trace (W3C trace context).
    pub fn traceparent(self, traceparent: Option<&str>) -> Self {
        self.with(|envelope| envelope.traceparent = traceparent.map(str::to_owned))
    }

    /// Runs it after so long.
    pub fn after(self, delay: Duration) -> Self {
        Self { due: Due::In(delay), ..self }
    }

    /// Runs it at that time.
    pub fn at(self, time: SystemTime) -> Self {
        Self { due: Due::At(time), ..self }
    }

    /// Nobody cares for it any more so long after the push: then it is not started, and goes to `dead` as `expired`.
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// Keeps its record and its result for so long after its end; at most [`limits::KEEP_MAX`].
    pub fn keep(mut self, time: Duration) -> Self {
        self.background.keep_ms = millis(time);
        self
    }

    /// Pushes it only if no other job of its queue holds this key: while this one is queued, until it ends, or (with
    /// [`Push::unique_for`]) for a time.
    pub fn unique(self, key: impl AsRef<str>, holds: Holds) -> Self {
        Self { unique: Some((Tag::new(key), holds, limits::RECORD_AGE_MAX)), ..self }
    }

    /// Pushes it only if no other job of its queue holds this key, and holds it for so long, whatever becomes of it.
    pub fn unique_for(self, key: impl AsRef<str>, time: Duration) -> Self {
        Self { unique: Some((Tag::new(key), Holds::Time, time)), ..self }
    }

    /// Of the jobs with this key only so many run at a time as the queue's limits say, one if they say nothing.
    pub fn key(self, key: impl AsRef<str>) -> Self {
        Self { key: Some(Tag::new(key)), ..self }
    }

    /// Pushes another one when this one is done, with its result as input; several come one after the other.
    pub fn then(mut self, next: Push) -> Self {
        self.then.push(next);
        self
    }

    pub(crate) fn is_unique(&self) -> bool {
        self.unique.is_some()
    }

    pub(crate) fn grouped(mut self, queue: &Queue, group: &Group) -> Self {
        self.background.group = Some((queue.clone(), group.clone()));
        self
    }

    /// The queue it goes to, and what is pushed.
    pub(crate) fn made(self, now_ms: u64) -> Result<Made, WireError> {
        let Self { queue, envelope, args, mut background, key, unique, due, ttl, then } = self;
        let (queue, mut envelope) = (queue?, envelope?);
        background.key = key.transpose()?;
        let unique = unique.map(|(key, holds, time)| key.map(|key| (key, holds, time))).transpose()?;
        if let Some((key, holds, _)) = &unique {
            (background.unique, background.unique_while) = (Some(key.clone()), *holds);
        }
        if !then.is_empty() {
            let jobs = then.into_iter().map(|next| next.linked(now_ms)).collect::<Result<Vec<_>, _>>()?;
            background.then = Some(chain(Encoding::Json, jobs.iter().map(|(queue, frame)| (queue, frame))));
        }
        envelope.background = Some(Box::new(background)).filter(|background| !background.is_empty());
        envelope.queued_at_ms = Some(now_ms);
        envelope.deadline_ms = ttl.map_or(0, |ttl| now_ms + millis(ttl));
        let frame = envelope.encode(&args?);
        let job = NewJob::new(&envelope, frame, due.ms(now_ms));
        Ok(Made { queue, job: job.ok_or_else(|| WireError::new(Code::BadJob, "a job needs an id"))?, unique })
    }

    /// As it stands in the `then` of another one.
    fn linked(self, now_ms: u64) -> Result<(Queue, Bytes), WireError> {
        if !self.then.is_empty() || self.unique.is_some() || !matches!(self.due, Due::Now) {
            let detail = "a job in a chain runs when the one before is done: no due time, no unique key, no chain of its own";
            return Err(WireError::new(Code::BadJob, detail));
        }
        let made = self.made(now_ms)?;
        Ok((made.queue, made.job.frame().clone()))
    }
}

impl Due {
    fn ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Self::Now => None,
            Self::In(delay) => Some(now_ms + millis(delay)),
            Self::At(time) => Some(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())),
        }
    }
}

/// A job as it is pushed.
pub(crate) struct Made {
    pub(crate) queue: Queue,
    pub(crate) job: NewJob,
    unique: Option<(Tag, Holds, Duration)>,
}

/// Pushes a job. Gives its id, also if it was known already.
pub(crate) async fn push(broker: &Broker, push: Push) -> Result<JobId, Error> {
    let made = push.made(broker.now_ms())?;
    broker.announce(std::slice::from_ref(&made.queue)).await?;
    match push_made(broker, &made).await? {
        Pushed::NoRoom => Err(Error::QueueFull { queue: made.queue.to_string() }),
        Pushed::New | Pushed::Known => Ok(made.job.id().clone()),
    }
}

/// What carries an id may be pushed again: once, when the answer was lost.
async fn push_made(broker: &Broker, made: &Made) -> Result<Pushed, Error> {
    match push_once(broker, made).await {
        Err(Error::Away(_)) => push_once(broker, made).await,
        pushed => pushed,
    }
}

async fn enqueue(broker: &Broker, queue: &Queue, jobs: &[NewJob]) -> Result<Vec<Pushed>, Error> {
    match broker.enqueue(queue, jobs).await {
        Err(Error::Away(_)) => broker.enqueue(queue, jobs).await,
        pushed => pushed,
    }
}

async fn push_once(broker: &Broker, made: &Made) -> Result<Pushed, Error> {
    let Made { queue, job, unique } = made;
    let Some((key, holds, time)) = unique else {
        let pushed = broker.enqueue(queue, std::slice::from_ref(job)).await?;
        return Ok(pushed.first().copied().unwrap_or(Pushed::NoRoom));
    };
    match broker.enqueue_unique(queue, job, key, *holds, millis(*time)).await? {
        PushedUnique::Pushed(pushed) => Ok(pushed),
        PushedUnique::Held(holder) => Err(Error::NotUnique { holder }),
    }
}

/// Pushes jobs, one round trip for each queue. Gives what became of each, in their order. Unique keys are asked for one by one.
pub(crate) async fn push_many(broker: &Broker, pushes: Vec<Push>) -> Result<Vec<(JobId, Pushed)>, Error> {
    let now_ms = broker.now_ms();
    let made = pushes.into_iter().map(|push| push.made(now_ms)).collect::<Result<Vec<_>, _>>()?;
    let mut queues: Vec<Queue> = made.iter().map(|made| made.queue.clone()).collect();
    queues.sort();
    queues.dedup();
    broker.announce(&queues).await?;
    let mut became = vec![Pushed::NoRoom; made.len()];
    for queue in &queues {
        let (places, jobs): (Vec<_>, Vec<_>) = (made.iter().enumerate())
            .filter(|(_, made)| made.queue == *queue && made.unique.is_none())
            .map(|(place, made)| (place, made.job.clone()))
            .unzip();
        let pushed = enqueue(broker, queue, &jobs).await?;
        places.into_iter().zip(pushed).for_each(|(place, pushed)| became[place] = pushed);
    }
    for (place, made) in made.iter().enumerate().filter(|(_, made)| made.unique.is_some()) {
        became[place] = match push_made(broker, made).await {
            Err(Error::NotUnique { .. }) => Pushed::Known,
            pushed => pushed?,
        };
    }
    Ok(made.into_iter().map(|made| made.job.id().clone()).zip(became).collect())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(limits::INTEGER_MAX)
}
