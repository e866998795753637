//! `traceparent` and `tracestate`, in and out (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt, TraceState},
};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The most of a `tracestate` that is passed on, in bytes; a longer one is left out whole (section 3.3.1.5).
const TRACESTATE_BYTES_MAX: usize = 512;

/// The `traceparent` of a request, if it can be passed on (section 3.2).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(&TRACEPARENT)?.to_str().ok()?;
    fields(value).map(|_| value.to_owned())
}

/// Trace, parent and flags of a `traceparent`.
fn fields(value: &str) -> Option<[&str; 3]> {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let names = |part: &str, length: usize| hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let mut parts = value.split('-');
    let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    let known = version == "00" && parts.next().is_none();
    let later = hex(version, 2) && !matches!(version, "00" | "ff");
    let good = (known || later) && names(trace, 32) && names(parent, 16) && hex(flags, 2);
    good.then_some([trace, parent, flags])
}

/// What a request continues: the span its client names, else nothing, which begins a trace.
pub(super) fn parent(headers: &HeaderMap) -> Context {
    match remote(headers) {
        Some(remote) => Context::new().with_remote_span_context(remote),
        None => Context::new(),
    }
}

fn remote(headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let value = values.next()?.to_str().ok()?;
    // Of two nobody knows which counts.
    if values.next().is_some() {
        return None;
    }
    let [trace, parent, flags] = fields(value)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(parent).ok()?,
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        state(headers),
    ))
}

/// The `tracestate`; one that cannot be read counts for nothing and does not spoil the `traceparent`.
fn state(headers: &HeaderMap) -> TraceState {
    let values: Vec<_> =
        headers.get_all(&TRACESTATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let whole = values.join(",");
    let fits = !whole.is_empty() && whole.len() <= TRACESTATE_BYTES_MAX;
    fits.then(|| whole.parse().ok()).flatten().unwrap_or_default()
}

/// The `traceparent` that names a span; none for one that belongs to no trace.
pub(super) fn to_header(span: &SpanContext) -> Option<HeaderValue> {
    let flags = span.trace_flags() & TraceFlags::SAMPLED;
    let text = format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), flags.to_u8());
    span.is_valid().then(|| HeaderValue::try_from(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().expect("a value"));
        }
        headers
    }

    #[test]
    fn a_parent_is_read_and_named_again() {
        let span = remote(&headers(&[(TRACEPARENT, GIVEN), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")]));
        let span = span.expect("a parent");
        assert!(span.is_remote() && span.is_sampled());
        assert_eq!(to_header(&span).expect("a value"), GIVEN);
        assert_eq!(span.trace_state().header(), "a=1,b=2");
    }

    #[test]
    fn flags_nobody_knows_are_not_passed_on() {
        let span = remote(&headers(&[(TRACEPARENT, &GIVEN.replace("-01", "-fe"))])).expect("a parent");
        assert!(!span.is_sampled());
        assert_eq!(to_header(&span).expect("a value"), GIVEN.replace("-01", "-00").as_str());
    }

    #[test]
    fn a_bad_state_does_not_spoil_a_parent() {
        for state in ["shop", "a=1,A=2", &format!("a={}", "x".repeat(600))] {
            let span = remote(&headers(&[(TRACEPARENT, GIVEN), (TRACESTATE, state)])).expect("a parent");
            assert_eq!(span.trace_state().header(), "", "{state}");
        }
    }

    #[test]
    fn what_is_no_parent_begins_a_trace() {
        let zero_trace = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
        for value in [
            "",
            "00",
            &zero_trace,
            &GIVEN.to_uppercase(),
            &GIVEN.replace("00-", "ff-"),
            &format!("{GIVEN}-1"),
        ] {
            assert!(remote(&headers(&[(TRACEPARENT, value)])).is_none(), "{value}");
        }
        assert!(remote(&headers(&[(TRACEPARENT, GIVEN), (TRACEPARENT, GIVEN)])).is_none());
        assert!(to_header(&SpanContext::empty_context()).is_none());
    }
}
