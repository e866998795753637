//! What a handler knows of its job besides the arguments, and what it can do.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tempest_broker::{Broker, Caps, RunList};
use tempest_protocol::{Action, Encoding, Envelope, Job, JobId, Lane, Queue, Raw, Topic};
use tokio_util::sync::CancellationToken;

/// The job that runs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    job: Job,
    run: RunList,
    broker: Broker,
    cancelled: CancellationToken,
    /// Of the job's own span, if that is exported.
    traceparent: Option<String>,
}

impl Context {
    /// Of a job that lies in `run`; `traceparent` names its own span, if that is exported.
    pub(crate) fn new(job: Job, run: RunList, broker: Broker, traceparent: Option<String>) -> Self {
        let cancelled = CancellationToken::new();
        Self { inner: Arc::new(Inner { job, run, broker, cancelled, traceparent }) }
    }

    /// The job itself.
    pub(crate) fn job(&self) -> &Job {
        &self.inner.job
    }

    /// What tells the handler that nobody waits any more.
    pub(crate) fn cancellation(&self) -> &CancellationToken {
        &self.inner.cancelled
    }

    fn envelope(&self) -> &Envelope {
        &self.inner.job.envelope
    }

    /// The job's id; none if its sender gave none.
    pub fn id(&self) -> Option<&JobId> {
        self.envelope().id.as_ref()
    }

    /// The queue it came from.
    pub fn queue(&self) -> &str {
        self.inner.run.queue().as_str()
    }

    /// The action it is for.
    pub fn action(&self) -> &str {
        self.envelope().action.as_str()
    }

    /// Which start this is, from 1.
    pub fn attempt(&self) -> u64 {
        self.envelope().attempt
    }

    /// How often it may be started.
    pub fn attempts_max(&self) -> u64 {
        self.envelope().attempts_max()
    }

    /// Milliseconds in Redis time after which nobody waits any more; none: somebody always cares.
    pub fn deadline_ms(&self) -> Option<u64> {
        Some(self.envelope().deadline_ms).filter(|deadline| *deadline != 0)
    }

    /// How much time is left to the deadline; zero if it has passed.
    pub fn time_left(&self) -> Option<Duration> {
        let left = |deadline_ms: u64| deadline_ms.saturating_sub(self.inner.broker.now_ms());
        self.deadline_ms().map(left).map(Duration::from_millis)
    }

    /// W3C trace context for what is done for the job: it names the job's span if the program exports that (feature
    /// `otel`), else whatever the job came with.
    pub fn traceparent(&self) -> Option<&str> {
        self.inner.traceparent.as_deref().or(self.envelope().traceparent.as_deref())
    }

    /// Id of the session the request belongs to.
    pub fn session(&self) -> Option<&str> {
        self.envelope().session.as_deref()
    }

    /// Whether nobody waits any more: cancelled, past its deadline or its time limit, or the worker ends. The handler
    /// is dropped a tenth of a second later at its next `await`.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.is_cancelled()
    }

    /// Waits until nobody waits any more. Cancel-safe.
    pub async fn cancelled(&self) {
        self.inner.cancelled.cancelled().await;
    }

    /// Publishes a live event to a topic. Gives how many fronts (and others) heard it.
    ///
    /// Errors: `bad_name`, or Redis is away.
    pub async fn publish(
        &self,
        topic: impl AsRef<str>,
        payload: impl AsRef<[u8]>,
    ) -> Result<u64, tempest_broker::Error> {
        self.inner.broker.publish(&Topic::new(topic)?, payload.as_ref()).await
    }

    /// Pushes a background job to a queue; nobody waits for it. Gives its id.
    ///
    /// Errors: `bad_name`, arguments that JSON cannot hold, `queue_full`, or Redis is away (then it may have been
    /// pushed all the same).
    pub async fn push(
        &self,
        queue: impl AsRef<str>,
        action: impl AsRef<str>,
        args: &impl Serialize,
    ) -> Result<JobId, tempest_broker::Error> {
        let queue = Queue::new(queue)?;
        let id = JobId::new(uuid::Uuid::now_v7().to_string())?;
        let mut envelope = Envelope::new(Action::new(action)?);
        envelope.id = Some(id.clone());
        envelope.queued_at_ms = Some(self.inner.broker.now_ms());
        envelope.traceparent = self.traceparent().map(str::to_owned);
        let frame = envelope.encode(&Raw::encode(Encoding::Json, args)?);
        self.inner.broker.announce(std::slice::from_ref(&queue)).await?;
        self.inner.broker.push(&queue, Lane::Normal, &frame, &Caps::default()).await?;
        Ok(id)
    }

    /// The bus itself, for what this type does not offer.
    pub fn broker(&self) -> &Broker {
        &self.inner.broker
    }
}
