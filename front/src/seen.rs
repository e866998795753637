//! A request as it is counted, whichever way it ends: with a response, as an event stream, or because its client left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::Request;

use crate::{
    metrics::{CLIENT_LEFT, Metrics, Traffic, method_slot},
    parts::Parts,
    router::Found,
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

    /// It takes a route. What may become an event stream finds in its extensions whom to tell.
    pub(crate) fn takes(&mut self, found: &Found, request: &mut Request<Body>) {
        let traffic = found.traffic().clone();
        traffic.begun();
        if found.is_topic() {
            let stream = Arc::new(StreamSeen::new(self.method, traffic.clone()));
            request.extensions_mut().insert(stream.clone());
            self.stream = Some(stream);
        }
        self.traffic = Some(traffic);
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
        self.stream.as_ref().is_some_and(|stream| stream.is_open.load(Ordering::Relaxed))
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
    is_open: AtomicBool,
}

impl StreamSeen {
    fn new(method: usize, traffic: Arc<Traffic>) -> Self {
        Self { method, traffic, is_open: AtomicBool::new(false) }
    }

    /// It opens now.
    pub(crate) fn opened(&self) {
        self.is_open.store(true, Ordering::Relaxed);
        self.traffic.answered(self.method, 200);
    }
}
