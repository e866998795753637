//! Requests that hyper lets through and this front does not: those that two readers could understand in two ways (RFC
//! 9112 sections 3.2 and 6), and those that are too long.

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, uri::Authority};
use tempest_protocol::Code;

use crate::Refusal;

/// Refuses a request that is not for exactly one host, has a target that is too long, a transfer coding that is not
/// understood here, or a body of unknown length; and one that wants a tunnel.
pub(crate) fn check<B>(request: &Request<B>, target_bytes_max: usize) -> Result<(), Refusal> {
    let refuse = |code| Err(Refusal::new(code));
    if request.method() == Method::CONNECT {
        return refuse(Code::NotImplemented);
    }
    // Only a tunnel has an authority for its whole target (RFC 9112 section 3.2.3).
    let is_authority = request.uri().authority().is_some() && request.uri().scheme().is_none();
    if is_authority || !is_for_one_host(request.uri(), request.headers(), request.version()) {
        return refuse(Code::BadHttp);
    }
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > target_bytes_max) {
        return refuse(Code::TargetTooLong);
    }
    if coded_otherwise(request.headers()) {
        return refuse(Code::NotImplemented);
    }
    if lacks_length(request) { refuse(Code::LengthRequired) } else { Ok(()) }
}

/// HTTP/1.0 can do without `Host`; nobody may have two, or one that is none (RFC 9112 section 3.2).
fn is_for_one_host(uri: &Uri, headers: &HeaderMap, version: Version) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let good = match hosts.next() {
        None => version < Version::HTTP_11,
        Some(host) => is_host(host) && hosts.next().is_none(),
    };
    good && uri.authority().is_none_or(|authority| !authority.as_str().contains('@'))
}

/// `uri-host [ ":" port ]`.
fn is_host(value: &HeaderValue) -> bool {
    is_plain_host(value.as_bytes()) || is_unusual_host(value)
}

/// A name or an IPv4 address, perhaps with a port: what nearly everybody sends.
fn is_plain_host(value: &[u8]) -> bool {
    let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
    let (name, port) = value.split_at(end);
    let digits = port.get(1..).unwrap_or_default();
    let is_number = || std::str::from_utf8(digits).is_ok_and(|port| port.parse::<u16>().is_ok());
    let is_port = digits.is_empty() || (digits.iter().all(u8::is_ascii_digit) && is_number());
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !name.is_empty() && name.iter().all(is_name) && is_port
}

fn is_unusual_host(value: &HeaderValue) -> bool {
    let authority = Authority::try_from(value.as_bytes());
    authority.is_ok_and(|it| {
        let port = it.as_str().strip_prefix(it.host()).unwrap_or_default();
        !it.host().is_empty() && !it.as_str().contains('@') && (port.len() < 2 || it.port_u16().is_some())
    })
}

/// In HTTP/1.0 a body without a length would end with the connection, and so would the response to it.
fn lacks_length<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_11
        && [Method::POST, Method::PUT, Method::PATCH].contains(request.method())
        && !request.headers().contains_key(header::CONTENT_LENGTH)
}

fn coded_otherwise(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked =
        codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    !chunked || codings.next().is_some()
}
