//! One event stream: what a subscription yields, heartbeats, and an end with a hint. It knows nothing of HTTP; it is
//! polled for bytes, by hyper or by the writer that took the socket over.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tempest_broker::{Live, Subscription};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::open_streams::StreamPermit;

/// Browsers come back after this long, drawn evenly: a front that restarts is not stormed.
const RETRY_MS: std::ops::Range<u32> = 1_000..4_000;
/// A front that stops ends its streams spread over this time.
const END_SPREAD: Duration = Duration::from_secs(1);

/// An open event stream.
pub(crate) struct EventStream {
    subscription: Subscription,
    topics_left: usize,
    heartbeat: Duration,
    timer: Pin<Box<Sleep>>,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    first: bool,
    ended: bool,
    _permit: StreamPermit,
}

impl EventStream {
    pub(crate) fn new(
        subscription: Subscription,
        heartbeat: Duration,
        stopping: &CancellationToken,
        permit: StreamPermit,
    ) -> Self {
        Self {
            topics_left: subscription.topics(),
            subscription,
            heartbeat,
            timer: Box::pin(sleep_until(Instant::now() + heartbeat)),
            stopping: Some(Box::pin(stopping.clone().cancelled_owned())),
            first: true,
            ended: false,
            _permit: permit,
        }
    }

    /// The next bytes; none after the end. Cancel-safe.
    pub(crate) fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.first) {
            return Poll::Ready(Some(retry_hint()));
        }
        if let Poll::Ready(live) = self.subscription.poll_next(context) {
            return Poll::Ready(Some(self.live_bytes(live)));
        }
        if self.stopping.as_mut().is_some_and(|stopping| stopping.as_mut().poll(context).is_ready()) {
            self.stopping = None;
            self.timer.as_mut().reset(Instant::now() + END_SPREAD.mul_f64(fastrand::f64()));
        }
        ready!(self.timer.as_mut().poll(context));
        if self.stopping.is_none() {
            self.ended = true;
            return Poll::Ready(Some(retry_hint()));
        }
        let next = self.timer.deadline() + self.heartbeat;
        self.timer.as_mut().reset(next);
        Poll::Ready(Some(Bytes::from_static(b":\n\n")))
    }

    fn live_bytes(&mut self, live: Live) -> Bytes {
        match live {
            Live::Event(bytes) => bytes,
            Live::End(bytes) => {
                self.topics_left = self.topics_left.saturating_sub(1);
                self.ended = self.topics_left == 0;
                bytes
            }
            Live::Overrun => {
                self.ended = true;
                Bytes::from_static(b": too slow; events were lost\n\n")
            }
        }
    }
}

fn retry_hint() -> Bytes {
    format!("retry: {}\n\n", fastrand::u32(RETRY_MS)).into()
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
