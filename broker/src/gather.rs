//! Commands of many senders, gathered into few writes: what is asked while others are still asking leaves together, and
//! what goes to the end of the same list leaves in one command.
//!
//! A write costs more than the command in it, a command more than the value in it, on both sides. Nobody waits for
//! company longer than the tasks that are ready at that moment take. The order of commands is kept, but that a push may
//! overtake what stands between it and an earlier push to its list; what is refused or lost is each sender's own affair.

mod pushes;

use std::{
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{Cmd, FromRedisValue, Value};
use tokio::{
    sync::{Notify, oneshot},
    task::yield_now,
};
use tokio_util::sync::CancellationToken;

use crate::{Error, claim::next, link::Link};
use pushes::{Pushed, Pushes};

/// What Redis answers to several commands.
type Answers = Result<Vec<Result<Value, Error>>, Error>;

/// Writes whose answers are awaited at the same time. While there are so many, the next one grows.
const IN_FLIGHT_MAX: usize = 2;

/// Where commands wait until they are written.
#[derive(Default)]
pub(crate) struct Gather {
    batch: Mutex<Batch>,
    ready: Notify,
}

/// Commands and whom to tell the answers.
#[derive(Default)]
struct Batch {
    commands: Vec<Cmd>,
    pushes: Pushes,
    askers: Vec<Asker>,
    is_closed: bool,
}

struct Asker {
    /// Where its push stands, if it has one.
    pushed: Option<Pushed>,
    /// Its other commands.
    others: Range<usize>,
    whom: Whom,
}

/// Whom to tell.
enum Whom {
    Several(oneshot::Sender<Answers>),
    Push(Arc<PushSlot>),
}

impl Gather {
    /// Several commands, in one write with those of others: a push of a value to the end of a list, if there is one, before
    /// all else. Each has an answer of its own.
    pub(crate) async fn ask_all(
        &self,
        push: Option<(&str, &Bytes)>,
        commands: impl IntoIterator<Item = Cmd>,
    ) -> Answers {
        let (tell, told) = oneshot::channel();
        self.add(push, commands, Whom::Several(tell));
        told.await.unwrap_or(Err(Error::Down))
    }

    /// One command, in one write with those of others.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T, Error> {
        next(&mut self.ask_all(None, [command]).await?.into_iter())
    }

    /// One push. Its answer is there when somebody asks for it.
    pub(crate) fn push(&self, list: &str, value: &Bytes, depth_max: u64) -> Pushing {
        let slot = Arc::new(PushSlot { depth_max, state: Mutex::default() });
        self.add(Some((list, value)), [], Whom::Push(slot.clone()));
        Pushing(slot)
    }

    fn add(&self, push: Option<(&str, &Bytes)>, commands: impl IntoIterator<Item = Cmd>, whom: Whom) {
        let mut batch = self.batch();
        if batch.is_closed {
            drop(batch);
            return whom.fail(&Error::Down);
        }
        batch.add(push, commands, whom);
        let is_first = batch.askers.len() == 1;
        drop(batch);
        if is_first {
            self.ready.notify_one();
        }
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is gathered until it is told to close; then waits for the answers that are due. Whoever asks from then
    /// on is told that nothing was sent.
    pub(crate) async fn write(&self, link: &Link, closing: &CancellationToken) {
        let mut sent = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = closing.cancelled() => break,
                () = self.ready.notified(), if sent.len() < IN_FLIGHT_MAX => {
                    yield_now().await; // whoever is ready to ask does so first
                    let batch = std::mem::take(&mut *self.batch());
                    sent.push(batch.send(link));
                }
                Some(()) = sent.next() => {}
            }
        }
        self.close();
        while sent.next().await.is_some() {}
    }

    fn close(&self) {
        let batch = std::mem::replace(&mut *self.batch(), Batch { is_closed: true, ..Batch::default() });
        batch.askers.into_iter().for_each(|asker| asker.whom.fail(&Error::Down));
    }
}

impl Batch {
    fn add(&mut self, push: Option<(&str, &Bytes)>, commands: impl IntoIterator<Item = Cmd>, whom: Whom) {
        let pushed = push.map(|(list, value)| self.pushes.add(&mut self.commands, list, value));
        let begin = self.commands.len();
        self.commands.extend(commands);
        self.askers.push(Asker { pushed, others: begin..self.commands.len(), whom });
    }

    async fn send(self, link: &Link) {
        let Self { commands, pushes, askers, .. } = self;
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command);
        }
        let answers = link.ask_all(&pipeline).await;
        pushes.report(&answers, link.faults());
        match answers {
            Ok(mut answers) => askers.into_iter().for_each(|asker| asker.tell(&mut answers, &pushes)),
            Err(error) => askers.into_iter().for_each(|asker| asker.whom.fail(&error)),
        }
    }
}

impl Asker {
    fn tell(self, answers: &mut [Result<Value, Error>], pushes: &Pushes) {
        let depth = self.pushed.map(|pushed| pushes.depth(answers, pushed));
        match self.whom {
            Whom::Push(slot) => slot.put(depth.unwrap_or(Err(Error::Down))),
            Whom::Several(tell) => {
                let take = |answer: &mut _| std::mem::replace(answer, Ok(Value::Nil));
                let others = answers.get_mut(self.others).unwrap_or_default().iter_mut().map(take);
                let depth = depth.map(|depth| depth.map(|depth| Value::Int(depth.cast_signed())));
                // Whoever does not listen any more does not care.
                drop(tell.send(Ok(depth.into_iter().chain(others).collect())));
            }
        }
    }
}

impl Whom {
    fn fail(self, error: &Error) {
        match self {
            Self::Several(tell) => drop(tell.send(Err(error.clone()))),
            Self::Push(slot) => slot.put(Err(error.clone())),
        }
    }
}

/// A push that is under way. Dropping it does not take it back.
#[derive(Clone)]
pub struct Pushing(Arc<PushSlot>);

struct PushSlot {
    /// More jobs than these are trouble.
    depth_max: u64,
    state: Mutex<PushState>,
}

#[derive(Default)]
struct PushState {
    answer: Option<Result<u64, Error>>,
    waker: Option<Waker>,
    /// The waker is for any answer, not only for trouble.
    wants_any: bool,
}

impl PushSlot {
    fn state(&self) -> MutexGuard<'_, PushState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_trouble(&self, answer: &Result<u64, Error>) -> bool {
        answer.as_ref().map_or(true, |depth| *depth > self.depth_max)
    }

    fn put(&self, answer: Result<u64, Error>) {
        let mut state = self.state();
        let waker = state.waker.take().filter(|_| state.wants_any || self.is_trouble(&answer));
        state.answer = Some(answer);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Pushing {
    /// The depth of the lane, this job included, once Redis has told.
    pub fn depth(&self) -> Option<u64> {
        self.0.state().answer.as_ref().and_then(|answer| answer.as_ref().ok().copied())
    }

    /// Waits for the depth of the lane. Cancel-safe.
    ///
    /// Errors: [`Error::Down`]: nothing was sent; [`Error::Away`]: it may have been pushed.
    pub fn answer(&self) -> impl Future<Output = Result<u64, Error>> {
        Answer { slot: &self.0, wants_any: true }
    }

    /// Waits for an error, or for a depth beyond the limit the push was given; for ever if all is well, without being
    /// woken. Cancel-safe.
    pub fn trouble(&self) -> impl Future<Output = Result<u64, Error>> {
        Answer { slot: &self.0, wants_any: false }
    }
}

struct Answer<'a> {
    slot: &'a PushSlot,
    wants_any: bool,
}

impl Future for Answer<'_> {
    type Output = Result<u64, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.slot.state();
        match &state.answer {
            Some(answer) if self.wants_any || self.slot.is_trouble(answer) => Poll::Ready(answer.clone()),
            Some(_) => Poll::Pending, // all is well, for ever
            None => {
                state.wants_any = self.wants_any;
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
