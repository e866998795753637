//! Replies: what a worker sends to the mailbox of whoever waits (SPEC "Replies").

use bytes::Bytes;

use crate::{
    Code, Encoding, Error, Headers, JobId, Raw,
    field::{Field, Slot, body, fields},
    frame::{self, ExtIn},
    writer::MapWriter,
};

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
    /// When it was claimed and how long it took, as far as its worker tells.
    pub timing: Timing,
    /// What it says.
    pub content: Content,
}

/// What a worker tells of its time with a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When it had the job in hand, in milliseconds of Redis time.
    pub claimed_at_ms: Option<u64>,
    /// How long it worked, in microseconds of its own clock.
    pub work_us: Option<u64>,
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

impl Content {
    /// Bytes that are enough for most of it, unless much has to be escaped.
    fn room(&self) -> usize {
        match self {
            Self::Http { headers, body, .. } => headers.bytes() + 8 * headers.len() + body.len() * 3 / 2,
            Self::Part(body) => body.len() * 3 / 2,
            Self::Result(result) => result.bytes().len(),
            Self::Error(failure) => failure.code.len() + failure.message.len(),
        }
    }
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
        Self { id, attempt: Some(attempt), more: false, seq: None, timing: Timing::default(), content }
    }

    /// The same, with what its worker tells of its time.
    #[must_use]
    pub fn timed(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// Writes a reply frame. A result of another encoding is translated.
    ///
    /// Errors: `bad_job` if `encoding` is JSON and cannot hold the result.
    pub fn encode(&self, encoding: Encoding) -> Result<Bytes, Error> {
        let result = match &self.content {
            Content::Result(result) => Some(result.to_encoding(encoding)?),
            _ => None,
        };
        let mut out = Vec::with_capacity(256 + self.content.room());
        let mut map = MapWriter::begin(&mut out, encoding);
        map.text("id", self.id.as_str());
        map.integer_if("attempt", self.attempt);
        if self.more {
            map.truth("more");
        }
        map.integer_if("seq", self.seq);
        map.integer_if("claimed_at", self.timing.claimed_at_ms);
        map.integer_if("work_us", self.timing.work_us);
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

    /// Reads a reply. It must be exactly one of: HTTP (with `status`), a later part, `result`, `error`.
    ///
    /// Errors: `bad_frame`, `bad_json`, `bad_msgpack`, `too_deep`, `bad_reply` or `bad_body`.
    pub fn decode(frame: &Bytes) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let encoding = frame::read(frame, ExtIn::Field("result"), &mut fields)?;
        let integer = |slot: Slot<'_>| slot.read(|field| field.integer(BAD));
        let content = content(&fields, |result| Raw::new(encoding, frame.slice_ref(result)))?;
        let reply = Self {
            id: id(fields.id())?,
            attempt: fields.attempt().read(|field| field.positive(BAD))?,
            more: fields.more().read(|field| field.boolean(BAD))?.unwrap_or(false),
            seq: integer(fields.seq())?,
            timing: Timing {
                claimed_at_ms: integer(fields.claimed_at())?,
                work_us: integer(fields.work_us())?,
            },
            content,
        };
        reply.check_place()
    }

    /// Parts count from 0, the first alone has the status, and only HTTP replies have parts.
    fn check_place(self) -> Result<Self, Error> {
        match (&self.content, self.more, self.seq) {
            (Content::Part(_), _, None | Some(0)) => Err(bad("it has neither status, result nor error")),
            (Content::Http { .. }, _, Some(1..)) => Err(bad("a later part has no status")),
            (Content::Http { .. }, true, None) => Err(bad("a part needs its seq")),
            (Content::Result(_) | Content::Error(_), true, _) => {
                Err(bad("a result or an error is the last of its parts"))
            }
            _ => Ok(self),
        }
    }

    /// The id alone, of a frame that does not decode otherwise: so that its waiter need not wait to its deadline.
    pub fn id_of(frame: &[u8]) -> Option<JobId> {
        let mut fields = Fields::default();
        frame::read(frame, ExtIn::Field("result"), &mut fields).ok()?;
        id(fields.id()).ok()
    }
}

const BAD: Code = Code::BadReply;

fields! {
    /// What is read of a reply.
    Fields: id attempt more seq claimed_at work_us status headers body body_base64 result error
}

fields! {
    /// What is read of an error.
    ErrorFields: code message
}

/// What a reply says; `raw` makes a result of bytes of its frame.
fn content(fields: &Fields<'_>, raw: impl FnOnce(&[u8]) -> Raw) -> Result<Content, Error> {
    let body = body(fields.body(), fields.body_base64())?;
    // A null result is a result.
    match (fields.status().given(), fields.result().value, fields.error().given()) {
        (Some(code), None, None) => Ok(Content::Http {
            status: status(code.integer(BAD)?)?,
            headers: fields.headers().read(|field| field.headers(BAD))?.unwrap_or_default(),
            body: body.unwrap_or_default(),
        }),
        (None, None, None) => Ok(Content::Part(body.unwrap_or_default())),
        (None, Some(result), None) if body.is_none() => Ok(Content::Result(raw(result.bytes()))),
        (None, None, Some(error)) if body.is_none() => failure(error).map(Content::Error),
        _ => Err(bad("it says more than one of status, result and error")),
    }
}

fn id(slot: Slot<'_>) -> Result<JobId, Error> {
    let field = slot.given().ok_or_else(|| bad("id is required"))?;
    JobId::new(field.text(BAD)?).map_err(|error| bad(error.detail().to_owned()))
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(BAD, detail)
}

fn status(number: u64) -> Result<u16, Error> {
    match u16::try_from(number) {
        Ok(status @ 200..=599) => Ok(status),
        _ => Err(bad(format!("status is 200 to 599, not {number}"))),
    }
}

fn failure(field: Field<'_>) -> Result<Failure, Error> {
    let mut fields = ErrorFields::default();
    frame::read(field.bytes(), ExtIn::Any, &mut fields).map_err(|error| bad(error.detail().to_owned()))?;
    let failure =
        Failure { code: fields.code().text_or_empty(BAD)?, message: fields.message().text_or_empty(BAD)? };
    if failure.code.is_empty() { Err(bad("error needs a code")) } else { Ok(failure) }
}
