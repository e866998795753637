//! The service behind `sub`: an EventSource stream on live topics (WHATWG HTML, "Server-sent events").

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use tempest_protocol::{Code, Topic};

use crate::{
    Cluster, Refusal,
    caller::{Caller, REQUEST_ID},
    limits::{Census, ClientKey},
    refusal::Form,
    router::PathParams,
    seen::StreamSeen,
    server::Takeover,
    service::tower_service,
    stream::{EventStream, StreamPermit},
    trace::Trace,
    wheel::retry_ms,
};

/// Topics of one stream.
const TOPICS_MAX: usize = 32;

/// Header fields that a route's policies add to its responses. A stream that takes its socket over never returns a
/// response to them, so whoever adds some puts them into the extensions of the request too: they are written with the
/// head, each in place of a field of the same name. All other responses are left to the policies themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseHeaders(pub(crate) HeaderMap);

/// A tower service that opens event streams. Made by [`Cluster::sub`].
#[derive(Clone)]
pub struct Sub {
    cluster: Cluster,
    /// Topics of a route, with `{name}` for parts of the path; absent: the path itself.
    template: Option<Arc<str>>,
    /// Streams of one client on this route.
    census: Arc<Census>,
    per_client: usize,
}

impl Sub {
    pub(crate) fn new(cluster: Cluster, template: Option<Arc<str>>) -> Self {
        Self { cluster, template, census: Arc::default(), per_client: 0 }
    }

    /// The same with a limit for each client; 0 is none.
    pub(crate) fn per_client(self, per_client: usize) -> Self {
        Self { per_client, ..self }
    }

    /// Answers one request. On a plaintext HTTP/1.1 connection of this front's own the stream takes the socket over
    /// and the future never resolves.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let form = Form::of(request.headers());
        self.answer(request).await.unwrap_or_else(|refusal| refusal.respond(form, None))
    }

    /// The same, with a refusal that is not yet a response.
    pub(crate) async fn answer(&self, mut request: Request<Body>) -> Result<Response<Body>, Refusal> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(Refusal::method_not_allowed("GET, HEAD".into()));
        }
        let topics = self.topics(&request)?;
        let mut head = head();
        if request.method() == Method::HEAD {
            return Ok(head.map(|()| Body::empty()));
        }
        let shared = &self.cluster.shared;
        let permit = self.enter(&request)?;
        let subscription = shared.topics.subscribe(&topics).await.map_err(|error| {
            tracing::debug!(%error, "topics cannot be subscribed to");
            Refusal::new(Code::RedisAway)
        })?;
        let seen = request.extensions_mut().remove::<Arc<StreamSeen>>();
        let stream = EventStream::new(
            subscription,
            shared.wheel.join(),
            retry_ms(self.cluster.streams()),
            permit,
            seen,
        );
        match request.extensions_mut().remove::<Takeover>() {
            Some(takeover) => {
                let added = request.extensions_mut().remove::<ResponseHeaders>().unwrap_or_default();
                head.headers_mut().extend(added.0);
                let caller = request.extensions().get::<Arc<Caller>>();
                if let Some(id) = caller.and_then(|caller| caller.request_id.as_ref()) {
                    head.headers_mut().insert(REQUEST_ID, id.to_header());
                }
                if let Some(trace) = request.extensions().get::<Trace>() {
                    trace.opened();
                }
                takeover.take(head, stream).await
            }
            None => Ok(head.map(|()| Body::new(stream))),
        }
    }

    /// A place among the streams that may be open.
    fn enter(&self, request: &Request<Body>) -> Result<StreamPermit, Refusal> {
        let caller = request.extensions().get::<Arc<Caller>>();
        let client = ClientKey::of(caller.and_then(|caller| caller.address));
        let config = self.cluster.shared.config.load();
        let (all, each) = (config.streams_max, config.streams_per_client_max);
        let of_front = self.cluster.shared.streams.enter(client, all, each)?;
        let of_route = match self.per_client {
            0 => None,
            each => Some(self.census.enter(client, usize::MAX, each)?),
        };
        Ok((of_front, of_route))
    }

    /// The topics a request names, each checked after percent-decoding.
    fn topics(&self, request: &Request<Body>) -> Result<Vec<Topic>, Refusal> {
        let not_found = || Refusal::new(Code::NotFound);
        let broker = &self.cluster.shared.broker;
        let mut topics = Vec::new();
        for name in self.names(request).ok_or_else(not_found)? {
            let channel = format!("{}{name}", broker.settings().topic_prefix);
            let topic = Topic::new(&name).map_err(|_| not_found())?;
            if !broker.keys().subscribable(&channel) || topics.len() == TOPICS_MAX {
                return Err(not_found());
            }
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        Ok(topics)
    }

    /// The names a request asks for, decoded but not yet checked. None: it asks for what its route does not offer.
    fn names(&self, request: &Request<Body>) -> Option<Vec<String>> {
        match (&self.template, request.extensions().get::<PathParams>()) {
            (Some(template), Some(params)) => {
                let pieces = template.split(',').map(|piece| offered(piece, params));
                Some(pieces.collect::<Option<Vec<_>>>()?.concat())
            }
            _ => several(request.uri().path().trim_start_matches('/')),
        }
    }
}

/// What one piece of a route's template stands for. Where it is nothing but a part of the path the client names
/// topics freely; elsewhere that part can neither add a topic nor reach below the place it stands in.
fn offered(piece: &str, params: &PathParams) -> Option<Vec<String>> {
    let filled = params.fill(piece);
    if piece.starts_with('{') && piece.find('}') == Some(piece.len() - 1) {
        return several(&filled);
    }
    let name = decoded(&filled)?;
    let slashes = |text: &str| text.matches('/').count();
    (!name.contains(',') && slashes(&name) == slashes(&filled)).then(|| vec![name])
}

fn several(encoded: &str) -> Option<Vec<String>> {
    Some(decoded(encoded)?.split(',').map(str::to_owned).collect())
}

fn decoded(encoded: &str) -> Option<String> {
    percent_encoding::percent_decode_str(encoded).decode_utf8().ok().map(Into::into)
}

/// The head of an event stream.
fn head() -> Response<()> {
    let mut head = Response::new(());
    let headers = head.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    head
}

tower_service!(Sub);
