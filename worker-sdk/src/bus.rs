//! What the context of a job talks to: Redis, or the books of a test.

use std::sync::Arc;

use tempest_broker::{Broker, Error, RunList};
use tempest_protocol::{JobId, Queue, Topic};

use crate::{Push, push::push, testing::Books};

/// Where a job came from, and where what its handler does goes.
pub(crate) enum Bus {
    Redis { run: RunList, broker: Broker },
    Test { queue: Queue, books: Arc<Books> },
}

impl Bus {
    pub(crate) fn redis(run: &RunList, broker: &Broker) -> Self {
        Self::Redis { run: run.clone(), broker: broker.clone() }
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

    pub(crate) async fn progress(&self, id: &JobId, json: &str) -> Result<(), Error> {
        match self {
            Self::Redis { run, broker } => broker.tell_progress(run.queue(), id, json).await,
            Self::Test { books, .. } => books.write(id, json),
        }
    }

    pub(crate) async fn log(&self, id: &JobId, line: &str) -> Result<(), Error> {
        match self {
            Self::Redis { run, broker } => broker.write_log(run.queue(), id, line).await,
            Self::Test { books, .. } => books.write(id, line),
        }
    }
}
