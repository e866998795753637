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
    config::TlsConfig,
    framing,
    metrics::Metrics,
    parts::{JobTime, Parts},
    refusal::Form,
    router::Found,
    seen::{Seen, StreamSeen},
    server::{Peer, Serving, Takeover},
    trace::RequestSpan,
};

/// With this field, whatever its value, a client asks for `Server-Timing`.
const ASKS_TIMING: &str = "x-server-timing";
const SERVER_TIMING: &str = "server-timing";

/// A response, and the time of its job if it comes from one.
type Replied = (Response<Body>, Option<JobTime>);

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

/// Answers one request of this front's own server. `takeover`: the offer of its connection to give its socket away, if
/// it makes one.
///
/// There is one such future for each request that waits: what is rare and large in it is boxed.
pub(crate) async fn answer(
    serving: &Serving,
    mut request: Request<Body>,
    peer: Peer,
    takeover: Option<Takeover>,
) -> Answered {
    let version = request.version();
    let mut exchange = Exchange::begin(serving, &mut request, peer);
    let mut form = None;
    let answer = match find(serving, &exchange.line.caller, &request) {
        Ok(Goes::To(found)) => {
            exchange.takes(&found, &mut request);
            match found.work() {
                Some(work) => {
                    let answer = work.answer(&mut request, &exchange.line.caller).await;
                    answer.map(|(response, time)| (response, Some(time)))
                }
                None => {
                    form = Some(Form::of(request.headers()));
                    Box::pin(exchange.answer_at(found, std::mem::take(&mut request), takeover)).await
                }
            }
        }
        Ok(Goes::Elsewhere(response)) => Ok((response, None)),
        Err(refusal) => Err(refusal),
    };
    let is_last =
        serving.closing.load(Ordering::Relaxed) || answer.as_ref().is_err_and(|it| loses_track(it.code()));
    if let Err(refusal) = &answer {
        exchange.line.note(&serving.recent, refusal);
    }
    let form = || form.unwrap_or_else(|| Form::of(request.headers()));
    let answered = exchange.end(&serving.cluster.shared.metrics, answer, form);
    // HTTP/2 says goodbye in a frame of its own.
    if is_last && version <= Version::HTTP_11 { answered.closing() } else { answered }
}

/// What becomes of a request that is not refused.
enum Goes {
    /// It takes a route.
    To(Found),
    /// It is to come again, in TLS.
    Elsewhere(Response<Body>),
}

fn find(serving: &Serving, caller: &Caller, request: &Request<Body>) -> Result<Goes, Refusal> {
    let config = serving.cluster.shared.config.load();
    framing::check(request, config.http.target_bytes_max)?;
    match redirected(serving, &config.tls, caller, request) {
        Some(response) => Ok(Goes::Elsewhere(response)),
        None => serving.router.load().find(request).map(Goes::To),
    }
}

/// Whether nobody knows where the next request of the connection would begin.
fn loses_track(code: Code) -> bool {
    use Code::{BadHttp, LengthRequired, NotImplemented, SlowRequest, TargetTooLong, TooLarge};
    matches!(code, BadHttp | LengthRequired | NotImplemented | SlowRequest | TargetTooLong | TooLarge)
}

/// Where a request in plaintext is sent to, if it is to come again in TLS.
fn redirected(
    serving: &Serving,
    tls: &TlsConfig,
    caller: &Caller,
    request: &Request<Body>,
) -> Option<Response<Body>> {
    let listening = serving.tls_port.filter(|_| caller.scheme == "http")?;
    let port = match tls {
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
    seen: Seen,
    /// If requests are traced.
    span: Option<RequestSpan>,
}

impl Exchange {
    fn begin(serving: &Serving, request: &mut Request<Body>, peer: Peer) -> Self {
        let config = serving.cluster.shared.config.load();
        let caller = Arc::new(Caller::admit(request, peer, &config.trusted_proxies));
        let span = serving.cluster.shared.tracer.as_ref().map(|tracer| tracer.begin(request, &caller));
        let asked = || request.headers().contains_key(ASKS_TIMING);
        Self {
            tells_timing: config.server_timing.tells(asked),
            line: Line::begin(request, caller, config.access_log),
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

    /// Answers a request whose route does more than hand it to a queue.
    async fn answer_at(
        &self,
        found: Found,
        mut request: Request<Body>,
        takeover: Option<Takeover>,
    ) -> Result<Replied, Refusal> {
        let extensions = request.extensions_mut();
        extensions.insert(self.line.caller.clone());
        if let Some(takeover) = takeover {
            extensions.insert(takeover);
        }
        let response = found.answer(request).await?;
        let time = response.extensions().get().copied();
        Ok((response, time))
    }

    /// `form`: how its client reads a refusal.
    fn end(
        self,
        metrics: &Metrics,
        answer: Result<Replied, Refusal>,
        form: impl FnOnce() -> Form,
    ) -> Answered {
        let Self { tells_timing, line, seen, span } = self;
        let (id, code) = (&line.caller.request_id, answer.as_ref().err().map(Refusal::code));
        if let Some(code) = code {
            metrics.refused(code);
        }
        let (mut response, job) =
            answer.unwrap_or_else(|refusal| (refusal.respond(form(), id.as_ref()), None));
        if let Some(id) = id {
            response.headers_mut().insert(REQUEST_ID, id.to_header());
        }
        let now = Instant::now();
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
