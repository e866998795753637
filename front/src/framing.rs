//! Requests that hyper lets through and that two readers could understand in two ways (RFC 9112 sections 3.2 and 6.1).

use http::{HeaderMap, Request, Version, header};
use tempest_protocol::Code;

use crate::Refusal;

/// Refuses a request without exactly one `Host`, or with a transfer coding that is not understood here.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    let needed = usize::from(request.version() >= Version::HTTP_11);
    if hosts < needed || hosts > 1 {
        return Err(Refusal::new(Code::BadHttp));
    }
    if coded_otherwise(request.headers()) { Err(Refusal::new(Code::NotImplemented)) } else { Ok(()) }
}

fn coded_otherwise(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked =
        codings.next().is_none_or(|coding| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"));
    !chunked || codings.next().is_some()
}
