//! One request and its response: what is done to every one of them, whatever its route.

use std::{sync::atomic::Ordering, time::Instant};

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::Authority};
use tempest_protocol::Code;
use tracing::debug;

use crate::{
    Refusal,
    caller::{Caller, REQUEST_ID},
    framing,
    metrics::Metrics,
    parts::Parts,
    recent::Recent,
    refusal::Form,
    seen::Seen,
    server::{Peer, Serving},
};

/// With this field, whatever its value, a client asks for `Server-Timing`.
const ASKS_TIMING: &str = "x-server-timing";
const SERVER_TIMING: &str = "server-timing";

/// Answers one request of this front's own server.
pub(crate) async fn answer(serving: &Serving, mut request: Request<Body>, peer: Peer) -> Response<Body> {
    let mut exchange = Exchange::begin(serving, &mut request, peer);
    request.extensions_mut().insert(exchange.caller.clone());
    let router = serving.router.load_full();
    let version = request.version();
    let target_bytes_max = serving.cluster.shared.config.load().http.target_bytes_max;
    let answer = match framing::check(&request, target_bytes_max) {
        Ok(()) => match redirected(serving, &exchange, &request) {
            Some(response) => Ok(response),
            None => match router.find(&request) {
                Ok(found) => {
                    exchange.seen.takes(&found, &mut request);
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
        exchange.note(&serving.recent, refusal);
    }
    let response = exchange.end(&serving.cluster.shared.metrics, answer);
    // HTTP/2 says goodbye in a frame of its own.
    if is_last && version <= Version::HTTP_11 { closing(response) } else { response }
}

/// Whether nobody knows where the next request of the connection would begin.
fn loses_track(code: Code) -> bool {
    use Code::{BadHttp, LengthRequired, NotImplemented, SlowRequest, TargetTooLong, TooLarge};
    matches!(code, BadHttp | LengthRequired | NotImplemented | SlowRequest | TargetTooLong | TooLarge)
}

/// Where a request in plaintext is sent to, if it is to come again in TLS.
fn redirected(serving: &Serving, exchange: &Exchange, request: &Request<Body>) -> Option<Response<Body>> {
    let listening = serving.tls_port.filter(|_| exchange.caller.scheme == "http")?;
    let port = match &serving.cluster.shared.config.load().tls {
        tls if !tls.redirect => return None,
        tls if tls.port == 0 => listening,
        tls => tls.port,
    };
    let authority: Authority = exchange.caller.host.parse().ok()?;
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
    began: Instant,
    tells_timing: bool,
    caller: Caller,
    method: Method,
    target: Uri,
    /// How its client reads a refusal.
    form: Form,
    seen: Seen,
}

impl Exchange {
    fn begin(serving: &Serving, request: &mut Request<Body>, peer: Peer) -> Self {
        let config = serving.cluster.shared.config.load();
        let caller = Caller::admit(request, peer, &config.trusted_proxies);
        let asked = || request.headers().contains_key(ASKS_TIMING);
        Self {
            began: Instant::now(),
            tells_timing: config.server_timing.tells(asked),
            caller,
            method: request.method().clone(),
            target: request.uri().clone(),
            form: Form::of(request.headers()),
            seen: Seen::new(request),
        }
    }

    fn note(&self, recent: &Recent, refusal: &Refusal) {
        let Caller { address, request_id, .. } = &self.caller;
        recent.note(refusal, address.as_ref(), request_id.as_ref(), Some((&self.method, self.target.path())));
    }

    fn end(self, metrics: &Metrics, answer: Result<Response<Body>, Refusal>) -> Response<Body> {
        if let Err(refusal) = &answer {
            metrics.refused(refusal.code());
        }
        let mut response =
            answer.unwrap_or_else(|refusal| refusal.respond(self.form, self.caller.request_id.as_ref()));
        if let Some(id) = &self.caller.request_id {
            response.headers_mut().insert(REQUEST_ID, id.to_header());
        }
        let now = Instant::now();
        let parts = Parts::of(self.began, now, response.extensions().get().copied());
        if self.tells_timing
            && let Some(value) = parts.to_header()
        {
            response.headers_mut().append(SERVER_TIMING, value);
        }
        let status = response.status().as_u16();
        self.seen.ended(metrics, status, now - self.began, &parts);
        debug!(client = ?self.caller.address, method = %self.method, target = %self.target, status, "answered");
        response
    }
}

/// The same as the last response of its connection.
pub(crate) fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
