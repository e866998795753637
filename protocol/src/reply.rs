//! Replies: what a worker sends to the mailbox of whoever waits (SPEC "Replies").

use bytes::Bytes;

use crate::{Code, Encoding, Error, Headers, JobId, Raw, field::Field, frame, http::Body, writer::MapWriter};

/// A reply, final or partial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The job it answers.
    pub id: JobId,
    /// The attempt it comes from; absent: its sender does not tell.
    pub attempt: Option<u64>,
    /// Whether more parts follow.
    pub more: bool,
    /// Number of this part, from 0; absent in a reply of one part.
    pub seq: Option<u64>,
    /// What it says.
    pub content: Content,
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An HTTP response, or the first part of one.
    Http {
        /// 200 to 599.
        status: u16,
        /// Header fields.
        headers: Headers,
        /// Body, or its first part.
        body: Bytes,
    },
    /// A later part of a body.
    Part(Bytes),
    /// The result of a job that is no HTTP request.
    Result(Raw),
    /// The job failed.
    Error(Failure),
}

/// Why a job failed. The message is for logs and callers, never for an HTTP client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A code word; workers may use their own.
    pub code: String,
    /// One line.
    pub message: String,
}

impl Failure {
    /// A failure with one of the known codes.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into() }
    }

    /// The known code, or `internal` for a word of the worker's own.
    pub fn known_code(&self) -> Code {
        self.code.parse().unwrap_or(Code::Internal)
    }
}

impl Reply {
    /// A final reply of one part.
    pub fn last(id: JobId, attempt: u64, content: Content) -> Self {
        Self { id, attempt: Some(attempt), more: false, seq: None, content }
    }

    /// Writes a reply frame. A result of another encoding is translated.
    ///
    /// Errors: `bad_job` if `encoding` is JSON and cannot hold the result.
    pub fn encode(&self, encoding: Encoding) -> Result<Bytes, Error> {
        let result = match &self.content {
            Content::Result(result) => Some(result.to_encoding(encoding)?),
            _ => None,
        };
        let mut out = Vec::with_capacity(256 + self.body_bytes() * 3 / 2);
        let mut map = MapWriter::begin(&mut out, encoding);
        map.text("id", self.id.as_str());
        map.integer_if("attempt", self.attempt);
        if self.more {
            map.truth("more");
        }
        map.integer_if("seq", self.seq);
        match &self.content {
            Content::Http { status, headers, body } => {
                map.integer("status", u64::from(*status));
                map.headers(headers);
                map.body(body);
            }
            Content::Part(body) => map.body(body),
            Content::Result(_) => {}
            Content::Error(failure) => map.map("error", |error| {
                error.text("code", &failure.code);
                error.text("message", &failure.message);
            }),
        }
        if let Some(result) = &result {
            map.raw("result", result);
        }
        map.end();
        Ok(out.into())
    }

    fn body_bytes(&self) -> usize {
        match &self.content {
            Content::Http { body, .. } | Content::Part(body) => body.len(),
            Content::Result(_) | Content::Error(_) => 0,
        }
    }

    /// Reads a reply. It must be exactly one of: HTTP (with `status`), a later part, `result`, `error`.
    ///
    /// Errors: `bad_frame`, `bad_json`, `bad_msgpack`, `too_deep`, `bad_reply` or `bad_body`.
    pub fn decode(frame: &Bytes) -> Result<Self, Error> {
        let (encoding, fields) = frame::fields(frame, "result")?;
        let mut parts = Parts::default();
        for field in &fields {
            if field.name == "result" {
                parts.result = Some(Raw::new(encoding, frame.slice(field.range_in(frame))));
            } else if !field.is_null() {
                parts.take(field)?;
            }
        }
        parts.finish()
    }

    /// The id alone, of a frame that does not decode otherwise: so that its waiter need not wait to its deadline.
    pub fn id_of(frame: &[u8]) -> Option<JobId> {
        let (_, fields) = frame::fields(frame, "result").ok()?;
        let id = fields.iter().rev().find(|field| field.name == "id")?;
        JobId::new(id.text(Code::BadReply).ok()?).ok()
    }
}

#[derive(Default)]
struct Parts {
    id: Option<JobId>,
    attempt: Option<u64>,
    more: bool,
    seq: Option<u64>,
    status: Option<u16>,
    headers: Option<Headers>,
    body: Body,
    result: Option<Raw>,
    error: Option<Failure>,
}

impl Parts {
    fn take(&mut self, field: &Field<'_>) -> Result<(), Error> {
        const BAD: Code = Code::BadReply;
        match field.name.as_ref() {
            "id" => {
                self.id = Some(JobId::new(field.text(BAD)?).map_err(|error| bad(error.detail().to_owned()))?)
            }
            "attempt" => self.attempt = Some(field.integer(BAD)?),
            "more" => self.more = field.boolean(BAD)?,
            "seq" => self.seq = Some(field.integer(BAD)?),
            "status" => self.status = Some(status(field.integer(BAD)?)?),
            "headers" => self.headers = Some(field.headers(BAD)?),
            "error" => self.error = Some(failure(field)?),
            _ => self.body.take(field)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<Reply, Error> {
        let id = self.id.ok_or_else(|| bad("id is required"))?;
        let body = self.body.finish()?;
        let content = match (self.status, self.result, self.error) {
            (Some(status), None, None) => Content::Http {
                status,
                headers: self.headers.unwrap_or_default(),
                body: body.unwrap_or_default(),
            },
            (None, Some(result), None) if body.is_none() => Content::Result(result),
            (None, None, Some(failure)) if body.is_none() => Content::Error(failure),
            (None, None, None) if self.seq.is_some_and(|seq| seq > 0) => {
                Content::Part(body.unwrap_or_default())
            }
            _ => return Err(bad("it must have exactly one of status, result and error")),
        };
        Ok(Reply { id, attempt: self.attempt, more: self.more, seq: self.seq, content })
    }
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::BadReply, detail)
}

fn status(number: u64) -> Result<u16, Error> {
    match u16::try_from(number) {
        Ok(status @ 200..=599) => Ok(status),
        _ => Err(bad(format!("status is 200 to 599, not {number}"))),
    }
}

fn failure(field: &Field<'_>) -> Result<Failure, Error> {
    let (_, fields) = frame::fields(field.value, "").map_err(|error| bad(error.detail().to_owned()))?;
    let mut failure = Failure { code: String::new(), message: String::new() };
    for field in fields.iter().filter(|field| !field.is_null()) {
        match field.name.as_ref() {
            "code" => failure.code = field.text(Code::BadReply)?,
            "message" => failure.message = field.text(Code::BadReply)?,
            _ => {}
        }
    }
    if failure.code.is_empty() { Err(bad("error needs a code")) } else { Ok(failure) }
}
