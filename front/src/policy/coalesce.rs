//! Identical GETs in flight share one job. Whoever leaves, leaves the others waiting; the job is cancelled with the last.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use tempest_protocol::Code;

use crate::{Refusal, caller::Caller, parts::JobTime};

/// Requests that differ in one of these are not identical.
const TELLING: [HeaderName; 8] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AUTHORIZATION,
    header::COOKIE,
    header::RANGE,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
];

type Work = BoxFuture<'static, Result<Kept, Refusal>>;
type InFlight = HashMap<Key, WeakShared<Work>>;

/// The calls of a route that are in flight.
#[derive(Default)]
pub(super) struct Flights(Mutex<InFlight>);

/// What makes requests identical.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    scheme: &'static str,
    host: String,
    target: String,
    fields: Vec<Option<Bytes>>,
}

/// A response that several clients get.
#[derive(Clone)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    time: Option<JobTime>,
}

impl Flights {
    /// Answers a request with the response to an identical one in flight, or else by `call`. A response that sets a
    /// cookie is for the client alone whose request made the job: the others call by themselves.
    pub(super) async fn answer<F, C>(
        &self,
        request: Request<Body>,
        call: C,
    ) -> Result<Response<Body>, Refusal>
    where
        F: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
        C: Fn(Request<Body>) -> F,
    {
        let Some(key) = key(&request) else { return call(request).await };
        let (parts, _) = request.into_parts();
        let again = || Request::from_parts(parts.clone(), Body::empty());
        let (flight, is_first) = self.join(&key, || call(again()));
        let kept = flight.await;
        self.forget(&key);
        match kept {
            Ok(kept) if !is_first && kept.headers.contains_key(header::SET_COOKIE) => call(again()).await,
            kept => kept.map(Kept::into_response),
        }
    }

    fn join<F>(&self, key: &Key, call: impl FnOnce() -> F) -> (Shared<Work>, bool)
    where
        F: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(key).and_then(WeakShared::upgrade) {
            return (flight, false);
        }
        let called = call();
        let flight = async move { Kept::of(called.await?).await }.boxed().shared();
        flights.extend(flight.downgrade().map(|weak| (key.clone(), weak)));
        (flight, true)
    }

    /// What comes from now on is no longer in flight with it.
    fn forget(&self, key: &Key) {
        let mut flights = self.flights();
        let over =
            flights.get(key).is_some_and(|weak| weak.upgrade().is_none_or(|call| call.peek().is_some()));
        if over {
            flights.remove(key);
        }
    }

    fn flights(&self) -> MutexGuard<'_, InFlight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// None: this request is never shared.
fn key(request: &Request<Body>) -> Option<Key> {
    if request.method() != Method::GET || !request.body().is_end_stream() {
        return None;
    }
    let caller = request.extensions().get::<Arc<Caller>>()?;
    let field = |name: &HeaderName| {
        let mut values = request.headers().get_all(name).iter().map(|value| value.as_bytes());
        let first = values.next()?;
        Some(Bytes::from(values.fold(first.to_vec(), |joined, value| [&joined, &b"\n"[..], value].concat())))
    };
    Some(Key {
        scheme: caller.scheme,
        host: caller.host.clone(),
        target: request.uri().to_string(),
        fields: TELLING.iter().map(field).collect(),
    })
}

impl Kept {
    async fn of(response: Response<Body>) -> Result<Self, Refusal> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|_| Refusal::new(Code::BadReply))?.to_bytes();
        let time = parts.extensions.get().copied();
        Ok(Self { status: parts.status, headers: parts.headers, body, time })
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(time) = self.time {
            response.extensions_mut().insert(time);
        }
        response
    }
}
