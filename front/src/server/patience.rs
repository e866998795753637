//! How long a client of HTTP/1 may let the front wait: for its next request, and for the rest of one that has begun.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::owed::Owed;
use crate::config::HttpConfig;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// A request, of which nothing has come.
    Request,
    /// The rest of a head.
    Head,
}

/// The clock of a connection. One timer serves all of its requests: it is set anew only when it goes off too early.
pub(super) struct Patience {
    request: Duration,
    head: Duration,
    /// What is waited for since when, and how many requests were answered then; none while a response is owed.
    since: Option<(Wait, usize, Instant)>,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let request = Duration::from_millis(config.keep_alive_ms);
        let head = Duration::from_millis(config.header_timeout_ms);
        Self { request, head, since: None, timer: Box::pin(sleep_until(Instant::now() + request.min(head))) }
    }

    /// Resolves when it was waited long enough. Ask whenever the connection has nothing to do.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, owed: &Owed) -> Poll<Wait> {
        if !owed.nothing() {
            self.since = None;
            return Poll::Pending;
        }
        let wait = if owed.has_heard() { Wait::Head } else { Wait::Request };
        let answered = owed.answered();
        let begun = match self.since {
            Some((before, then, begun)) if (before, then) == (wait, answered) => begun,
            _ => Instant::now(),
        };
        self.since = Some((wait, answered, begun));
        let end = begun + if wait == Wait::Head { self.head } else { self.request };
        if end < self.timer.deadline() {
            self.timer.as_mut().reset(end);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= end {
                return Poll::Ready(wait);
            }
            self.timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}
