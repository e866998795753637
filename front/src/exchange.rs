//! One request and its response: what is done to every one of them, whatever its route.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use axum::body::Body;
use http::{HeaderValue, Request, Response, StatusCode, Version, header, uri::Authority};
use tempest_protocol::Code;

use crate::{
    Refusal,
    access_log::Line,
    caller::{Caller, REQUEST_ID},
    framing,
    metrics::Metrics,
    parts::Parts,
    refusal::Form,
    router::Found,
    seen::{Seen, StreamSeen},
    server::{Peer, Serving},
    trace::RequestSpan,
};

/// With this field, whatever its value, a client asks for `Server-Timing`.
const ASKS_TIMING: &str = "x-server-timing";
const SERVER_TIMING: &str = "server-timing";

/// A response on its way, and the line that is logged when it has gone.
pub(crate) struct Answered {
    pub(crate) response: Response<Body>,
    pub(crate) line: Option<Box<Line>>,
}

impl Answered {
    /// The same as the last response of its connection.
    pub(crate) fn closing(mut self) -> Self {
        self.response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        self
    }
}

/// Answers one request of this front's own server.
pub(crate) async fn answer(serving: &Serving, mut request: Request<Body>, peer: Peer) -> Answered {
    let mut exchange = Exchange::begin(serving, &mut request, peer);
    request.extensions_mut().insert(exchange.line.caller.clone());
    let router = serving.router.load_full();
    let version = request.version();
    let target_bytes_max = serving.cluster.shared.config.load().http.target_bytes_max;
    let answer = match framing::check(&request, target_bytes_max) {
        Ok(()) => match redirected(serving, &exchange, &request) {
            Some(response) => Ok(response),
            None => match router.find(&request) {
                Ok(found) => {
                    exchange.takes(&found, &mut request);
                    found.answer(request).await
                }
                Err(refusal) => Err(refusal),
            },
        },
        Err(refusal) => Err(refusal),
    };
    let is_last =
        serving.closing.load(Ordering::Relaxed) || answer.as_ref().is_err_and(|it| loses_track(it.code()));
    if let Err(refusal) = &answer {
        exchange.line.note(&serving.recent, refusal);
    }
    let answered = exchange.end(&serving.cluster.shared.metrics, answer);
    // HTTP/2 says goodbye in a frame of its own.
    if is_last && version <= Version::HTTP_11 { answered.closing() } else { answered }
}

/// Whether nobody knows where the next request of the connection would begin.
fn loses_track(code: Code) -> bool {
    use Code::{BadHttp, LengthRequired, NotImplemented, SlowRequest, TargetTooLong, TooLarge};
    matches!(code, BadHttp | LengthRequired | NotImplemented | SlowRequest | TargetTooLong | TooLarge)
}

/// Where a request in plaintext is sent to, if it is to come again in TLS.
fn redirected(serving: &Serving, exchange: &Exchange, request: &Request<Body>) -> Option<Response<Body>> {
    let caller = &exchange.line.caller;
    let listening = serving.tls_port.filter(|_| caller.scheme == "http")?;
    let port = match &serving.cluster.shared.config.load().tls {
        tls if !tls.redirect => return None,
        tls if tls.port == 0 => listening,
        tls => tls.port,
    };
    let authority: Authority = caller.host.parse().ok()?;
    let host = authority.host();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let location = match port {
        443 => format!("https://{host}{target}"),
        port => format!("https://{host}:{port}{target}"),
    };
    let mut response = Response::new(Body::empty());
    // 308: the method and the body stay as they are.
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::try_from(location).ok()?);
    Some(response)
}

/// A request that is being answered.
struct Exchange {
    tells_timing: bool,
    line: Line,
    /// How its client reads a refusal.
    form: Form,
    seen: Seen,
    /// If requests are traced.
    span: Option<RequestSpan>,
}

impl Exchange {
    fn begin(serving: &Serving, request: &mut Request<Body>, peer: Peer) -> Self {
        let config = serving.cluster.shared.config.load();
        let caller = Caller::admit(request, peer, &config.trusted_proxies);
        let span = serving.cluster.shared.tracer.as_ref().map(|tracer| tracer.begin(request, &caller));
        let asked = || request.headers().contains_key(ASKS_TIMING);
        Self {
            tells_timing: config.server_timing.tells(asked),
            line: Line::begin(request, caller, config.access_log),
            form: Form::of(request.headers()),
            seen: Seen::new(request),
            span,
        }
    }

    /// What may become an event stream finds in the request's extensions whom to tell.
    fn takes(&mut self, found: &Found, request: &mut Request<Body>) {
        let traffic = found.traffic();
        let stream = found.is_topic().then(|| self.seen.may_stream(traffic, self.line.of_stream()));
        self.line.takes(traffic, stream.as_ref());
        if let Some(stream) = stream {
            request.extensions_mut().insert::<Arc<StreamSeen>>(stream);
        }
        self.seen.takes(traffic);
        if let Some(span) = &self.span {
            span.routed(request.method(), found.path());
        }
    }

    fn end(self, metrics: &Metrics, answer: Result<Response<Body>, Refusal>) -> Answered {
        let Self { tells_timing, line, form, seen, span } = self;
        let (id, code) = (&line.caller.request_id, answer.as_ref().err().map(Refusal::code));
        if let Some(code) = code {
            metrics.refused(code);
        }
        let mut response = answer.unwrap_or_else(|refusal| refusal.respond(form, id.as_ref()));
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id.to_header());
        }
        let now = Instant::now();
        let job = response.extensions().get().copied();
        let parts = Parts::of(line.began, now, job);
        if tells_timing && let Some(value) = parts.to_header() {
            response.headers_mut().append(SERVER_TIMING, value);
        }
        if let Some(span) = span {
            span.end(response.status(), code, job, &parts);
        }
        let status = response.status().as_u16();
        seen.ended(metrics, status, now - line.began, &parts);
        Answered { response, line: line.answered(status, code) }
    }
}
