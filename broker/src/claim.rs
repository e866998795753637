//! How jobs come to a worker: a blocking claim on a connection of its own, and looks that do not block
//! (SPEC "Claims").
//!
//! The answer to a claim can get lost, the claim itself never: the job then lies in the run list of its slot, where
//! [`Broker::look`] finds it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{
    Cmd, FromRedisValue, Pipeline, RedisError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd, pipe,
};
use tempest_protocol::{Keys, Lane, Queue, WorkerId, limits};

use crate::{Broker, Error};

/// The run list of one slot of a worker: where its claimed job lies until it is acked. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunList {
    queue: Queue,
    key: Arc<str>,
    /// Where the name of its slot begins in the key.
    slot_at: usize,
}

impl RunList {
    /// The queue whose jobs it holds.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Its full key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The slot it belongs to: `<worker>.<slot>`.
    pub fn slot(&self) -> &str {
        self.key.get(self.slot_at..).unwrap_or_default()
    }
}

/// What a look before a long claim found that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Something lies in a run list that was empty: look into them.
    Jobs,
    /// The lease is gone: nobody has kept it.
    Lease,
}

/// What is looked at before a long claim.
#[derive(Clone, Debug)]
pub struct Lookout {
    /// Who claims.
    pub worker: WorkerId,
    /// Its run lists that should be empty, with the one that is claimed for.
    pub empty: Vec<RunList>,
}

/// How much longer than it blocks a claim may take to be answered.
const ANSWER: Duration = Duration::from_secs(2);
/// How often a claim is told to come back that may not have begun to block, and how long it has between two times.
const WAKES: u32 = 5;
const WAKE: Duration = Duration::from_millis(20);

/// A connection for claims: at most one is under way, and nothing else is done on it.
pub struct ClaimLink {
    broker: Broker,
    connection: Option<MultiplexedConnection>,
    client: Arc<AtomicI64>,
}

/// Names the connection of a [`ClaimLink`] from outside, to wake the claim that blocks on it.
#[derive(Clone, Debug)]
pub struct ClaimId(Arc<AtomicI64>);

impl Broker {
    /// The run list of a slot, from 0.
    pub fn run_list(&self, queue: &Queue, worker: &WorkerId, slot: usize) -> RunList {
        self.run_list_of(queue, &Keys::entry(worker, slot))
    }

    /// The run list of an entry `<worker>.<slot>` of the set `workers`.
    pub fn run_list_of(&self, queue: &Queue, entry: &str) -> RunList {
        let key: Arc<str> = self.keys().run_entry(queue, entry).into();
        RunList { queue: queue.clone(), slot_at: key.len() - entry.len(), key }
    }

    /// A link for claims. It connects when it is first used.
    pub fn claim_link(&self) -> ClaimLink {
        ClaimLink { broker: self.clone(), connection: None, client: Arc::default() }
    }

    /// Wakes the claim that blocks on a link: its answer comes at once, nil or a job. Gives whether one was woken.
    /// Where Redis does not permit this it is false, and the claim ends by itself within [`limits::BLOCK`].
    pub async fn unblock(&self, claim: &ClaimId) -> Result<bool, Error> {
        let client = claim.0.load(Ordering::Acquire);
        if client == 0 {
            return Ok(false);
        }
        match self.link().ask::<u64>(cmd("CLIENT").arg("UNBLOCK").arg(client)).await {
            Ok(woken) => Ok(woken > 0),
            Err(Error::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Claims a job for each of the run lists, as far as the lane has any, in one write with what others ask. Does not
    /// block.
    ///
    /// Errors: any; some jobs may have been claimed all the same, so look into the run lists.
    pub async fn take(&self, lane: Lane, runs: &[RunList]) -> Result<Vec<Option<Bytes>>, Error> {
        let Some(first) = runs.first() else { return Ok(Vec::new()) };
        let lane = self.keys().lane(first.queue(), lane);
        let answers = self.link().gather().ask_all(None, runs.iter().map(|run| take(&lane, run))).await?;
        answers
            .into_iter()
            .map(|answer| read::<Option<Vec<u8>>>(answer).map(|job| job.map(Bytes::from)))
            .collect()
    }

    /// What lies in a run list, the oldest first.
    pub async fn look(&self, run: &RunList) -> Result<Vec<Bytes>, Error> {
        let frames: Vec<Vec<u8>> = self.link().ask(cmd("LRANGE").arg(run.key()).arg(0).arg(-1)).await?;
        Ok(frames.into_iter().map(Bytes::from).collect())
    }

    /// How much lies in each of the run lists, in one write with what others ask.
    pub async fn held(&self, runs: &[RunList]) -> Result<Vec<usize>, Error> {
        let ask = |run: &RunList| cmd("LLEN").arg(run.key()).take();
        let answers = self.link().gather().ask_all(None, runs.iter().map(ask)).await?;
        answers.into_iter().map(read).collect()
    }
}

/// Moves the next job of a lane into a run list.
pub(crate) fn take(lane: &str, run: &RunList) -> Cmd {
    let mut take = Cmd::with_capacity(5, 32 + lane.len() + run.key().len());
    take.arg("LMOVE").arg(lane).arg(run.key()).arg("LEFT").arg("RIGHT");
    take
}

pub(crate) fn read<T: FromRedisValue>(answer: Result<Value, Error>) -> Result<T, Error> {
    redis::from_redis_value(answer?).map_err(|error| RedisError::from(error).into())
}

/// The next answer of several, as a type.
pub(crate) fn next<T: FromRedisValue>(
    answers: &mut impl Iterator<Item = Result<Value, Error>>,
) -> Result<T, Error> {
    read(answers.next().unwrap_or_else(|| Err(Error::Away("an answer is missing".into()))))
}

impl ClaimLink {
    /// Names this link's connection of now, and of whenever it connects anew.
    pub fn id(&self) -> ClaimId {
        ClaimId(self.client.clone())
    }

    /// Moves the next job of a lane into a run list; waits up to [`limits::BLOCK`] for one.
    ///
    /// Errors: any closes the connection for good, the next claim connects anew; look into the run list, the job may
    /// be there. Dropping the future closes the connection too, with the same consequence.
    pub async fn claim(&mut self, lane: Lane, run: &RunList) -> Result<Option<Bytes>, Error> {
        let mut connection = self.take_connection().await?;
        let job = self.wait(&mut connection, lane, run, limits::BLOCK).await?;
        self.connection = Some(connection);
        Ok(job)
    }

    /// The same for one that found nothing before: waits up to [`limits::BLOCK_IDLE`], and looks first whether all is as it
    /// should be, in the same write. If it is not it comes back at once. Where claims cannot be woken it waits no longer
    /// than the other.
    pub async fn claim_idle(
        &mut self,
        lane: Lane,
        run: &RunList,
        lookout: &Lookout,
    ) -> Result<(Option<Bytes>, Option<Odd>), Error> {
        let mut connection = self.take_connection().await?;
        let can_be_woken = self.client.load(Ordering::Acquire) != 0;
        let block = if can_be_woken { limits::BLOCK_IDLE } else { limits::BLOCK };
        let looking = connection.clone();
        let (odd, job) =
            tokio::join!(self.look_out(looking, run, lookout), self.wait(&mut connection, lane, run, block));
        let job = job?;
        self.connection = Some(connection);
        Ok((job, odd?))
    }

    /// Waits up to [`limits::BLOCK`] until something lies in a lane, and leaves it there: for queues that have limits.
    /// Gives whether something does.
    ///
    /// Errors: as for [`ClaimLink::claim`].
    pub async fn peek(&mut self, lane: Lane, queue: &Queue) -> Result<bool, Error> {
        let mut connection = self.take_connection().await?;
        let lane = self.broker.keys().lane(queue, lane);
        let job = self.move_first(&mut connection, &lane, &lane, "LEFT", limits::BLOCK).await?;
        self.connection = Some(connection);
        Ok(job.is_some())
    }

    async fn wait(
        &self,
        connection: &mut MultiplexedConnection,
        lane: Lane,
        run: &RunList,
        block: Duration,
    ) -> Result<Option<Bytes>, Error> {
        let lane = self.broker.keys().lane(run.queue(), lane);
        self.move_first(connection, &lane, run.key(), "RIGHT", block).await
    }

    /// Moves the first job of a list to an end of another, as soon as there is one.
    async fn move_first(
        &self,
        connection: &mut MultiplexedConnection,
        from: &str,
        to: &str,
        end: &str,
        block: Duration,
    ) -> Result<Option<Bytes>, Error> {
        let mut claim = cmd("BLMOVE");
        claim.arg(from).arg(to).arg("LEFT").arg(end).arg(block.as_secs());
        self.broker.stats().commands.one(&claim);
        let answer =
            tokio::time::timeout(block + ANSWER, claim.query_async::<Option<Vec<u8>>>(connection)).await;
        let answer = answer.map_err(|_| Error::Away("a claim was not answered".into()))?;
        Ok(answer?.map(Bytes::from))
    }

    /// Looks at what should be empty and at the lease, and wakes the claim behind it if something is odd.
    async fn look_out(
        &self,
        mut connection: MultiplexedConnection,
        run: &RunList,
        lookout: &Lookout,
    ) -> Result<Option<Odd>, Error> {
        let questions = self.questions(run, lookout);
        self.broker.stats().commands.all(&questions);
        let answers = connection.req_packed_commands(&questions, 0, questions.len()).await?;
        let odd = oddity(answers);
        if odd.is_some() {
            self.wake().await;
        }
        Ok(odd)
    }

    fn questions(&self, run: &RunList, lookout: &Lookout) -> Pipeline {
        let mut questions = pipe();
        questions.cmd("EXISTS").arg(self.broker.keys().lease(run.queue(), &lookout.worker));
        for run in &lookout.empty {
            questions.cmd("LLEN").arg(run.key());
        }
        questions
    }

    async fn wake(&self) {
        let id = self.id();
        for _ in 0..WAKES {
            if matches!(self.broker.unblock(&id).await, Ok(true)) {
                return;
            }
            tokio::time::sleep(WAKE).await;
        }
    }

    async fn take_connection(&mut self) -> Result<MultiplexedConnection, Error> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, Error> {
        self.client.store(0, Ordering::Release);
        let mut connection = self.broker.link().dedicated(limits::BLOCK_IDLE + ANSWER).await?;
        // Without the id (an ACL may forbid the command) claims end by themselves.
        let id = cmd("CLIENT").arg("ID").query_async::<i64>(&mut connection).await.map_err(Error::from);
        match id {
            Ok(id) => self.client.store(id, Ordering::Release),
            Err(Error::Refused { word, .. }) if word == "NOPERM" => {}
            Err(error) => return Err(error),
        }
        Ok(connection)
    }
}

/// Of the answers about a lease and run lists. What Redis does not permit to ask is taken for good.
fn oddity(answers: Vec<Value>) -> Option<Odd> {
    let mut counts = answers.into_iter().map(|answer| redis::from_redis_value::<u64>(answer).ok());
    let lease = counts.next().flatten();
    if counts.flatten().any(|jobs| jobs > 0) {
        return Some(Odd::Jobs);
    }
    (lease == Some(0)).then_some(Odd::Lease)
}
