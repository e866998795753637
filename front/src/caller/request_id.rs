//! What a request is called in logs, in its job and in its response.

use http::{HeaderName, HeaderValue};
use tempest_protocol::JobId;

/// The field that carries it, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The name of a request: `[A-Za-z0-9._-]`, 1 to 64 characters, so that it can stand anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId {
    id: JobId,
    /// Made here, so it names no other request.
    is_own: bool,
}

impl RequestId {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut text = uuid::Uuid::encode_buffer();
        let text: &str = uuid::Uuid::now_v7().simple().encode_lower(&mut text);
        let id = JobId::new(text).expect("a UUID is a valid id");
        Self { id, is_own: true }
    }

    /// The one that a trusted proxy gave; none if it has other characters or another length.
    pub(crate) fn given(value: &HeaderValue) -> Option<Self> {
        Some(Self { id: JobId::new(value.to_str().ok()?).ok()?, is_own: false })
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        self.id.as_str()
    }

    /// As a field's value.
    pub(crate) fn to_header(&self) -> HeaderValue {
        HeaderValue::from_str(self.as_str()).unwrap_or(HeaderValue::from_static("-"))
    }

    /// The id of the request's job: the same where it is known to be new. A proxy may send one twice.
    pub(crate) fn job_id(&self) -> JobId {
        if self.is_own { self.id.clone() } else { Self::new().id }
    }
}
