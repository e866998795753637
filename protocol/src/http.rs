//! HTTP inside a job: the request and header fields (SPEC "HTTP jobs").

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    Code, Encoding, Error, Raw,
    field::Field,
    frame::{self, ExtIn, given},
    writer::MapWriter,
};

/// Header fields in their order: lower-case names, values as bytes (ISO-8859-1 on the wire, byte for code point).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field. The caller answers for a clean name and value; see [`Headers::push_text`] for one that checks.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.0.push((name.into(), value.into()));
    }

    /// Adds a field as it came from the wire: the name must be a token (RFC 9110 section 5.6.2) and is made lower-case, the
    /// value must be free of CR, LF, NUL and of characters above U+00FF.
    ///
    /// Errors: what is wrong, for the log.
    pub fn push_text(&mut self, name: &str, value: &str) -> Result<(), String> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("header name {name:?} is no token"));
        }
        let mut bytes = Vec::with_capacity(value.len());
        for char in value.chars() {
            match u8::try_from(u32::from(char)) {
                Ok(byte) if !matches!(byte, b'\r' | b'\n' | 0) => bytes.push(byte),
                _ => return Err(format!("header {name} cannot contain {char:?}")),
            }
        }
        self.push(name.to_ascii_lowercase(), bytes);
        Ok(())
    }

    /// The first value of a field; `name` in lower case.
    pub fn first<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Every value of a field, in order; `name` in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A value as text: each byte is the code point of that number.
    pub fn latin1(value: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(value) {
            Ok(text) if value.is_ascii() => Cow::Borrowed(text),
            _ => Cow::Owned(value.iter().copied().map(char::from).collect()),
        }
    }

    /// Every name once, in order of its first field.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::with_capacity(self.0.len());
        for (name, _) in &self.0 {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An HTTP request as a worker gets it: the `args` of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// The method, as sent.
    pub method: String,
    /// The raw target; bytes from 0x80 are percent-encoded.
    pub url: String,
    /// Header fields, `cookie` joined with `; `.
    pub headers: Headers,
    /// The whole body, empty if there is none.
    pub body: Bytes,
    /// Address of the client, without its port.
    pub remote: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The `Host` of the request.
    pub host: String,
}

impl HttpRequest {
    /// Writes it as arguments of a job.
    pub fn encode(&self, encoding: Encoding) -> Raw {
        let mut out = Vec::with_capacity(256 + self.body.len() * 3 / 2);
        let mut args = MapWriter::begin(&mut out, encoding);
        args.text("method", &self.method);
        args.text("url", &self.url);
        args.headers(&self.headers);
        args.text("remote", &self.remote);
        args.text("scheme", &self.scheme);
        args.text("host", &self.host);
        args.body(&self.body);
        args.end();
        Raw::new(encoding, out.into())
    }

    /// Reads the arguments of a job. `method`, a token, and `url`, visible ASCII, are required.
    ///
    /// Errors: `bad_http`, or `bad_body`.
    pub fn decode(args: &Raw) -> Result<Self, Error> {
        let bad = |error: Error| Error::new(Code::BadHttp, error.detail().to_owned());
        let (_, fields) = frame::fields(args.bytes(), ExtIn::Any).map_err(bad)?;
        let text = |name: &str| match given(&fields, name) {
            Some(field) => field.text(Code::BadHttp),
            None => Ok(String::new()),
        };
        let headers = given(&fields, "headers").map(|field| field.headers(Code::BadHttp)).transpose()?;
        let request = Self {
            method: text("method")?,
            url: text("url")?,
            headers: headers.unwrap_or_default(),
            body: Bytes::new(),
            remote: text("remote")?,
            scheme: text("scheme")?,
            host: text("host")?,
        };
        request.check_line()?;
        Ok(Self { body: body(&fields)?.unwrap_or_default(), ..request })
    }

    /// The method is a token, the target is visible ASCII: nothing in them can end a line or a word.
    fn check_line(&self) -> Result<(), Error> {
        let bad = |detail: &'static str| Err(Error::new(Code::BadHttp, detail));
        match (self.method.as_bytes(), self.url.as_bytes()) {
            ([], _) | (_, []) => bad("method and url are required"),
            (method, _) if !method.iter().copied().all(is_token) => bad("method is no token"),
            (_, url) if !url.iter().all(u8::is_ascii_graphic) => bad("url is not visible ASCII"),
            _ => Ok(()),
        }
    }
}

/// The body among these fields: `body`, `body_base64`, or none.
///
/// Errors: `bad_body` for both, or for one that is broken.
pub(crate) fn body(fields: &[Field<'_>]) -> Result<Option<Bytes>, Error> {
    match (given(fields, "body"), given(fields, "body_base64")) {
        (Some(_), Some(_)) => Err(Error::new(Code::BadBody, "both body and body_base64")),
        (Some(body), None) => body.body().map(Some),
        (None, Some(base64)) => base64.body_base64().map(Some),
        (None, None) => Ok(None),
    }
}
