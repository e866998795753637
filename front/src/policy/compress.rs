//! Compression by `Accept-Encoding` (RFC 9110 section 12.5.3). Event streams are compressed only where a route asks for
//! it, and then each event by itself: a browser shows it at once.

use std::{
    convert::Infallible,
    io::Write,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::Frame;
use tower::ServiceExt;
use tower_http::compression::{
    Compression as Layer,
    predicate::{DefaultPredicate, Predicate, SizeAbove},
};

use crate::Refusal;

/// Smaller bodies are sent as they are.
const BYTES_MIN: u16 = 512;

/// Answers a request by `call` and compresses the response, if its client takes that and it is worth it.
pub(super) async fn answer<F>(
    request: Request<Body>,
    call: impl FnOnce(Request<Body>) -> F,
) -> Result<Response<Body>, Refusal>
where
    F: Future<Output = Result<Response<Body>, Refusal>>,
{
    let asking = asking(&request);
    let mut response = call(request).await?;
    let etag = response.headers().get(header::ETAG).cloned();
    let was_encoded = response.headers().contains_key(header::CONTENT_ENCODING);
    // The layer compresses what a service answers, so it is given one that answers this.
    let ready = tower::service_fn(move |_| {
        let response = std::mem::take(&mut response);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let layer = Layer::new(ready).compress_when(DefaultPredicate::new().and(SizeAbove::new(BYTES_MIN)));
    let Ok(response) = layer.oneshot(asking).await;
    let mut response = response.map(Body::new);
    if !was_encoded && response.headers().contains_key(header::CONTENT_ENCODING) {
        // Other bytes than those the tag was made of (RFC 9110 section 8.8.3).
        if let Some(weak) = etag.as_ref().and_then(weak) {
            response.headers_mut().insert(header::ETAG, weak);
        }
    }
    Ok(response)
}

/// All that the layer looks at.
fn asking(request: &Request<Body>) -> Request<Body> {
    let mut asking = Request::new(Body::empty());
    *asking.method_mut() = request.method().clone();
    for value in request.headers().get_all(header::ACCEPT_ENCODING) {
        asking.headers_mut().append(header::ACCEPT_ENCODING, value.clone());
    }
    asking
}

fn weak(etag: &HeaderValue) -> Option<HeaderValue> {
    match etag.as_bytes() {
        tag if tag.starts_with(b"W/") => Some(etag.clone()),
        tag => HeaderValue::from_bytes(&[b"W/", tag].concat()).ok(),
    }
}

/// Whether a client takes gzip.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    codings.flat_map(|list| list.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// An event stream, each piece of it compressed and flushed.
pub(super) fn events(response: Response<Body>) -> Response<Body> {
    let mut response = response.map(|inner| {
        Body::new(Events {
            inner,
            encoder: GzEncoder::new(Vec::new(), Compression::default()),
            is_over: false,
        })
    });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

struct Events {
    inner: Body,
    encoder: GzEncoder<Vec<u8>>,
    is_over: bool,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let piece = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            Some(Ok(frame)) => frame.into_data().ok(),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => None,
        };
        let written = match &piece {
            Some(bytes) => self.encoder.write_all(bytes).and_then(|()| self.encoder.flush()),
            None => self.encoder.try_finish(),
        };
        self.is_over = piece.is_none();
        let bytes = Bytes::from(std::mem::take(self.encoder.get_mut()));
        Poll::Ready(Some(written.map(|()| Frame::data(bytes)).map_err(axum::Error::new)))
    }
}
