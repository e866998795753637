//! What the context of a job talks to: Redis, or the books of a test.

use std::sync::Arc;

use tempest_broker::{Broker, Error, RunList};
use tempest_protocol::{Job, JobId, Queue, Topic};

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
                self.write(job, || broker.tell_progress(run.queue(), id, json)).await
            }
            Self::Test { books, .. } => books.write(id, json),
        }
    }

    pub(crate) async fn log(&self, job: &Job, id: &JobId, line: &str) -> Result<(), Error> {
        match self {
            Self::Redis { run, broker, .. } => {
                self.write(job, || broker.write_log(run.queue(), id, line)).await
            }
            Self::Test { books, .. } => books.write(id, line),
        }
    }

    /// A job that was pushed without a record gets one when it has something to say; unless it does not run here any more.
    async fn write<F>(&self, job: &Job, write: impl Fn() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<bool, Error>>,
    {
        let Self::Redis { run, broker, since_ms } = self else { return Ok(()) };
        if !write().await? && broker.begin(run, job, *since_ms).await? {
            write().await?;
        }
        Ok(())
    }
}
