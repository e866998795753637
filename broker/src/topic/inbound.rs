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
    /// What it counts for while it waits, if it is so many events.
    pub(super) fn weight(&self, events: u64) -> usize {
        let each = usize::try_from(events).unwrap_or(usize::MAX).saturating_mul(EVENT_BYTES);
        match self {
            Self::Events(bytes) | Self::End(bytes) => bytes.len().saturating_add(each),
            Self::Overrun => 0,
        }
    }
}

/// Where the events of a subscriber can be written without waiting: takes as many of the bytes as there is room for, and
/// gives how many those are.
pub type Outlet = Box<dyn Fn(&[u8]) -> usize + Send + Sync>;

/// What became of something for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is written, or waits.
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
    events: VecDeque<Entry>,
    weight: usize,
    /// Events that were handed out, or written.
    handed: u64,
    overrun: bool,
    waker: Option<Waker>,
    outlet: Option<Outlet>,
    /// Nothing waits, and all that was handed out is written: the outlet may be used.
    is_idle: bool,
}

/// Something that waits, and how many events it is: those that are written in part count when the rest goes.
struct Entry {
    live: Live,
    events: u64,
}

impl Entry {
    fn weight(&self) -> usize {
        self.live.weight(self.events)
    }
}

/// What became of something, and who is to be woken, once the lock is released.
struct Done {
    pushed: Pushed,
    waker: Option<Waker>,
}

impl Done {
    fn woken(self) -> Pushed {
        if let Some(waker) = self.waker {
            waker.wake();
        }
        self.pushed
    }
}

impl Inbound {
    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something wait for the subscriber: so many events.
    pub(super) fn push(&self, live: Live, events: u64) -> Pushed {
        let done = self.state().wait(Entry { live, events });
        done.woken()
    }

    /// Writes events, if the subscriber has an outlet; what there is no room for waits.
    pub(super) fn write(&self, live: &Live, events: u64) -> Pushed {
        let mut state = self.state();
        let mut written = 0;
        if let (Live::Events(bytes), true, Some(outlet)) = (live, state.is_idle, &state.outlet) {
            written = outlet(bytes);
            if written >= bytes.len() {
                state.handed += events;
                return Pushed::Given;
            }
        }
        let live = match live {
            Live::Events(bytes) => Live::Events(bytes.slice(written..)),
            other => other.clone(),
        };
        let done = state.wait(Entry { live, events });
        drop(state);
        done.woken()
    }

    /// Gives the subscriber up.
    pub(super) fn cut(&self) -> Pushed {
        let done = self.state().cut();
        done.woken()
    }

    /// Sets or takes away the outlet.
    pub(super) fn set_outlet(&self, outlet: Option<Outlet>) {
        let before = std::mem::replace(&mut self.state().outlet, outlet);
        drop(before); // with the lock released: it may be the last that holds a socket
    }

    /// The outlet is not used until the subscriber has nothing to write again.
    pub(super) fn hold(&self) {
        self.state().is_idle = false;
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
            state.is_idle = true;
            return Poll::Pending;
        };
        let Live::Events(first) = first else { return Poll::Ready(first) };
        let more = state.pop_together(first.len());
        drop(state); // whoever publishes need not wait while they are put together
        Poll::Ready(Live::Events(together(first, &more)))
    }
}

impl Waiting {
    fn wait(&mut self, entry: Entry) -> Done {
        if self.overrun {
            return Done { pushed: Pushed::Lost, waker: None };
        }
        self.weight = self.weight.saturating_add(entry.weight());
        if self.weight > WAITING_BYTES_MAX && !self.events.is_empty() {
            return self.cut();
        }
        self.events.push_back(entry);
        self.busy(Pushed::Given)
    }

    fn cut(&mut self) -> Done {
        if std::mem::replace(&mut self.overrun, true) {
            return Done { pushed: Pushed::Lost, waker: None };
        }
        self.events = VecDeque::from([Entry { live: Live::Overrun, events: 0 }]);
        self.busy(Pushed::Cut)
    }

    fn busy(&mut self, pushed: Pushed) -> Done {
        self.is_idle = false;
        Done { pushed, waker: self.waker.take() }
    }

    fn pop(&mut self) -> Option<Live> {
        let entry = self.events.pop_front()?;
        self.weight = self.weight.saturating_sub(entry.weight());
        self.handed += entry.events;
        if self.events.is_empty() {
            self.events = VecDeque::new(); // an idle subscriber holds no memory for a burst of before
        }
        Some(entry.live)
    }

    /// The events that go out with one of this length.
    fn pop_together(&mut self, length: usize) -> Vec<Bytes> {
        let more = fitting(length, self.events.iter().map(|entry| &entry.live));
        for _ in &more {
            self.pop();
        }
        more
    }
}

/// The events at the head of these that go out in one write with one of this length.
pub(super) fn fitting<'a>(mut length: usize, next: impl Iterator<Item = &'a Live>) -> Vec<Bytes> {
    let fits = next.map_while(|live| {
        let Live::Events(bytes) = live else { return None };
        length += bytes.len();
        (length <= TOGETHER_BYTES_MAX).then(|| bytes.clone())
    });
    fits.collect()
}

pub(super) fn together(first: Bytes, more: &[Bytes]) -> Bytes {
    if more.is_empty() {
        return first;
    }
    let mut all = BytesMut::with_capacity(first.len() + more.iter().map(Bytes::len).sum::<usize>());
    all.extend_from_slice(&first);
    more.iter().for_each(|bytes| all.extend_from_slice(bytes));
    all.freeze()
}
