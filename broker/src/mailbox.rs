//! Where one process receives replies (SPEC "Mailboxes").
//!
//! The reader peeks before it removes: a reply leaves Redis only after it has been handed on, so a connection cut at
//! any byte loses none (it may be seen twice, and the second one finds nobody waiting).

mod bench;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use redis::{aio::MultiplexedConnection, cmd, pipe};
use tempest_protocol::{Code, Content, JobId, Mailbox, Reply, limits};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{Broker, Error, Rarely, Stats, Topics, clock::millis};

pub use bench::Dispatch;

/// What is in trouble while the mailbox is not read.
const PART: &str = "mailbox";
/// What is in trouble while nobody is told that its owner lives.
const BEATS: &str = "beats";
/// How long the first look of a connection waits for a reply: soon it is known whether Redis lets it look at all.
const FIRST_BLOCK: Duration = Duration::from_millis(10);
/// Replies in one look.
const LOOK: isize = 128;
/// Replies in one look after one that was larger than [`LOOK_BYTES`].
const LOOK_LARGE: isize = 16;
const LOOK_BYTES: usize = 1 << 20;

/// A mailbox that is open: read, and known to live.
pub struct Inbox {
    shared: Arc<Shared>,
    reading: CancellationToken,
    broker: Broker,
}

struct Shared {
    mailbox: Mailbox,
    key: String,
    about: String,
    waiting: Mutex<HashMap<JobId, Arc<Slot>>>,
    unreadable: Rarely,
}

/// What was received for one waiter.
#[derive(Default)]
struct Slot {
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    received: VecDeque<Result<Reply, tempest_protocol::Error>>,
    waker: Option<Waker>,
}

impl Broker {
    /// Opens a new mailbox, named by `label` and a random part; its first beat is answered before this returns.
    ///
    /// Errors: those of the first beat, or `bad_name` if the label is no name.
    pub async fn open_inbox(&self, label: &str) -> Result<Inbox, Error> {
        let mailbox = Mailbox::new(format!("{label}-{:016x}", fastrand::u64(..)))?;
        let shared = Arc::new(Shared {
            key: self.keys().mailbox(&mailbox),
            about: self.keys().about(&mailbox),
            mailbox,
            waiting: Mutex::default(),
            unreadable: Rarely::default(),
        });
        shared.beat(self).await?;
        let reading = CancellationToken::new();
        for task in [Task::Beat, Task::Read] {
            let (shared, broker, reading) = (shared.clone(), self.clone(), reading.clone());
            self.spawn(async move {
                let work = async {
                    match task {
                        Task::Beat => shared.beats(&broker).await,
                        Task::Read => shared.reads(&broker, &reading).await,
                    }
                };
                reading.run_until_cancelled(work).await;
            });
        }
        Ok(Inbox { shared, reading, broker: self.clone() })
    }
}

/// Replies that were handed on and still stand at the head of the mailbox.
#[derive(Default)]
struct Handed {
    replies: usize,
    /// In all.
    bytes: usize,
}

enum Task {
    Beat,
    Read,
}

impl Inbox {
    /// The full key: what jobs carry as `reply_to`.
    pub fn key(&self) -> &str {
        &self.shared.key
    }

    /// The mailbox's name.
    pub fn mailbox(&self) -> &Mailbox {
        &self.shared.mailbox
    }

    /// Also takes final replies that people `PUBLISH` to the channel of the mailbox's name.
    pub fn listen(&self, topics: &Topics) {
        let (shared, broker) = (Arc::downgrade(&self.shared), self.broker.clone());
        topics.listen(self.shared.key.clone(), move |frame| {
            if let Some(shared) = shared.upgrade() {
                shared.hand_on(&frame, broker.stats());
            }
        });
    }

    /// Begins to wait for the replies to a job. Call it before the push.
    pub fn expect(&self, id: &JobId) -> Waiter {
        self.shared.expect(id)
    }

    /// How many jobs are waited for.
    pub fn waiting(&self) -> usize {
        self.shared.waiting().len()
    }

    /// Stops reading and removes the mailbox.
    pub async fn close(&self) -> Result<(), Error> {
        self.reading.cancel();
        let mut commands = pipe();
        commands.cmd("UNLINK").arg(&self.shared.key);
        commands.cmd("UNLINK").arg(&self.shared.about);
        commands.cmd("SREM").arg(self.broker.keys().mailboxes()).arg(self.shared.mailbox.as_str());
        self.broker.link().ask_all(&commands).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.reading.cancel();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Slot>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(self: &Arc<Self>, id: &JobId) -> Waiter {
        let slot = Arc::new(Slot::default());
        self.waiting().insert(id.clone(), slot.clone());
        Waiter { shared: self.clone(), slot, id: id.clone(), gathered: Gathered::default() }
    }

    /// Says that the owner of this mailbox lives.
    async fn beat(&self, broker: &Broker) -> Result<(), Error> {
        let mut commands = pipe();
        commands.cmd("SADD").arg(broker.keys().mailboxes()).arg(self.mailbox.as_str());
        commands.cmd("SET").arg(&self.about).arg("{}").arg("PX").arg(millis(limits::ABOUT));
        broker.link().ask_all(&commands).await?.into_iter().try_for_each(|answer| answer.map(drop))?;
        broker.stats().written.set();
        Ok(())
    }

    async fn beats(&self, broker: &Broker) {
        loop {
            tokio::time::sleep(limits::BEAT).await;
            broker.up().await;
            match self.beat(broker).await {
                Ok(()) => broker.stats().faults.well(BEATS),
                Err(error) => broker.stats().faults.failed(BEATS, &error),
            }
        }
    }

    /// Reads until it is told to end: what happens to the connection from then on is nobody's trouble.
    async fn reads(&self, broker: &Broker, reading: &CancellationToken) {
        let (mut failures, mut connected, stats) = (0, false, broker.stats());
        loop {
            let error = match broker.link().dedicated(limits::BLOCK_ANSWER).await {
                Ok(connection) => {
                    if std::mem::replace(&mut connected, true) {
                        stats.reconnects.mailbox.count();
                    }
                    self.read_on(connection, stats, &mut failures).await
                }
                Err(error) => error,
            };
            if reading.is_cancelled() {
                return;
            }
            failures += 1;
            stats.faults.failed(PART, &error);
            tokio::time::sleep(error.trouble().pause(failures)).await;
        }
    }

    /// Reads on one connection until it fails. A connection that failed is never used again, and its last `LTRIM`
    /// is never repeated. The first look that succeeds forgets the failures.
    async fn read_on(
        &self,
        mut connection: MultiplexedConnection,
        stats: &Stats,
        failures: &mut u32,
    ) -> Error {
        let (mut last, mut block) = (Handed::default(), FIRST_BLOCK);
        loop {
            last = match self.read_once(&mut connection, &last, block, stats).await {
                Ok(handed) => handed,
                Err(error) => return error.into(),
            };
            (*failures, block) = (0, limits::BLOCK);
            stats.faults.well(PART);
        }
    }

    /// Removes what was handed on and hands on what has come, or waits for the next reply. Both are asked in one write:
    /// if there are replies the wait ends at once, with one that is known.
    async fn read_once(
        &self,
        connection: &mut MultiplexedConnection,
        last: &Handed,
        block: Duration,
        stats: &Stats,
    ) -> redis::RedisResult<Handed> {
        if last.bytes > LOOK_BYTES {
            // A wait is not worth a second copy of a large reply.
            return self.look(connection, last.replies, LOOK_LARGE, stats).await;
        }
        let mut other = connection.clone();
        let look = async {
            match last.replies {
                0 => Ok(Handed::default()),
                replies => self.look(connection, replies, LOOK, stats).await,
            }
        };
        let (looked, waited) = futures_util::try_join!(look, self.wait(&mut other, block, stats))?;
        match waited {
            Some(first) if looked.replies == 0 => {
                Ok(Handed { replies: 1, bytes: self.hand_on(&first.into(), stats) })
            }
            _ => Ok(looked),
        }
    }

    /// Removes so many replies that were handed on, and hands on the next, `look` at most.
    async fn look(
        &self,
        connection: &mut MultiplexedConnection,
        handed: usize,
        look: isize,
        stats: &Stats,
    ) -> redis::RedisResult<Handed> {
        let mut commands = pipe();
        commands.cmd("LTRIM").arg(&self.key).arg(handed).arg(-1).ignore();
        commands.cmd("LRANGE").arg(&self.key).arg(0).arg(look - 1);
        stats.commands.all(&commands);
        let (replies,): (Vec<Vec<u8>>,) = commands.query_async(connection).await?;
        stats.mailbox_read.set();
        let count = replies.len();
        let bytes = replies.into_iter().map(|reply| self.hand_on(&reply.into(), stats)).sum();
        Ok(Handed { replies: count, bytes })
    }

    /// Waits for a reply, which stays where it is.
    async fn wait(
        &self,
        connection: &mut MultiplexedConnection,
        block: Duration,
        stats: &Stats,
    ) -> redis::RedisResult<Option<Vec<u8>>> {
        let mut wait = cmd("BLMOVE");
        wait.arg(&self.key).arg(&self.key).arg("LEFT").arg("LEFT").arg(block.as_secs_f64());
        stats.commands.one(&wait);
        let first = wait.query_async(connection).await?;
        stats.mailbox_read.set();
        Ok(first)
    }

    /// Gives a reply to whoever waits for it. Gives its size in bytes.
    fn hand_on(&self, frame: &Bytes, stats: &Stats) -> usize {
        let received = match frame.len() {
            0..=limits::REPLY_BYTES_MAX => Reply::decode(frame),
            size => Err(tempest_protocol::Error::new(Code::TooLarge, format!("a reply of {size} bytes"))),
        };
        let id = match &received {
            Ok(reply) => Some(reply.id.clone()),
            Err(_) => Reply::id_of(frame),
        };
        if received.is_err() {
            stats.bad_replies.count();
        }
        let slot = id.as_ref().and_then(|id| self.waiting().get(id).cloned());
        match (slot, &received) {
            (Some(slot), _) => slot.put(received),
            (None, Ok(reply)) => {
                stats.late_replies.count();
                debug!(id = %reply.id, "a reply nobody waits for");
            }
            (None, Err(error)) => {
                self.unreadable.say(|unsaid| warn!(%error, unsaid, "a reply that cannot be read"));
            }
        }
        frame.len()
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, received: Result<Reply, tempest_protocol::Error>) {
        let mut state = self.state();
        state.received.push_back(received);
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }
}

/// Waits for the replies to one job. Dropping it stops the wait; replies that come later are dropped.
pub struct Waiter {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    id: JobId,
    gathered: Gathered,
}

impl Waiter {
    /// The whole reply: partial ones are gathered, in order, until the final one. Cancel-safe.
    ///
    /// Errors: a reply that cannot be read, or that is larger than [`limits::REPLY_BYTES_MAX`] in all.
    pub async fn reply(&mut self) -> Result<Reply, tempest_protocol::Error> {
        loop {
            let received = self.receive().await?;
            if let Some(whole) = self.gathered.take(received)? {
                return Ok(whole);
            }
        }
    }

    async fn receive(&mut self) -> Result<Reply, tempest_protocol::Error> {
        std::future::poll_fn(|context| {
            let mut state = self.slot.state();
            match state.received.pop_front() {
                Some(received) => Poll::Ready(received),
                None => {
                    state.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.waiting().remove(&self.id);
    }
}

/// Parts of one attempt, until all of them are there. Parts may come twice and out of order.
#[derive(Default)]
struct Gathered {
    attempt: Option<u64>,
    parts: BTreeMap<u64, Reply>,
    bytes: usize,
}

impl Gathered {
    fn take(&mut self, reply: Reply) -> Result<Option<Reply>, tempest_protocol::Error> {
        let single = !reply.more && reply.seq.unwrap_or(0) == 0;
        if single {
            return Ok(Some(reply));
        }
        if reply.attempt > self.attempt {
            *self = Self { attempt: reply.attempt, ..Self::default() };
        }
        let Some(seq) = reply.seq.filter(|_| reply.attempt == self.attempt) else { return Ok(None) };
        if self.parts.contains_key(&seq) {
            return Ok(None);
        }
        self.bytes += 256 + body_of(&reply).map_or(0, Bytes::len);
        if self.bytes > limits::REPLY_BYTES_MAX {
            return Err(tempest_protocol::Error::new(
                Code::TooLarge,
                "the parts of a reply are too large in all",
            ));
        }
        self.parts.insert(seq, reply);
        let last = self.parts.last_key_value().filter(|(_, part)| !part.more).map(|(seq, _)| *seq);
        let complete =
            last.is_some_and(|last| u64::try_from(self.parts.len()).is_ok_and(|count| count == last + 1));
        if complete { self.join().map(Some) } else { Ok(None) }
    }

    fn join(&mut self) -> Result<Reply, tempest_protocol::Error> {
        let mut parts = std::mem::take(&mut self.parts).into_values();
        let bad = || tempest_protocol::Error::new(Code::BadReply, "the first part has no status");
        let mut first = parts.next().ok_or_else(bad)?;
        let Content::Http { body, .. } = &mut first.content else { return Err(bad()) };
        let mut whole = body.to_vec();
        for part in parts {
            match &part.content {
                Content::Error(_) => return Ok(part),
                content => whole.extend_from_slice(content_body(content).map_or(&[], |body| body)),
            }
            first.timing = part.timing;
        }
        *body = whole.into();
        (first.more, first.seq) = (false, None);
        Ok(first)
    }
}

fn body_of(reply: &Reply) -> Option<&Bytes> {
    content_body(&reply.content)
}

fn content_body(content: &Content) -> Option<&Bytes> {
    match content {
        Content::Http { body, .. } | Content::Part(body) => Some(body),
        Content::Result(_) | Content::Error(_) => None,
    }
}
