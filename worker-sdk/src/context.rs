//! What a handler knows of its job besides the arguments, and what it can do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tempest_broker::Broker;
use tempest_protocol::{Encoding, Envelope, Job, JobId, Raw, Topic};
use tokio_util::sync::CancellationToken;

use crate::{Failed, Push, bus::Bus};

/// The job that runs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    job: Job,
    bus: Bus,
    cancelled: CancellationToken,
    /// Lines were written into its log.
    has_log: AtomicBool,
    /// Of the job's own span, if that is exported.
    traceparent: Option<String>,
}

impl Context {
    /// Of a job; `traceparent` names its own span, if that is exported.
    pub(crate) fn new(job: Job, bus: Bus, traceparent: Option<String>) -> Self {
        let cancelled = CancellationToken::new();
        Self { inner: Arc::new(Inner { job, bus, cancelled, has_log: AtomicBool::new(false), traceparent }) }
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
        self.inner.bus.queue().as_str()
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
        let left = |deadline_ms: u64| deadline_ms.saturating_sub(self.inner.bus.now_ms());
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
        self.inner.bus.publish(&Topic::new(topic)?, payload.as_ref()).await
    }

    /// Pushes a background job with the arguments alone; see [`Context::enqueue`]. Gives its id.
    ///
    /// Errors: as there.
    pub async fn push(
        &self,
        queue: impl AsRef<str>,
        action: impl AsRef<str>,
        args: &impl Serialize,
    ) -> Result<JobId, tempest_broker::Error> {
        self.enqueue(Push::new(queue, action, args)).await
    }

    /// Pushes a background job; it carries on the trace of this one. Gives its id.
    ///
    /// Errors: `bad_name`, `bad_job`, `queue_full`, `not_unique`, or Redis is away (then it may have been pushed all the
    /// same; doing it again is safe).
    pub async fn enqueue(&self, job: Push) -> Result<JobId, tempest_broker::Error> {
        self.inner.bus.push(job.traceparent(self.traceparent())).await
    }

    /// What came out of the job before this one in a chain, or of the jobs of a group, as a list; none otherwise.
    ///
    /// Errors: `bad_job`: it has another shape.
    pub fn input<T: DeserializeOwned>(&self) -> Result<Option<T>, Failed> {
        let input = self.envelope().background.as_ref().and_then(|background| background.input.as_ref());
        input.map(|input| input.decode().map_err(Failed::from)).transpose()
    }

    /// Tells how far this job is: any JSON, up to 4 KiB. It stands in the job's record. Nothing for a job that has none.
    ///
    /// Errors: `bad_job`: too long; Redis is away.
    pub async fn progress(&self, progress: &impl Serialize) -> Result<(), tempest_broker::Error> {
        let Some(id) = self.envelope().record_id() else { return Ok(()) };
        let json = Raw::encode(Encoding::Json, progress)?;
        let json = std::str::from_utf8(json.bytes()).unwrap_or("null");
        self.inner.bus.progress(self.job(), id, json).await
    }

    /// Writes a line of up to 4 KiB into the log of this job. Nothing for a job that has none.
    ///
    /// Errors: `bad_job`: too long; Redis is away.
    pub async fn log(&self, line: impl AsRef<str>) -> Result<(), tempest_broker::Error> {
        let Some(id) = self.envelope().record_id() else { return Ok(()) };
        self.inner.has_log.store(true, Ordering::Relaxed);
        self.inner.bus.log(self.job(), id, line.as_ref()).await
    }

    /// Whether it wrote lines into its log.
    pub(crate) fn has_log(&self) -> bool {
        self.inner.has_log.load(Ordering::Relaxed)
    }

    /// The bus itself, for what this type does not offer; none in a [`Harness`](crate::testing::Harness).
    pub fn broker(&self) -> Option<&Broker> {
        match &self.inner.bus {
            Bus::Redis { broker, .. } => Some(broker),
            Bus::Test { .. } => None,
        }
    }
}
