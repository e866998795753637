//! Handlers without a Redis, for tests of programs: a worker's jobs run in this process, on a clock that can be moved.
//!
//! Everything goes through the wire: a job is encoded, decoded and answered as between processes, so that what does not
//! survive that does not pass here either. Retries, delays, deadlines, chains and `dead` are those of a worker. What is not
//! here: other processes, lanes of several workers, unique keys, limits, groups, cancelling. The back-off has no jitter.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tempest_broker::Error;
use tempest_protocol::{
    Code, Content, Failure, Job, JobId, Keys, Queue, RETRY, Raw, Reply, Topic, dead, following,
};

use crate::{Context, Done, Failed, Push, bus::Bus, handler::Handlers, hooks::Hooks};

/// When the clock of a harness begins, in milliseconds since 1970: it is the same in every run.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// Jobs that run one after the other before somebody is taken to be pushing for ever.
const RUNS_MAX: usize = 100_000;

/// How one start of a job ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The job.
    pub id: Option<JobId>,
    /// What it was for.
    pub action: String,
    /// Which start it was, from 1.
    pub attempt: u64,
    /// When, in milliseconds of the harness' clock since its beginning.
    pub at_ms: u64,
    /// Why it failed; none: it is done.
    pub failure: Option<Failure>,
}

/// What a program did, as its handlers saw it.
#[derive(Default)]
pub(crate) struct Books(Mutex<Page>);

#[derive(Default)]
struct Page {
    now_ms: u64,
    /// By due time, then lane, then order.
    jobs: BTreeMap<(u64, usize, u64), (Queue, Bytes)>,
    pushed: u64,
    ran: Vec<Ran>,
    results: HashMap<JobId, Raw>,
    dead: Vec<Bytes>,
    published: Vec<(String, Vec<u8>)>,
    written: Vec<(JobId, String)>,
}

impl Books {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now_ms(&self) -> u64 {
        BEGIN_MS + self.page().now_ms
    }

    pub(crate) fn publish(&self, topic: &Topic, payload: &[u8]) -> u64 {
        self.page().published.push((topic.to_string(), payload.to_vec()));
        0
    }

    pub(crate) fn write(&self, id: &JobId, text: &str) -> Result<(), Error> {
        self.page().written.push((id.clone(), text.to_owned()));
        Ok(())
    }

    pub(crate) fn push(&self, job: Push) -> Result<JobId, Error> {
        let made = job.made(self.now_ms())?;
        let due_ms = made.job.due_ms().unwrap_or(0);
        let id = made.job.id().clone();
        self.put(&made.queue, made.job.frame().clone(), due_ms)?;
        Ok(id)
    }

    /// A frame, as it would lie in Redis.
    fn put(&self, queue: &Queue, frame: Bytes, due_ms: u64) -> Result<(), Error> {
        let lane = Job::decode(frame.clone(), &Keys::default())?.envelope.lane as usize;
        let mut page = self.page();
        page.pushed += 1;
        let place = (due_ms.saturating_sub(BEGIN_MS).max(page.now_ms), lane, page.pushed);
        page.jobs.insert(place, (queue.clone(), frame));
        Ok(())
    }

    /// The next job that is due by then; the clock is moved to its time.
    fn next(&self, until_ms: u64) -> Option<(Queue, Bytes)> {
        let mut page = self.page();
        let place = *page.jobs.keys().next().filter(|(due_ms, ..)| *due_ms <= until_ms)?;
        page.now_ms = page.now_ms.max(place.0);
        page.jobs.remove(&place)
    }
}

/// The handlers of a worker, a queue in memory, and a clock that only moves when it is told to.
pub struct Harness {
    handlers: Handlers,
    hooks: Hooks,
    books: Arc<Books>,
}

impl Harness {
    pub(crate) fn new(handlers: Handlers, hooks: Hooks) -> Self {
        Self { handlers: hooks.wrap(handlers), hooks, books: Arc::default() }
    }

    /// Pushes a job; nothing runs yet. Gives its id.
    ///
    /// Errors: `bad_name` or `bad_job`: it could not be pushed anywhere.
    pub fn push(&self, job: Push) -> Result<JobId, Error> {
        self.books.push(job)
    }

    /// Runs a job at once, and nothing else: its arguments and its result go through the wire.
    ///
    /// Errors: that of the handler; `bad_job` or `bad_name`: it could not be pushed anywhere; `bad_reply`: the result has
    /// another shape.
    pub async fn call<T: DeserializeOwned>(&self, job: Push) -> Result<T, Failed> {
        let made = job.made(self.books.now_ms())?;
        let job = Job::decode(made.job.frame().clone(), &Keys::default())?;
        Done(Content::Result(self.handled(&made.queue, &job).await?)).result()
    }

    /// Runs all that is due, and all that is pushed by that and due. Gives how many starts there were.
    pub async fn run(&self) -> usize {
        self.skip(Duration::ZERO).await
    }

    /// Moves the clock on, and runs what becomes due on the way, each at its time. Gives how many starts there were.
    ///
    /// Panics when a hundred thousand jobs ran: somebody pushes for ever.
    pub async fn skip(&self, time: Duration) -> usize {
        let until_ms = self.books.page().now_ms + u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut runs = 0;
        while let Some((queue, frame)) = self.books.next(until_ms) {
            self.start(&queue, frame).await;
            runs += 1;
            assert!(runs < RUNS_MAX, "{RUNS_MAX} jobs ran one after the other; does one push itself again?");
        }
        self.books.page().now_ms = until_ms;
        runs
    }

    async fn start(&self, queue: &Queue, frame: Bytes) {
        let Ok(job) = Job::decode(frame, &Keys::default()) else { return };
        let at_ms = self.books.page().now_ms;
        let expired = job.envelope.is_expired(self.books.now_ms());
        let handled = match expired {
            true => Err(Failed::coded(Code::Expired, "its deadline has passed")),
            false => self.handled(queue, &job).await,
        };
        let failure = handled.as_ref().err().map(|failed| Failure::from(failed.clone()));
        let envelope = &job.envelope;
        self.books.page().ran.push(Ran {
            id: envelope.id.clone(),
            action: envelope.action.to_string(),
            attempt: envelope.attempt,
            at_ms,
            failure,
        });
        match handled {
            Ok(result) => self.done(queue, &job, &result),
            Err(failed) => self.failed(queue, &job, failed),
        }
    }

    /// Runs the handler of a job. Its answer is encoded and read again, as by whoever waits for it.
    async fn handled(&self, queue: &Queue, job: &Job) -> Result<Raw, Failed> {
        let action = &job.envelope.action;
        let handler = self.handlers.get(action.as_str());
        let handler = handler
            .ok_or_else(|| Failed::coded(Code::NoHandler, format!("no handler for action {action}")))?;
        let bus = Bus::Test { queue: queue.clone(), books: self.books.clone() };
        let context = Context::new(job.clone(), bus, None);
        let content = match handler(context.clone()).await {
            Ok(content) => content,
            Err(failed) => {
                self.hooks.tell(&context, &failed).await;
                return Err(failed);
            }
        };
        let id = job.envelope.id.clone().ok_or_else(|| Failed::coded(Code::BadJob, "a job needs an id"))?;
        let reply = Reply::last(id, job.envelope.attempt, content).encode(job.encoding())?;
        match Reply::decode(&reply)?.content {
            Content::Result(result) => Ok(result),
            _ => Ok(Raw::null(job.encoding())),
        }
    }

    fn done(&self, queue: &Queue, job: &Job, result: &Raw) {
        if let Some(id) = &job.envelope.id {
            self.books.page().results.insert(id.clone(), result.clone());
        }
        match following(job, result, self.books.now_ms(), &Keys::default()) {
            Ok(None) => {}
            Ok(Some(next)) => {
                let queue = next.queue.as_ref().unwrap_or(queue);
                if let Err(error) = self.books.put(queue, next.job.frame().clone(), 0) {
                    self.bury(job, &Failed::coded(Code::BadJob, error.to_string()));
                }
            }
            Err(error) => self.bury(job, &Failed::coded(Code::BadJob, format!("then: {}", error.detail()))),
        }
    }

    fn failed(&self, queue: &Queue, job: &Job, failed: Failed) {
        let envelope = &job.envelope;
        if failed.is_final() || envelope.attempt >= envelope.attempts_max() {
            return self.bury(job, &failed);
        }
        let wait = RETRY.bound(u32::try_from(envelope.attempt).unwrap_or(u32::MAX));
        let due_ms = self.books.now_ms() + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = self.books.put(queue, dead::later(job), due_ms) {
            self.bury(job, &Failed::coded(Code::BadJob, error.to_string()));
        }
    }

    fn bury(&self, job: &Job, failed: &Failed) {
        let now_ms = self.books.now_ms();
        self.books.page().dead.push(dead::dead(job, &failed.clone().into(), now_ms));
    }

    /// Every start so far, in order.
    pub fn ran(&self) -> Vec<Ran> {
        self.books.page().ran.clone()
    }

    /// What came out of a job that is done.
    ///
    /// Errors: `not_found`: it is not done; `bad_job`: the result has another shape.
    pub fn result<T: DeserializeOwned>(&self, id: &JobId) -> Result<T, Failed> {
        let result = self.books.page().results.get(id).cloned();
        Ok(result.ok_or_else(|| Failed::new("not_found", format!("job {id} is not done")))?.decode()?)
    }

    /// How many jobs wait, due or not.
    pub fn waiting(&self) -> usize {
        self.books.page().jobs.len()
    }

    /// Why each job in `dead` was given up, with its action.
    pub fn dead(&self) -> Vec<(String, Failure)> {
        let dead = self.books.page().dead.clone();
        let read = |member: Bytes| {
            let action = Job::decode(member.clone(), &Keys::default()).ok()?.envelope.action.to_string();
            Some((action, dead::failure_of(&member)?))
        };
        dead.into_iter().filter_map(read).collect()
    }

    /// What was published, in order: topic and payload.
    pub fn published(&self) -> Vec<(String, Vec<u8>)> {
        self.books.page().published.clone()
    }

    /// What handlers told of their progress and wrote into logs, in order.
    pub fn written(&self) -> Vec<(JobId, String)> {
        self.books.page().written.clone()
    }
}
