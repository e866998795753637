//! A caller of background jobs: pushes them, looks after them, waits for their results.

use std::time::Duration;

use serde::de::DeserializeOwned;
use tempest_broker::{Awaited, Broker, Error, Pushed, Record, Settings};
use tempest_protocol::{Code, Content, Error as WireError, Failure, Group, JobId, Queue};

use crate::{
    Push,
    push::{Made, push, push_many},
};

/// Pushes background jobs and looks after them. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Client {
    broker: Broker,
}

/// How a job ended whose result somebody waited for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResultError {
    /// It failed for good.
    #[error("{}: {}", .0.code, .0.message)]
    Failed(Failure),
    /// It has not ended in time; it lives on.
    #[error("the job has not ended yet")]
    Late,
    /// There is no such job, or it did not ask to have its result kept ([`Push::keep`]).
    #[error("there is no such job, or nothing of it is kept")]
    Unknown,
    /// Redis is away or refuses, or the result has another shape.
    #[error(transparent)]
    Broker(#[from] Error),
}

impl Client {
    /// Connects, to where `TEMPEST_REDIS_URL` and `TEMPEST_PREFIX` say.
    ///
    /// Errors: no Redis that can serve, one line that says what to do.
    pub async fn from_env() -> Result<Self, crate::Error> {
        let options = crate::options::Options::of(|name| std::env::var(name).ok());
        let options = options.checked().map_err(crate::Error::Setup)?;
        Ok(Self::connect(options.settings()).await?)
    }

    /// Connects.
    ///
    /// Errors: as for [`Broker::connect`].
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        Ok(Self { broker: Broker::connect(settings).await? })
    }

    /// Over connections the program has already.
    pub fn new(broker: Broker) -> Self {
        Self { broker }
    }

    /// Pushes a job. Gives its id.
    ///
    /// Errors: `bad_name`, `bad_job`, `queue_full`, `not_unique`; Redis is away: whether it was pushed is unknown, pushing the same
    /// [`Push`] again is safe.
    pub async fn push(&self, job: Push) -> Result<JobId, Error> {
        push(&self.broker, job).await
    }

    /// Pushes many, one round trip for each queue. Gives their ids, and what became of each: of one whose unique key
    /// another one holds [`Pushed::Known`].
    ///
    /// Errors: as for [`Client::push`]; then some may have been pushed.
    pub async fn push_many(&self, jobs: Vec<Push>) -> Result<Vec<(JobId, Pushed)>, Error> {
        push_many(&self.broker, jobs).await
    }

    /// Runs jobs in parallel, and another one when all of them are over, with the list of their results as input, which have
    /// at most 16 MiB together: of one that somebody has removed it is null. A dead job keeps the other one waiting, 30 days
    /// at most, until somebody has it run again or deletes it. Gives the id of the other one.
    ///
    /// Errors: `bad_job`: none, or more than 10,000, or one with a unique key; as for [`Client::push`]: then the other one
    /// never comes, but jobs may have been pushed.
    pub async fn group(&self, jobs: Vec<Push>, then: Push) -> Result<JobId, Error> {
        if jobs.iter().any(Push::is_unique) {
            return Err(WireError::new(Code::BadJob, "a job of a group has no unique key").into());
        }
        let now_ms = self.broker.now_ms();
        let then = then.made(now_ms)?;
        let group = Group::new(uuid::Uuid::now_v7().to_string())?;
        let jobs: Vec<_> = jobs.into_iter().map(|job| job.grouped(&then.queue, &group)).collect();
        let made = jobs.iter().map(|job| job.clone().made(now_ms)).collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = made.iter().map(|made| made.job.id().clone()).collect();
        self.broker.announce(std::slice::from_ref(&then.queue)).await?;
        self.broker.open_group(&then.queue, &group, &ids, then.job.frame()).await?;
        if let Err(error) = self.push_all(jobs, &made).await {
            self.broker.forget_group(&then.queue, &group).await?;
            return Err(error);
        }
        Ok(then.job.id().clone())
    }

    /// Pushes many, all of them.
    async fn push_all(&self, jobs: Vec<Push>, made: &[Made]) -> Result<(), Error> {
        let pushed = self.push_many(jobs).await?;
        match pushed.iter().zip(made).find(|((_, pushed), _)| *pushed == Pushed::NoRoom) {
            Some((_, made)) => Err(Error::QueueFull { queue: made.queue.to_string() }),
            None => Ok(()),
        }
    }

    /// What is known of a job; none if there is no such one, or nothing of it is kept.
    ///
    /// Errors: `bad_name`; Redis is away or refuses.
    pub async fn job(&self, queue: impl AsRef<str>, id: &JobId) -> Result<Option<Record>, Error> {
        self.broker.record(&Queue::new(queue)?, id).await
    }

    /// The lines a job has written.
    ///
    /// Errors: as for [`Client::job`].
    pub async fn log(&self, queue: impl AsRef<str>, id: &JobId) -> Result<Vec<String>, Error> {
        self.broker.job_log(&Queue::new(queue)?, id, 0).await
    }

    /// Waits up to so long for the result of a job that keeps it. Cancel-safe.
    ///
    /// Errors: see [`ResultError`].
    pub async fn result<T: DeserializeOwned>(
        &self,
        queue: impl AsRef<str>,
        id: &JobId,
        longest: Duration,
    ) -> Result<T, ResultError> {
        let queue = Queue::new(queue).map_err(Error::from)?;
        let until = tokio::time::Instant::now() + longest;
        let reply = match self.broker.await_result(&queue, id, until).await? {
            Awaited::Reply(reply) => reply,
            Awaited::Late => return Err(ResultError::Late),
            Awaited::Unknown => return Err(ResultError::Unknown),
        };
        match reply.content {
            Content::Result(result) => Ok(result.decode().map_err(Error::from)?),
            Content::Error(failure) => Err(ResultError::Failed(failure)),
            _ => Err(Error::from(WireError::new(Code::BadReply, "the result is an HTTP reply")).into()),
        }
    }

    /// The bus itself, for what this type does not offer.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }
}
