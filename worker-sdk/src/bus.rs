//! What the context of a job talks to: Redis, or the books of a test.

use std::sync::Arc;

use tempest_broker::{Began, Broker, Error, RunList};
use tempest_protocol::{Job, JobId, Keys, Queue, Topic};

use crate::{Push, push::push, testing::Books};

/// Where a job came from, and where what its handler does goes.
pub(crate) enum Bus {
    Redis { run: RunList, broker: Broker, since_ms: u64 },
    Test { queue: Queue, books: Arc<Books> },
}

impl Bus {
    /// For a job that was claimed into this run list, and when, in milliseconds of Redis time.
    pub(crate) fn redis(run: &RunList, broker: &Broker, since_ms: u64) -> Self {
        Self::Redis { run: run.clone(), broker: broker.clone(), since_ms }
    }

    pub(crate) fn queue(&self) -> &Queue {
        match self {
            Self::Redis { run, .. } => run.queue(),
            Self::Test { queue, .. } => queue,
        }
    }

    /// Milliseconds of its time.
    pub(crate) fn now_ms(&self) -> u64 {
        match self {
            Self::Redis { broker, .. } => broker.now_ms(),
            Self::Test { books, .. } => books.now_ms(),
        }
    }

    pub(crate) async fn publish(&self, topic: &Topic, payload: &[u8]) -> Result<u64, Error> {
        match self {
            Self::Redis { broker, .. } => broker.publish(topic, payload).await,
            Self::Test { books, .. } => Ok(books.publish(topic, payload)),
        }
    }

    pub(crate) async fn push(&self, job: Push) -> Result<JobId, Error> {
        match self {
            Self::Redis { broker, .. } => push(broker, job).await,
            Self::Test { books, .. } => books.push(job),
        }
    }

    pub(crate) async fn progress(&self, job: &Job, id: &JobId, json: &str) -> Result<(), Error> {
        match self {
            Self::Redis { run, broker, .. } => {
                if !broker.tell_progress(run.queue(), id, json).await? && self.begin(job).await? {
                    broker.tell_progress(run.queue(), id, json).await?;
                }
                Ok(())
            }
            Self::Test { books, .. } => books.write(id, json),
        }
    }

    pub(crate) async fn log(&self, job: &Job, id: &JobId, line: &str) -> Result<(), Error> {
        match self {
            Self::Redis { run, broker, .. } => {
                if !broker.write_log(run.queue(), id, line).await? && self.begin(job).await? {
                    broker.write_log(run.queue(), id, line).await?;
                }
                Ok(())
            }
            Self::Test { books, .. } => books.write(id, line),
        }
    }

    /// A job that was pushed without a record gets one when it has something to say. False: it does not run here any more.
    async fn begin(&self, job: &Job) -> Result<bool, Error> {
        let Self::Redis { run, broker, since_ms } = self else { return Ok(false) };
        let Some(worker) = Keys::worker_of(run.slot()) else { return Ok(false) };
        broker.begin(run, job, &Began { worker: &worker, since_ms: *since_ms }).await
    }
}
