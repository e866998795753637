//! HTTP inside a job (SPEC "HTTP jobs").

use bytes::Bytes;

use crate::{
    Code, Encoding, Error, Headers, Raw,
    field::{body, fields},
    frame::{self, ExtIn},
    name::is_token,
    writer::MapWriter,
};

fields! {
    /// What is read of the arguments of an HTTP job.
    Fields: method url headers remote scheme host body body_base64
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
        let mut out = Vec::with_capacity(self.room());
        let mut args = MapWriter::begin(&mut out, encoding);
        self.write(&mut args);
        args.end();
        Raw::new(encoding, out.into())
    }

    /// Bytes that are enough unless much has to be escaped.
    pub(crate) fn room(&self) -> usize {
        let line = self.method.len() + self.url.len() + self.remote.len() + self.host.len();
        128 + line + self.headers.bytes() + 8 * self.headers.len() + self.body.len() * 3 / 2
    }

    pub(crate) fn write(&self, args: &mut MapWriter<'_>) {
        args.text("method", &self.method);
        args.text("url", &self.url);
        args.headers(&self.headers);
        args.text("remote", &self.remote);
        args.text("scheme", &self.scheme);
        args.text("host", &self.host);
        args.body(&self.body);
    }

    /// Reads the arguments of a job. `method`, a token, and `url`, visible ASCII, are required.
    ///
    /// Errors: `bad_http`, or `bad_body`.
    pub fn decode(args: &Raw) -> Result<Self, Error> {
        const BAD: Code = Code::BadHttp;
        let mut fields = Fields::default();
        frame::read(args.bytes(), ExtIn::Any, &mut fields)
            .map_err(|error| Error::new(BAD, error.detail().to_owned()))?;
        let headers = fields.headers().read(|field| field.headers(BAD))?;
        let request = Self {
            method: fields.method().text_or_empty(BAD)?,
            url: fields.url().text_or_empty(BAD)?,
            headers: headers.unwrap_or_default(),
            body: Bytes::new(),
            remote: fields.remote().text_or_empty(BAD)?,
            scheme: fields.scheme().text_or_empty(BAD)?,
            host: fields.host().text_or_empty(BAD)?,
        };
        request.check_line()?;
        Ok(Self { body: body(fields.body(), fields.body_base64())?.unwrap_or_default(), ..request })
    }

    /// The method is a token, the target is visible ASCII: nothing in them can end a line or a word.
    fn check_line(&self) -> Result<(), Error> {
        let bad = |detail: &'static str| Err(Error::new(Code::BadHttp, detail));
        match (self.method.as_bytes(), self.url.as_bytes()) {
            ([], _) | (_, []) => bad("method and url are required"),
            _ if !is_token(&self.method) => bad("method is no token"),
            (_, url) if !url.iter().all(u8::is_ascii_graphic) => bad("url is not visible ASCII"),
            _ => Ok(()),
        }
    }
}
