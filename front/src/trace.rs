//! Traces (OpenTelemetry): one span per request, which continues the trace of its client and is the parent of the span
//! of its worker.
//!
//! Spans go to the tracer provider of the process; exporting them is the program's. Without [`FrontConfig::traces`]
//! nothing here is called.
//!
//! [`FrontConfig::traces`]: crate::FrontConfig::traces

mod context;

use std::time::SystemTime;

use http::{HeaderMap, Method, Request, StatusCode, Version, uri::Authority};
use opentelemetry::{
    Context, KeyValue,
    global::{self, BoxedTracer},
    trace::{SpanKind, Status, TraceContextExt, Tracer as _},
};
use tempest_protocol::{Action, Code, JobId, Queue};

use context::TRACEPARENT;
pub(crate) use context::traceparent;

use crate::{
    caller::Caller,
    parts::{JobTime, Parts},
};

/// Begins the spans of requests.
pub(crate) struct Tracer(BoxedTracer);

impl Tracer {
    /// One that belongs to the tracer provider the process has at this moment.
    pub(crate) fn new() -> Self {
        Self(global::tracer("tempest"))
    }

    /// Begins the span of a request. From here on the request's `traceparent` names this span, so that whoever it is
    /// handed to continues there (W3C Trace Context, section 3.4).
    pub(crate) fn begin<B>(&self, request: &mut Request<B>, caller: &Caller) -> RequestSpan {
        let parent = context::parent(request.headers());
        let builder = self
            .0
            .span_builder(span_name(request.method()))
            .with_kind(SpanKind::Server)
            .with_attributes(attributes(request, caller));
        let span = self.0.build_with_context(builder, &parent);
        let trace = Trace(Context::new().with_span(span));
        trace.to_header(request.headers_mut());
        request.extensions_mut().insert(trace.clone());
        RequestSpan { trace }
    }
}

/// The span of a request, to be told more. Lives in the extensions of requests that are traced. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Trace(Context);

impl Trace {
    /// The request became this job.
    pub(crate) fn job(&self, id: &JobId, queue: &Queue, action: &Action) {
        let span = self.0.span();
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("tempest.queue", queue.as_str().to_owned()),
                KeyValue::new("tempest.action", action.as_str().to_owned()),
                KeyValue::new("tempest.job.id", id.as_str().to_owned()),
            ]);
        }
    }

    /// The request became an event stream of its own, which nobody but the client ends: its span ends here.
    pub(crate) fn opened(&self) {
        let span = self.0.span();
        span.set_attribute(status_code(StatusCode::OK));
        span.end();
    }

    fn to_header(&self, headers: &mut HeaderMap) {
        let span = self.0.span();
        // Without a tracer provider there is none, and what the client sent stays.
        if let Some(value) = context::to_header(span.span_context()) {
            headers.insert(&TRACEPARENT, value);
        }
    }

    /// Says when the job was pushed, claimed and done, as far as its worker tells.
    fn tell_parts(&self, job: JobTime, parts: &Parts) {
        let span = self.0.span();
        let Some(pushed) = SystemTime::now().checked_sub(job.waited) else { return };
        span.add_event_with_timestamp("tempest.pushed", pushed, Vec::new());
        let Some(queue) = parts.queue else { return };
        span.add_event_with_timestamp("tempest.claimed", pushed + queue, Vec::new());
        let Some(worker) = parts.worker else { return };
        span.add_event_with_timestamp("tempest.done", pushed + queue + worker, Vec::new());
    }
}

/// The span of a request that is being answered. Dropped before its end, it says that its client left.
pub(crate) struct RequestSpan {
    trace: Trace,
}

impl RequestSpan {
    /// The request takes this route.
    pub(crate) fn routed(&self, method: &Method, path: &str) {
        let span = self.trace.0.span();
        if span.is_recording() {
            span.update_name(format!("{} {path}", span_name(method)));
            span.set_attribute(KeyValue::new("http.route", path.to_owned()));
        }
    }

    /// Ends the span: the response is ready. An event stream goes on after that.
    pub(crate) fn end(self, status: StatusCode, refusal: Option<Code>, job: Option<JobTime>, parts: &Parts) {
        let span = self.trace.0.span();
        if !span.is_recording() {
            return;
        }
        span.set_attribute(status_code(status));
        let is_error = status.is_server_error();
        match refusal {
            Some(code) => span.set_attribute(KeyValue::new("error.type", code.as_str())),
            None if is_error => span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned())),
            None => {}
        }
        if is_error {
            span.set_status(Status::error(""));
        }
        if let Some(job) = job {
            self.trace.tell_parts(job, parts);
        }
        let parts = [("queue", parts.queue), ("worker", parts.worker), ("reply", parts.reply)];
        span.set_attributes(parts.into_iter().filter_map(|(name, part)| {
            Some(KeyValue::new(format!("tempest.{name}_ms"), part?.as_secs_f64() * 1e3))
        }));
        span.end();
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let span = self.trace.0.span();
        // A span that has ended does not record.
        if span.is_recording() {
            span.set_attribute(KeyValue::new("error.type", "client_gone"));
            span.end();
        }
    }
}

fn status_code(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

/// What OpenTelemetry wants to know of an HTTP server's request, and what it is called in the log. The query is not
/// among it: it may hold secrets.
fn attributes<B>(request: &Request<B>, caller: &Caller) -> Vec<KeyValue> {
    let mut known = vec![
        KeyValue::new("http.request.method", method_name(request.method())),
        KeyValue::new("url.path", request.uri().path().to_owned()),
        KeyValue::new("url.scheme", caller.scheme),
        KeyValue::new("network.protocol.version", version(request.version())),
    ];
    if let Some(address) = caller.address {
        known.push(KeyValue::new("client.address", address.to_string()));
    }
    if let Ok(authority) = caller.host.parse::<Authority>() {
        known.push(KeyValue::new("server.address", authority.host().to_owned()));
        known.extend(authority.port_u16().map(|port| KeyValue::new("server.port", i64::from(port))));
    }
    if let Some(id) = &caller.request_id {
        known.push(KeyValue::new("tempest.request.id", id.as_str().to_owned()));
    }
    known
}

/// Methods nobody knows are one, so that a client cannot make up names of spans.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 10] =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

fn span_name(method: &Method) -> &'static str {
    match method_name(method) {
        "_OTHER" => "HTTP",
        name => name,
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}
