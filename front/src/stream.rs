//! One event stream: what a subscription yields, heartbeats, and an end with a hint. It knows nothing of HTTP; it is
//! polled for bytes, by hyper or by the writer that took the socket over, who may also lend it the socket to write to.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tempest_broker::{Live, Outlet, Subscription};

use crate::{
    limits,
    seen::StreamSeen,
    wheel::{Call, Place},
};

/// What an idle stream says to show that it lives.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// A place among the streams of the front, and one among those of its route where that counts its own.
pub(crate) type StreamPermit = (limits::Place, Option<limits::Place>);

/// An open event stream.
pub(crate) struct EventStream {
    subscription: Subscription,
    topics_left: usize,
    place: Place,
    /// When the client should come back, to be told next.
    hint_ms: Option<u32>,
    state: State,
    _permit: StreamPermit,
    seen: Option<Arc<StreamSeen>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The front stops: what has been heard is still said, then the hint.
    Ending,
    /// Nothing follows but the hint, if there is one.
    Ended,
}

impl EventStream {
    /// A stream that begins with a time to come back after.
    pub(crate) fn new(
        subscription: Subscription,
        place: Place,
        retry_ms: u32,
        permit: StreamPermit,
        seen: Option<Arc<StreamSeen>>,
    ) -> Self {
        if let Some(seen) = &seen {
            seen.opens();
        }
        Self {
            topics_left: subscription.topics(),
            subscription,
            place,
            hint_ms: Some(retry_ms),
            state: State::Open,
            _permit: permit,
            seen,
        }
    }

    /// Events may be written through this outlet from now on, without being polled for: only while
    /// [`EventStream::poll_bytes`] is pending and all it gave before is written.
    pub(crate) fn write_through(&mut self, outlet: Outlet) {
        self.subscription.write_through(outlet);
    }

    /// The next bytes, whole blocks of the stream; none after the end. Cancel-safe.
    pub(crate) fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = self.poll_said(context);
        if polled.is_ready() {
            self.subscription.hold();
        }
        polled
    }

    fn poll_said(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.state != State::Ending
            && let Some(ms) = self.hint_ms.take()
        {
            return Poll::Ready(Some(format!("retry: {ms}\n\n").into()));
        }
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        // Asked first, so that a stream with events all the time ends too.
        let called = self.place.poll(context);
        if let Poll::Ready(Call::End { retry_ms }) = called {
            self.subscription.leave();
            (self.state, self.hint_ms) = (State::Ending, Some(retry_ms));
        }
        if let Poll::Ready(live) = self.subscription.poll_next(context) {
            return Poll::Ready(Some(self.live_bytes(live)));
        }
        if self.state == State::Ending {
            self.state = State::Ended;
            return self.poll_said(context);
        }
        called.map(|_| Some(HEARTBEAT))
    }

    fn live_bytes(&mut self, live: Live) -> Bytes {
        match live {
            Live::Events(bytes) => bytes,
            Live::End(bytes) => {
                self.topics_left = self.topics_left.saturating_sub(1);
                if self.topics_left == 0 {
                    (self.state, self.hint_ms) = (State::Ended, None);
                }
                bytes
            }
            Live::Overrun => {
                self.state = State::Ended;
                Bytes::from_static(b": too slow; events were lost\n\n")
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(seen) = &self.seen {
            seen.ended(self.subscription.events());
        }
    }
}

/// For hyper: an event stream as a response body.
impl http_body::Body for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        self.poll_bytes(context).map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}
