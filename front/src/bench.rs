//! Doors for bench/programs: the translation between HTTP and jobs, without a connection and without Redis.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response};
use tempest_protocol::{Encoding, Envelope, Reply};

use crate::{caller::Caller, translate};

/// The frame of the job that a request becomes, with this envelope.
pub fn request_to_job(request: &Request<()>, body: Bytes, envelope: &Envelope, encoding: Encoding) -> Bytes {
    envelope.encode_request(&translate::request_to_args(request, &Caller::of(request), body), encoding)
}

/// The response that a reply becomes; none if it cannot be one.
pub fn reply_to_response(reply: Reply, method: &Method) -> Option<Response<Body>> {
    translate::reply_to_response(reply, method).ok()
}
