//! The HTTP request a handler gets.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tempest_protocol::{Code, Headers, HttpRequest};

use crate::Failed;

/// An HTTP request, as the front received it.
#[derive(Clone, Debug)]
pub struct Request {
    http: HttpRequest,
}

impl From<HttpRequest> for Request {
    fn from(http: HttpRequest) -> Self {
        Self { http }
    }
}

impl Request {
    /// The method, as sent.
    pub fn method(&self) -> &str {
        &self.http.method
    }

    /// The raw target: path and query, not decoded.
    pub fn url(&self) -> &str {
        &self.http.url
    }

    /// The path of the target, not decoded.
    pub fn path(&self) -> &str {
        self.http.url.split_once('?').map_or(self.url(), |(path, _)| path)
    }

    /// What follows the `?` of the target, not decoded.
    pub fn query(&self) -> Option<&str> {
        self.http.url.split_once('?').map(|(_, query)| query)
    }

    /// All header fields, names in lower case.
    pub fn headers(&self) -> &Headers {
        &self.http.headers
    }

    /// The first value of a header field; the case of `name` does not matter.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.http.headers.first(&name.to_ascii_lowercase()).map(Headers::latin1)
    }

    /// A cookie, as sent.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.header("cookie")?;
        let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }

    /// The whole body; empty if there is none.
    pub fn body(&self) -> &Bytes {
        &self.http.body
    }

    /// The body as text; bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.http.body)
    }

    /// The body as JSON.
    ///
    /// Errors: a [`Failed`] with `bad_http`, which the front answers with 400.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        serde_json::from_slice(&self.http.body)
            .map_err(|error| Failed::coded(Code::BadHttp, format!("the body: {error}")))
    }

    /// Address of the client, without its port.
    pub fn remote(&self) -> &str {
        &self.http.remote
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        &self.http.scheme
    }

    /// The `Host` of the request.
    pub fn host(&self) -> &str {
        &self.http.host
    }
}
