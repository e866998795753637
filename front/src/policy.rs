//! How the requests of a route are treated, apart from where they go.
//!
//! The order, from the client inwards:
//! 1. response headers: on every response, also those of the layers below;
//! 2. CORS: a page of another origin must be able to read refusals too, and a preflight is no request that counts;
//! 3. rate: what is refused costs nothing below;
//! 4. compression: for each client by itself, also of a response that several share;
//! 5. coalescing: next to the job.

mod coalesce;
mod compress;
mod cors;
mod rate;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};

use crate::{FrontConfig, Refusal, Route, caller::Caller, server::Takeover, sub::ResponseHeaders};
use coalesce::Flights;
use cors::Cors;
use rate::Buckets;

/// What a route's entry in the table says of its requests.
#[derive(Default)]
pub(crate) struct Policy {
    /// Fields that responses get unless they have them.
    headers: HeaderMap,
    cors: Option<Cors>,
    rate: Option<Buckets>,
    compress: bool,
    compress_events: bool,
    coalesce: Option<Flights>,
}

impl Policy {
    /// The policy of a route that was checked; none if it says nothing.
    pub(crate) fn of(route: &Route, front: &FrontConfig) -> Option<Self> {
        let policy = Self {
            headers: fields(front, route),
            cors: route.cors.clone().map(Cors::new),
            rate: route.rate.as_ref().map(Buckets::new),
            compress: route.compress && route.topic.is_none(),
            compress_events: route.compress_events && route.topic.is_some(),
            coalesce: (route.coalesce && route.queue.is_some()).then(Flights::default),
        };
        let layers = [
            policy.cors.is_some(),
            policy.rate.is_some(),
            policy.compress,
            policy.compress_events,
            policy.coalesce.is_some(),
            !policy.headers.is_empty(),
        ];
        layers.contains(&true).then_some(policy)
    }

    /// Answers a request by `call`, treated as the route says.
    pub(crate) async fn answer<F, C>(
        &self,
        mut request: Request<Body>,
        call: C,
    ) -> Result<Response<Body>, Refusal>
    where
        F: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
        C: Fn(Request<Body>) -> F,
    {
        let cors = self.cors.as_ref().map(|cors| cors.fields(request.headers())).unwrap_or_default();
        if let Some(preflight) = self.cors.as_ref().and_then(|cors| cors.preflight(&request)) {
            return Ok(self.add(preflight, &cors));
        }
        let mut early = self.headers.clone();
        early.extend(cors.clone());
        if !early.is_empty() {
            request.extensions_mut().insert(ResponseHeaders(early.clone()));
        }
        match self.limited(request, call).await {
            Ok(response) => Ok(self.add(response, &cors)),
            Err(refusal) => Err(refusal.with(early)),
        }
    }

    async fn limited<F, C>(&self, request: Request<Body>, call: C) -> Result<Response<Body>, Refusal>
    where
        F: Future<Output = Result<Response<Body>, Refusal>> + Send + 'static,
        C: Fn(Request<Body>) -> F,
    {
        if let Some(buckets) = &self.rate {
            buckets.take(request.extensions().get::<Arc<Caller>>().and_then(|caller| caller.address))?;
        }
        if self.compress_events && compress::takes_gzip(request.headers()) {
            let mut request = request;
            // Its bytes go through the encoder, not straight to the socket.
            request.extensions_mut().remove::<Takeover>();
            return call(request).await.map(compress::events);
        }
        match (self.compress, &self.coalesce) {
            (false, None) => call(request).await,
            (true, None) => compress::answer(request, call).await,
            (false, Some(flights)) => flights.answer(request, call).await,
            (true, Some(flights)) => compress::answer(request, |request| flights.answer(request, call)).await,
        }
    }

    /// Adds this route's fields to a response.
    fn add(&self, mut response: Response<Body>, cors: &HeaderMap) -> Response<Body> {
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            if !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
        if let Some(policy) = &self.cors {
            let is_preflight = headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS);
            for field in cors::FIELDS.iter().filter(|_| !is_preflight) {
                headers.remove(field);
            }
            headers.extend(cors.clone());
            if policy.varies() && !is_preflight {
                headers.append(header::VARY, HeaderValue::from_static("origin"));
            }
        }
        response
    }
}

/// The front's own fields and the route's, which win.
fn fields(front: &FrontConfig, route: &Route) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in front.response_headers.iter().chain(&route.response_headers) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            fields.insert(name, value);
        }
    }
    fields
}
