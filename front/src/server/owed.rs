//! Whether a connection still owes its client anything. A front that stops waits for what was begun; a client that has
//! sent half a head has begun nothing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{access_log::Line, exchange::Answered};

/// The responses a connection owes. Clones count the same ones.
#[derive(Clone, Default)]
pub(super) struct Owed(Arc<State>);

#[derive(Default)]
struct State {
    open: AtomicUsize,
    /// Requests that were answered.
    answered: AtomicUsize,
    /// Whether something has come since nothing was owed.
    heard: AtomicBool,
}

/// One of them: from the request's head until the last of its body is handed to the connection.
pub(super) struct Debt(Owed);

impl Owed {
    /// A request has come.
    pub(super) fn one(&self) -> Debt {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Debt(self.clone())
    }

    /// Whether there is none.
    pub(super) fn nothing(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) == 0
    }

    /// How many responses were owed and no longer are.
    pub(super) fn answered(&self) -> usize {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// Bytes have come.
    pub(super) fn hear(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
    }

    /// Whether bytes have come since the last debt was paid: with nothing owed, part of a head.
    pub(super) fn has_heard(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed)
    }
}

impl Debt {
    /// It is paid when this response's body ends or is given up.
    pub(super) fn with(self, answered: Answered) -> Response<OwedBody> {
        let Answered { response, line } = answered;
        response.map(|body| OwedBody { body, line, _debt: self })
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        let state = &*self.0.0;
        state.heard.store(false, Ordering::Relaxed);
        state.answered.fetch_add(1, Ordering::Relaxed);
        state.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A body that is owed until it is dropped.
    pub(super) struct OwedBody {
        #[pin]
        body: Body,
        // Written when the rest is dropped.
        line: Option<Box<Line>>,
        _debt: Debt,
    }
}

impl http_body::Body for OwedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(line)) = (&polled, this.line) {
            line.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
