//! What a client is told when there is no reply: a code of the one table and its fixed sentence. Text from workers,
//! Redis or the system has no way in here; it goes to the log.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tempest_protocol::Code;

/// A refusal: everything a client learns of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    cause: Option<Cause>,
    allow: Option<String>,
}

/// How a worker died, in words that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Signal(u8),
    Exit(u8),
}

impl Cause {
    /// Reads `killed by signal 9 …` and `exited with code 1`; anything else is not shown.
    fn of(message: &str) -> Option<Self> {
        let number = |rest: &str| rest.split(' ').next().and_then(|word| word.parse().ok());
        if let Some(rest) = message.strip_prefix("killed by signal ") {
            return number(rest).map(Self::Signal);
        }
        message.strip_prefix("exited with code ").and_then(number).map(Self::Exit)
    }
}

impl Refusal {
    /// A refusal with nothing but a code.
    pub fn new(code: Code) -> Self {
        Self { code, cause: None, allow: None }
    }

    /// A worker was lost; `message` tells how, if it is in words that are ours.
    pub(crate) fn worker_lost(message: &str) -> Self {
        Self { cause: Cause::of(message), ..Self::new(Code::WorkerLost) }
    }

    /// The path is known, the method is not.
    pub(crate) fn method_not_allowed(allow: String) -> Self {
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed) }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn text(&self) -> String {
        let cause = match self.cause {
            None => String::new(),
            Some(Cause::Signal(signal)) => format!(" It was killed by signal {signal}."),
            Some(Cause::Exit(code)) => format!(" It exited with code {code}."),
        };
        format!("{} {}: {}{cause}\n", self.status().as_u16(), self.code, self.code.sentence())
    }
}

impl Refusal {
    /// The response to a request with these header fields. It carries the refusal in its extensions.
    pub(crate) fn respond(self, _headers: &HeaderMap) -> Response<Body> {
        let status = self.status();
        let mut response = Response::new(Body::from(self.text()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(fastrand::u32(1..=3)));
        }
        if let Some(allow) = self.allow.as_ref().and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response.extensions_mut().insert(self);
        response
    }
}
