//! HTTP → job arguments and reply → HTTP, with the header hygiene of both directions (SPEC "HTTP jobs").

use std::net::IpAddr;

use axum::{body::Body, extract::OriginalUri};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use tempest_protocol::{Code, Content, Encoding, Headers, HttpRequest, Raw, Reply};
use tracing::warn;

use crate::{Refusal, caller::Caller};

/// Fields that belong to one connection (RFC 9110 section 7.6.1), besides those named in `Connection`.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Makes the arguments of a job.
pub(crate) fn request_to_args<B>(request: &Request<B>, caller: &Caller, body: Bytes) -> HttpRequest {
    let uri = request.extensions().get::<OriginalUri>().map_or(request.uri(), |original| &original.0);
    HttpRequest {
        method: request.method().as_str().to_owned(),
        url: raw_target(uri),
        headers: request_headers(request.headers(), body.len()),
        body,
        remote: caller.address.map(shown).unwrap_or_default(),
        scheme: caller.scheme.to_owned(),
        host: caller.host.clone(),
    }
}

/// An address as text.
fn shown(address: IpAddr) -> String {
    let IpAddr::V4(v4) = address else { return address.to_string() };
    // Quicker than the formatter of the library.
    let mut text = String::with_capacity(15);
    for (place, octet) in v4.octets().into_iter().enumerate() {
        if place > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// The host a request is for, with its port if it has one.
pub(crate) fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let of_header = || headers.get(header::HOST).map(|value| Headers::latin1(value.as_bytes()).into_owned());
    uri.authority().map(|authority| authority.as_str().to_owned()).or_else(of_header)
}

/// The target as sent; bytes from 0x80 percent-encoded.
fn raw_target(uri: &Uri) -> String {
    let raw = match uri.scheme() {
        Some(_) => uri.to_string(),
        None => uri.path_and_query().map_or_else(|| "*".to_owned(), |target| target.as_str().to_owned()),
    };
    if raw.is_ascii() {
        return raw;
    }
    percent_encoding::utf8_percent_encode(&raw, &percent_encoding::AsciiSet::EMPTY).to_string()
}

fn request_headers(map: &HeaderMap, body_bytes: usize) -> Headers {
    let named = named_in_connection(map.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes));
    let (mut headers, mut cookies, mut has_length) = (Headers::new(), Vec::new(), false);
    for (name, value) in map {
        match name.as_str() {
            "cookie" => cookies.push(value.as_bytes()),
            "content-length" => has_length = true,
            "proxy" | "expect" => {}
            name if name.contains('_') || HOP_BY_HOP.contains(&name) || named.iter().any(|it| it == name) => {
            }
            name => headers.push(name, value.as_bytes()),
        }
    }
    if !cookies.is_empty() {
        headers.push("cookie", cookies.join(b"; ".as_slice()));
    }
    if body_bytes > 0 || has_length {
        headers.push("content-length", body_bytes.to_string());
    }
    headers
}

fn named_in_connection<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
        .collect()
}

/// Makes the response of a reply.
pub(crate) fn reply_to_response(reply: Reply, method: &Method) -> Result<Response<Body>, Refusal> {
    match reply.content {
        Content::Http { status, headers, body } => http_response(status, &headers, body, method),
        Content::Result(result) => result_response(&result),
        Content::Part(_) => Err(Refusal::new(Code::BadReply)),
        Content::Error(failure) => {
            warn!(id = %reply.id, code = failure.code, message = failure.message, "a worker answers with an error");
            Err(match failure.known_code() {
                Code::WorkerLost => Refusal::worker_lost(&failure.message),
                code @ (Code::NoHandler | Code::BadReply | Code::Timeout | Code::Cancelled) => {
                    Refusal::new(code)
                }
                _ => Refusal::new(Code::HandlerError),
            })
        }
    }
}

fn http_response(
    status: u16,
    headers: &Headers,
    body: Bytes,
    method: &Method,
) -> Result<Response<Body>, Refusal> {
    let status = StatusCode::from_u16(status).map_err(|_| Refusal::new(Code::BadReply))?;
    let bodiless = status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let length = body.len();
    let mut response = Response::new(if bodiless { Body::empty() } else { Body::from(body) });
    *response.status_mut() = status;
    let map = response.headers_mut();
    let named = named_in_connection(headers.all("connection"));
    for (name, value) in headers.iter() {
        if HOP_BY_HOP.contains(&name) || name == "content-length" || named.iter().any(|other| other == name) {
            continue;
        }
        match (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            (Ok(name), Ok(value)) => map.append(name, value),
            _ => {
                warn!(name, "a reply has a header field that HTTP does not allow");
                return Err(Refusal::new(Code::BadReply));
            }
        };
    }
    // A HEAD reply without a body may say how long the body would have been; nothing else may say a length.
    let told = headers
        .first("content-length")
        .and_then(|value| std::str::from_utf8(value).ok()?.parse::<u64>().ok());
    if length == 0 && *method == Method::HEAD {
        if let Some(told) = told {
            map.insert(header::CONTENT_LENGTH, HeaderValue::from(told));
        }
    } else if !bodiless {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}

/// A result instead of a response: its JSON.
fn result_response(result: &Raw) -> Result<Response<Body>, Refusal> {
    let json = result.to_encoding(Encoding::Json).map_err(|error| {
        warn!(%error, "a result cannot be shown as JSON");
        Refusal::new(Code::BadReply)
    })?;
    let mut response = Response::new(Body::from(json.bytes().clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
