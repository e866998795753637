//! What a client is told when there is no reply: a code of the one table and its fixed sentence. Text from workers,
//! Redis or the system has no way in here; it goes to the log.

mod form;

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::json;
use tempest_protocol::Code;

use crate::caller::RequestId;

pub(crate) use form::Form;

const PAGE: &str = include_str!("refusal/page.html");
/// The page has a style and nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A refusal: everything a client learns of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    code: Code,
    cause: Option<Cause>,
    allow: Option<String>,
    retry_after: Option<Duration>,
    /// Fields that its route adds to every response.
    added: Option<Box<HeaderMap>>,
}

/// More than the code says, in words that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A worker was killed.
    Signal(u8),
    /// A worker ended.
    Exit(u8),
    /// A body is no JSON.
    NotJson,
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
        Self { code, cause: None, allow: None, retry_after: None, added: None }
    }

    /// A worker was lost; `message` tells how, if it is in words that are ours.
    pub(crate) fn worker_lost(message: &str) -> Self {
        Self { cause: Cause::of(message), ..Self::new(Code::WorkerLost) }
    }

    /// A body that was to be JSON is none.
    pub(crate) fn not_json() -> Self {
        Self { cause: Some(Cause::NotJson), ..Self::new(Code::BadHttp) }
    }

    /// The path is known, the method is not.
    pub(crate) fn method_not_allowed(allow: String) -> Self {
        Self { allow: Some(allow), ..Self::new(Code::MethodNotAllowed) }
    }

    /// The same, for clients that know when to come back.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The same, with header fields of its route.
    #[must_use]
    pub(crate) fn with(self, added: HeaderMap) -> Self {
        Self { added: (!added.is_empty()).then(|| Box::new(added)), ..self }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The sentence a client reads.
    fn detail(&self) -> String {
        match self.cause {
            None => self.code.sentence().to_owned(),
            Some(Cause::Signal(signal)) => {
                format!("{} It was killed by signal {signal}.", self.code.sentence())
            }
            Some(Cause::NotJson) => format!("{} Its body must be JSON.", self.code.sentence()),
            Some(Cause::Exit(code)) => format!("{} It exited with code {code}.", self.code.sentence()),
        }
    }

    /// The response to a request that prefers this form. It carries the refusal in its extensions.
    pub(crate) fn respond(self, form: Form, request_id: Option<&RequestId>) -> Response<Body> {
        let status = self.status();
        let (content_type, body) = match form {
            Form::Text => ("text/plain; charset=utf-8", self.text()),
            Form::Problem => ("application/problem+json", self.problem(request_id)),
            Form::Html => ("text/html; charset=utf-8", self.page(request_id)),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if form == Form::Html {
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        }
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, self.retry_after());
        }
        if let Some(allow) = self.allow.as_ref().and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        headers.extend(self.added.as_deref().cloned().unwrap_or_default());
        response.extensions_mut().insert(self);
        response
    }

    /// A whole HTTP/1.1 message, for connections whose request was not even read: the last thing that is said on them.
    pub(crate) fn last_words(self) -> Vec<u8> {
        let (text, status) = (self.text(), self.status());
        let response = self.respond(Form::Text, None);
        let mut bytes =
            format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""))
                .into_bytes();
        let date = httpdate::fmt_http_date(std::time::SystemTime::now());
        let own = format!("connection: close\r\ncontent-length: {}\r\ndate: {date}\r\n", text.len());
        bytes.extend_from_slice(own.as_bytes());
        for (name, value) in response.headers() {
            for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                bytes.extend_from_slice(piece);
            }
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// In seconds. Where nothing is known, clients that were refused together do not come back together.
    fn retry_after(&self) -> HeaderValue {
        match self.retry_after {
            Some(wait) => HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
            None => HeaderValue::from(fastrand::u32(1..=3)),
        }
    }

    fn text(&self) -> String {
        format!("{} {}: {}\n", self.status().as_u16(), self.code, self.detail())
    }

    /// RFC 9457. The type is a name, not an address.
    fn problem(&self, request_id: Option<&RequestId>) -> String {
        let mut problem = json!({
            "type": format!("urn:tempest:code:{}", self.code),
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
            "code": self.code.as_str(),
        });
        if let Some(id) = request_id {
            problem["request_id"] = id.as_str().into();
        }
        format!("{problem}\n")
    }

    /// Everything that is filled in is of an alphabet without markup: words of ours, digits, and a request's id.
    fn page(&self, request_id: Option<&RequestId>) -> String {
        let id = request_id.map(|id| format!(" · request {}", id.as_str())).unwrap_or_default();
        PAGE.replace("{status}", self.status().as_str())
            .replace("{title}", self.title())
            .replace("{text}", &self.detail())
            .replace("{code}", self.code.as_str())
            .replace("{id}", &id)
    }

    fn title(&self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Error")
    }
}
