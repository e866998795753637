//! What waits for one subscriber: bounded, and cut past the bound.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

/// Events that may wait for one subscriber.
const WAITING_EVENTS_MAX: usize = 1_024;
/// Bytes that may wait for one subscriber.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// What a subscriber hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// An event, as EventSource bytes.
    Event(Bytes),
    /// One of its topics has ended; the bytes tell the browser.
    End(Bytes),
    /// Too much waited for this subscriber: events were lost and none will follow.
    Overrun,
}

/// What waits for one subscriber.
#[derive(Default)]
pub(super) struct Inbound {
    state: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Live>,
    bytes: usize,
    overrun: bool,
    waker: Option<Waker>,
}

impl Inbound {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, live: Live) {
        let mut state = self.state();
        if state.overrun {
            return;
        }
        if let Live::Event(bytes) | Live::End(bytes) = &live {
            state.bytes += bytes.len();
        }
        if state.events.len() < WAITING_EVENTS_MAX && state.bytes <= WAITING_BYTES_MAX {
            state.events.push_back(live);
        } else {
            state.overrun = true;
            state.events = VecDeque::from([Live::Overrun]);
        }
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
        }
    }

    /// The next event; wakes the task that asks when there is one.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Live> {
        let mut state = self.state();
        if let Some(live) = state.events.pop_front() {
            if let Live::Event(bytes) | Live::End(bytes) = &live {
                state.bytes = state.bytes.saturating_sub(bytes.len());
            }
            if state.events.is_empty() {
                state.events = VecDeque::new(); // an idle subscriber holds no memory for a burst of before
            }
            return Poll::Ready(live);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
