//! A request as it is counted, whichever way it ends: with a response, as an event stream, or because its client left.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use http::Request;

use crate::{
    access_log::StreamLine,
    metrics::{CLIENT_LEFT, Metrics, Traffic, method_slot},
    parts::Parts,
};

/// A request that is being answered. If it is dropped before it ended, its client has left, or it lives on as an event
/// stream.
pub(crate) struct Seen {
    method: usize,
    /// Of its route, once that is known.
    traffic: Option<Arc<Traffic>>,
    stream: Option<Arc<StreamSeen>>,
}

impl Seen {
    /// A request has come.
    pub(crate) fn new<B>(request: &Request<B>) -> Self {
        Self { method: method_slot(request.method()), traffic: None, stream: None }
    }

    /// It takes a route that may make an event stream of it. Gives whom to tell when that opens.
    pub(crate) fn may_stream(
        &mut self,
        traffic: &Arc<Traffic>,
        line: Option<Box<StreamLine>>,
    ) -> Arc<StreamSeen> {
        let stream = Arc::new(StreamSeen {
            method: self.method,
            traffic: traffic.clone(),
            opened: OnceLock::new(),
            line,
        });
        self.stream = Some(stream.clone());
        stream
    }

    /// It takes a route.
    pub(crate) fn takes(&mut self, traffic: &Arc<Traffic>) {
        traffic.begun();
        self.traffic = Some(traffic.clone());
    }

    /// It has a response.
    pub(crate) fn ended(mut self, metrics: &Metrics, status: u16, total: Duration, parts: &Parts) {
        let traffic = self.traffic.take();
        if let Some(traffic) = &traffic {
            traffic.over();
        }
        if !self.is_stream() {
            let traffic = traffic.as_ref().unwrap_or(&metrics.unrouted);
            traffic.answered(self.method, status);
            traffic.took(total, parts);
        }
    }

    fn is_stream(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_open())
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        let Some(traffic) = self.traffic.take() else { return };
        traffic.over();
        if !self.is_stream() {
            traffic.answered(self.method, CLIENT_LEFT);
        }
    }
}

/// An event stream, from the request for it to its end.
pub(crate) struct StreamSeen {
    method: usize,
    traffic: Arc<Traffic>,
    /// When it opened.
    opened: OnceLock<Instant>,
    /// None if nothing is logged of it.
    line: Option<Box<StreamLine>>,
}

impl StreamSeen {
    /// It opens now.
    pub(crate) fn opens(&self) {
        self.opened.get_or_init(Instant::now);
        self.traffic.answered(self.method, 200);
        if let Some(line) = &self.line {
            line.opened(&self.traffic.route.route);
        }
    }

    /// Whether it has opened.
    pub(crate) fn is_open(&self) -> bool {
        self.opened.get().is_some()
    }

    /// It has ended after so many events.
    pub(crate) fn ended(&self, events: u64) {
        if let (Some(line), Some(opened)) = (&self.line, self.opened.get()) {
            line.ended(&self.traffic.route.route, opened.elapsed(), events);
        }
    }
}
