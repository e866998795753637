//! The body of a request that becomes a job: whole, as long as its route lets it be and as slow as the front lets it come.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tempest_protocol::Code;
use tokio::time::timeout;
use tracing::debug;

use crate::{Refusal, config::Work as Plan};

/// Takes the whole body out of a request. It may not pause for longer than `pause_max`.
///
/// Errors: `too_large`, `slow_request`; `bad_http` if it breaks off.
pub(crate) async fn read(
    request: &mut Request<Body>,
    plan: &Plan,
    pause_max: Duration,
) -> Result<Bytes, Refusal> {
    let body = std::mem::take(request.body_mut());
    let whole = timeout(plan.timeout, whole(body, plan.body_bytes_max, pause_max));
    whole.await.map_err(|_| Refusal::new(Code::SlowRequest))?
}

/// Reads a body of at most so many bytes that never pauses for so long.
async fn whole(body: Body, bytes_max: usize, pause_max: Duration) -> Result<Bytes, Refusal> {
    let announced = body.size_hint().lower();
    if u64::try_from(bytes_max).is_ok_and(|max| announced > max) {
        return Err(Refusal::new(Code::TooLarge));
    }
    let (mut body, mut whole) = (Limited::new(body, bytes_max), BytesMut::new());
    loop {
        let frame = match timeout(pause_max, body.frame()).await {
            Err(_) => return Err(Refusal::new(Code::SlowRequest)),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(frame)) => frame.map_err(|error| refused(&error))?,
        };
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
}

fn refused(error: &axum::BoxError) -> Refusal {
    if error.is::<LengthLimitError>() {
        return Refusal::new(Code::TooLarge);
    }
    debug!(%error, "a request body broke off");
    Refusal::new(Code::BadHttp)
}
