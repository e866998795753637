//! What a handler of HTTP requests may return.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use tempest_protocol::{Code, Content, Headers};

use crate::Failed;

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Response {
    status: u16,
    headers: Headers,
    body: Bytes,
    mistake: Option<String>,
}

impl Response {
    /// A response without a body. A status outside 200 to 599 fails the job with `bad_reply`.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::new(), body: Bytes::new(), mistake: None }
    }

    /// 200 with plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(200).typed("text/plain; charset=utf-8", text.into().into())
    }

    /// 200 with HTML.
    pub fn html(html: impl Into<String>) -> Self {
        Self::new(200).typed("text/html; charset=utf-8", html.into().into())
    }

    /// 200 with bytes of no known type.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(200).typed("application/octet-stream", bytes.into())
    }

    /// 200 with JSON.
    ///
    /// Errors: `handler_error` if the value cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, Failed> {
        let json = serde_json::to_vec(value).map_err(|error| Failed::of(error.into()))?;
        Ok(Self::new(200).typed("application/json", json.into()))
    }

    fn typed(mut self, content_type: &str, body: Bytes) -> Self {
        self.headers.push("content-type", content_type);
        self.body = body;
        self
    }

    /// Sets the status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets a header field in place of all of that name. A name or value that HTTP does not allow fails the job with
    /// `bad_reply`.
    pub fn header(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let name = name.as_ref().to_ascii_lowercase();
        let mut headers = Headers::new();
        for (known, value) in self.headers.iter().filter(|(known, _)| *known != name) {
            headers.push(known, value);
        }
        Self { headers, ..self }.append(name, value)
    }

    /// Adds a header field, also if there is one of that name (several `set-cookie`).
    pub fn append(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        if let Err(mistake) = self.headers.push_text(name.as_ref(), value.as_ref()) {
            self.mistake = Some(mistake);
        }
        self
    }

    /// Sets the body and nothing else.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn into_content(self) -> Result<Content, Failed> {
        let Self { status, headers, body, mistake } = self;
        match mistake {
            Some(mistake) => Err(Failed::coded(Code::BadReply, mistake)),
            None if !(200..=599).contains(&status) => {
                Err(Failed::coded(Code::BadReply, format!("status is 200 to 599, not {status}")))
            }
            None => Ok(Content::Http { status, headers, body }),
        }
    }
}

/// What can be made into a response.
pub trait IntoResponse {
    /// Makes the response.
    ///
    /// Errors: why the job fails.
    fn into_response(self) -> Result<Response, Failed>;
}

impl IntoResponse for Response {
    fn into_response(self) -> Result<Response, Failed> {
        Ok(self)
    }
}

macro_rules! into_response {
    ($($type:ty, $value:ident => $response:expr;)*) => {$(
        impl IntoResponse for $type {
            fn into_response(self) -> Result<Response, Failed> {
                let $value = self;
                $response
            }
        }
    )*};
}

into_response! {
    (), _none => Ok(Response::new(204));
    &'static str, text => Ok(Response::text(text));
    String, text => Ok(Response::text(text));
    Cow<'static, str>, text => Ok(Response::text(text));
    Vec<u8>, bytes => Ok(Response::bytes(bytes));
    &'static [u8], bytes => Ok(Response::bytes(bytes));
    Bytes, bytes => Ok(Response::bytes(bytes));
    serde_json::Value, value => Response::json(&value);
}

/// A status and a body.
impl<B: IntoResponse> IntoResponse for (u16, B) {
    fn into_response(self) -> Result<Response, Failed> {
        Ok(self.1.into_response()?.status(self.0))
    }
}

/// A status, header fields and a body. A field that is named several times is sent several times.
impl<H, N, V, B> IntoResponse for (u16, H, B)
where
    H: IntoIterator<Item = (N, V)>,
    N: AsRef<str>,
    V: AsRef<str>,
    B: IntoResponse,
{
    fn into_response(self) -> Result<Response, Failed> {
        let (status, headers, body) = self;
        let mut response = body.into_response()?.status(status);
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in headers {
            let name = name.as_ref().to_ascii_lowercase();
            if seen.contains(&name) {
                response = response.append(name, value);
            } else {
                response = response.header(&name, value);
                seen.push(name);
            }
        }
        Ok(response)
    }
}

/// An error fails the job; one that is no [`Failed`] becomes `handler_error` with its text.
impl<T, E> IntoResponse for Result<T, E>
where
    T: IntoResponse,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn into_response(self) -> Result<Response, Failed> {
        match self {
            Ok(value) => value.into_response(),
            Err(error) => Err(Failed::of(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(response: impl IntoResponse) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let content = response.into_response().and_then(Response::into_content).expect("a response");
        let Content::Http { status, headers, body } = content else { panic!("not HTTP: {content:?}") };
        let fields =
            headers.iter().map(|(name, value)| (name.to_owned(), Headers::latin1(value).into_owned()));
        (status, fields.collect(), body.to_vec())
    }

    fn failed(response: impl IntoResponse) -> Failed {
        response.into_response().and_then(Response::into_content).expect_err("a failure")
    }

    #[test]
    fn common_values_are_responses() {
        let text = vec![("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        assert_eq!(of("a"), (200, text.clone(), b"a".to_vec()));
        assert_eq!(of((404, String::from("b"))), (404, text, b"b".to_vec()));
        assert_eq!(of(()), (204, vec![], vec![]));
        assert_eq!(of(vec![0u8, 255]).2, [0, 255]);
        let (status, headers, body) = of(serde_json::json!({"a": 1}));
        assert_eq!(
            (status, headers[0].1.as_str(), body.as_slice()),
            (200, "application/json", &br#"{"a":1}"#[..])
        );
        assert_eq!(of(Ok::<_, std::io::Error>("c")).2, b"c");
    }

    #[test]
    fn a_header_replaces_and_a_repeated_one_is_sent_repeatedly() {
        let headers = [("Content-Type", "text/csv"), ("set-cookie", "a=1"), ("Set-Cookie", "b=2")];
        let expected = [("content-type", "text/csv"), ("set-cookie", "a=1"), ("set-cookie", "b=2")];
        let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(of((201, headers, "a,b")), (201, expected, b"a,b".to_vec()));
    }

    #[test]
    fn what_http_does_not_allow_fails_the_job() {
        assert_eq!(failed(Response::new(99)).code(), "bad_reply");
        assert_eq!(failed((200, [("x", "a\r\nset-cookie: b")], "")).code(), "bad_reply");
        assert_eq!(failed(Response::text("a").header("y z", "1")).code(), "bad_reply");
    }

    #[test]
    fn errors_keep_a_code_of_their_own() {
        let own: Result<&str, Failed> = Err(Failed::new("no_stock", "sold out"));
        assert_eq!(failed(own).code(), "no_stock");
        let any: Result<&str, String> = Err("broken".into());
        assert_eq!((failed(any.clone()).code(), failed(any).message()), ("handler_error", "broken"));
    }
}
