//! What waits for one subscriber: bounded, and cut past the bound.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};

/// Memory of what may wait for one subscriber, in bytes. One event may be larger if nothing else waits.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// What an event counts for besides its own bytes, so that a million empty ones are bounded too.
const EVENT_BYTES: usize = 64;
/// Events that wait are handed out together up to this many bytes: a burst costs a few writes, not one an event.
const TOGETHER_BYTES_MAX: usize = 64 << 10;

/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// The next events, one or more, as EventSource bytes.
    Events(Bytes),
    /// One of its topics has ended; the bytes tell the browser.
    End(Bytes),
    /// Too much waited for this subscriber: events were lost and none will follow.
    Overrun,
}

impl Live {
    /// What it counts for while it waits.
    fn weight(&self) -> usize {
        match self {
            Self::Events(bytes) | Self::End(bytes) => bytes.len() + EVENT_BYTES,
            Self::Overrun => 0,
        }
    }
}

/// What became of something for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It waits.
    Given,
    /// It was too much: the subscriber is cut now.
    Cut,
    /// The subscriber was cut before.
    Lost,
}

/// What waits for one subscriber.
#[derive(Default)]
pub(super) struct Inbound {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Live>,
    weight: usize,
    /// Events that were handed out.
    handed: u64,
    overrun: bool,
    waker: Option<Waker>,
}

impl Inbound {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something wait for the subscriber.
    pub(super) fn push(&self, live: Live) -> Pushed {
        let mut state = self.state();
        if state.overrun {
            return Pushed::Lost;
        }
        state.weight += live.weight();
        let overrun = state.weight > WAITING_BYTES_MAX && !state.events.is_empty();
        if overrun {
            state.overrun = true;
            state.events = VecDeque::from([Live::Overrun]);
        } else {
            state.events.push_back(live);
        }
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
        if overrun { Pushed::Cut } else { Pushed::Given }
    }

    /// How many events were handed out.
    pub(super) fn handed(&self) -> u64 {
        self.state().handed
    }

    /// What comes next; wakes the task that asks when there is something.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Live> {
        let mut state = self.state();
        let Some(first) = state.pop() else {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let Live::Events(first) = first else { return Poll::Ready(first) };
        let more = state.pop_together(first.len());
        drop(state); // whoever publishes need not wait while they are put together
        Poll::Ready(Live::Events(together(first, &more)))
    }
}

impl Waiting {
    fn pop(&mut self) -> Option<Live> {
        let live = self.events.pop_front()?;
        self.weight = self.weight.saturating_sub(live.weight());
        self.handed += u64::from(matches!(live, Live::Events(_)));
        if self.events.is_empty() {
            self.events = VecDeque::new(); // an idle subscriber holds no memory for a burst of before
        }
        Some(live)
    }

    /// The events that go out with one of this length.
    fn pop_together(&mut self, mut length: usize) -> Vec<Bytes> {
        let mut more = Vec::new();
        while let Some(Live::Events(next)) = self.events.front() {
            length += next.len();
            if length > TOGETHER_BYTES_MAX {
                break;
            }
            more.push(next.clone());
            self.pop();
        }
        more
    }
}

fn together(first: Bytes, more: &[Bytes]) -> Bytes {
    if more.is_empty() {
        return first;
    }
    let mut all = BytesMut::with_capacity(first.len() + more.iter().map(Bytes::len).sum::<usize>());
    all.extend_from_slice(&first);
    more.iter().for_each(|bytes| all.extend_from_slice(bytes));
    all.freeze()
}
