//! Doors for bench/programs: the translation between HTTP and jobs, without a connection and without Redis.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use tempest_protocol::{Encoding, Raw, Reply};

use crate::{caller::Caller, translate};

/// The arguments of the job that a request becomes.
pub fn request_to_args(request: &Request<()>, body: Bytes, encoding: Encoding) -> Raw {
    translate::request_to_args(request, &Caller::of(request), body).encode(encoding)
}

/// The response that a reply becomes; none if it cannot be one.
pub fn reply_to_response(reply: Reply, method: &Method) -> Option<Response<Body>> {
    translate::reply_to_response(reply, method).ok()
}
