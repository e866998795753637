//! The span of a job: what its handler logs stands in it, and with the feature `otel` it continues the trace of whoever
//! pushed the job.
//!
//! Spans go to the `tracing` subscriber of the program. Exporting them is the program's, with the layer of
//! `tracing-opentelemetry` for instance.

use tempest_protocol::{Code, Envelope};
use tracing::{Span, field, info_span};

use crate::running::Ended;

/// Begins the span of a job: `job` in logs, `process QUEUE` in traces.
pub(crate) fn begin(envelope: &Envelope, queue: &str) -> Span {
    let span = info_span!(
        target: "tempest_worker::job",
        "job",
        "otel.name" = field::Empty,
        "otel.kind" = "consumer",
        "otel.status_code" = field::Empty,
        "error.type" = field::Empty,
        "tempest.queue" = queue,
        "tempest.action" = envelope.action.as_str(),
        "tempest.job.id" = envelope.id.as_ref().map(|id| id.as_str()),
        "tempest.attempt" = envelope.attempt,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("process {queue}"));
        #[cfg(feature = "otel")]
        otel::continues(&span, envelope.traceparent.as_deref());
    }
    span
}

/// Says how the job ended, unless it went well.
pub(crate) fn end(span: &Span, ended: &Ended) {
    let code = match ended {
        Ended::Itself(Ok(_)) => return,
        Ended::Itself(Err(failed)) => failed.code(),
        Ended::Cancelled => "cancelled",
        Ended::Late => Code::Expired.as_str(),
        Ended::TooLong => Code::Timeout.as_str(),
        Ended::CutShort => Code::WorkerLost.as_str(),
    };
    span.record("error.type", code);
    // Nobody wanted the result: that is no mistake of the handler's.
    if !matches!(ended, Ended::Cancelled | Ended::Late) {
        span.record("otel.status_code", "ERROR");
    }
}

/// The `traceparent` that names this span, if it is exported.
#[cfg(feature = "otel")]
pub(crate) use otel::traceparent;

/// The `traceparent` that names this span: none, since nothing is exported.
#[cfg(not(feature = "otel"))]
pub(crate) fn traceparent(_: &Span) -> Option<String> {
    None
}

#[cfg(feature = "otel")]
mod otel {
    use opentelemetry::{
        Context, SpanId, TraceFlags, TraceId,
        trace::{SpanContext, TraceContextExt, TraceState},
    };
    use tracing::{Span, debug};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    /// Makes the span a child of the one that a job names.
    pub(super) fn continues(span: &Span, traceparent: Option<&str>) {
        let Some(remote) = traceparent.and_then(remote) else { return };
        if let Err(error) = span.set_parent(Context::new().with_remote_span_context(remote)) {
            debug!(%error, "no layer of tracing-opentelemetry takes the span of this job");
        }
    }

    pub(crate) fn traceparent(span: &Span) -> Option<String> {
        let context = span.context();
        let span = context.span();
        let span = span.span_context();
        let flags = (span.trace_flags() & TraceFlags::SAMPLED).to_u8();
        span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
    }

    /// The span that a `traceparent` names (W3C Trace Context, section 3.2).
    fn remote(traceparent: &str) -> Option<SpanContext> {
        let mut parts = traceparent.split('-');
        let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let lengths = [version.len(), trace.len(), parent.len(), flags.len()];
        if lengths != [2, 32, 16, 2] || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, parent) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(parent).ok()?);
        let span = SpanContext::new(trace, parent, flags, true, TraceState::default());
        span.is_valid().then_some(span)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_traceparent_is_read() {
            let span = remote("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("a span");
            assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(span.span_id().to_string(), "b7ad6b7169203331");
            assert!(span.is_sampled() && span.is_remote());
            let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more";
            assert!(remote(later).is_some_and(|span| !span.is_sampled()));
        }

        #[test]
        fn what_is_no_traceparent_begins_a_trace() {
            let zeros = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
            let long = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
            for text in ["", "00-ab-cd-01", &zeros, long, "00-é", &long.replace("00-0", "ff-0")] {
                assert!(remote(text).is_none(), "{text}");
            }
        }
    }
}
