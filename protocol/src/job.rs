//! Jobs: the envelope, decoding, and the one change recovery makes (SPEC "Jobs").

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    Action, Background, Code, Encoding, Error, Group, Holds, HttpRequest, JobId, Keys, Queue, Raw, Tag,
    background::{group_of, list_of_maps},
    field::{Field, fields},
    frame::{self, ExtIn},
    limits::{ATTEMPTS_BACKGROUND, ATTEMPTS_WAITED, INTEGER_MAX},
    writer::{MapWriter, put_integer, put_text},
};

/// Priority lane of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Served first.
    High,
    /// The lane every worker serves.
    #[default]
    Normal,
    /// Served last, never starved.
    Low,
}

impl Lane {
    /// All lanes, the first served first.
    pub const ALL: [Lane; 3] = [Lane::High, Lane::Normal, Lane::Low];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

impl std::str::FromStr for Lane {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == word)
            .ok_or_else(|| Error::new(Code::BadName, format!("lane is high, normal or low, not {word:?}")))
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything of a job but its arguments. Recovery reads only this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The handler the job is for.
    pub action: Action,
    /// Absent: no reply, no cancel.
    pub id: Option<JobId>,
    /// Full key of the mailbox somebody waits at; absent: fire and forget.
    pub reply_to: Option<String>,
    /// Milliseconds in Redis time after which nobody waits any more; 0: never.
    pub deadline_ms: u64,
    /// Which start this is, from 1.
    pub attempt: u64,
    /// How often the job may be started; absent: see [`Envelope::attempts_max`].
    pub attempts: Option<u64>,
    /// The lane it belongs to.
    pub lane: Lane,
    /// Milliseconds in Redis time when it was pushed.
    pub queued_at_ms: Option<u64>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Id of the session the request belongs to.
    pub session: Option<String>,
    /// What only background jobs say; none: nothing of it.
    pub background: Option<Box<Background>>,
}

impl Envelope {
    /// A fire-and-forget job for an action, everything else at its default.
    pub fn new(action: Action) -> Self {
        Self {
            action,
            id: None,
            reply_to: None,
            deadline_ms: 0,
            attempt: 1,
            attempts: None,
            lane: Lane::Normal,
            queued_at_ms: None,
            traceparent: None,
            session: None,
            background: None,
        }
    }

    /// How often the job may be started: as it says, else 1 if somebody waits for it and 3 if nobody does.
    pub fn attempts_max(&self) -> u64 {
        let default = if self.reply_to.is_some() { ATTEMPTS_WAITED } else { ATTEMPTS_BACKGROUND };
        self.attempts.unwrap_or(default)
    }

    /// Its unique key, if it lets that go when it starts.
    pub fn unique_at_start(&self) -> Option<&Tag> {
        let background = self.background.as_ref()?;
        background.unique.as_ref().filter(|_| background.unique_while == Holds::Queued)
    }

    /// Its unique key, unless it holds that for a time. One that lets it go when it starts is among them: Redis may have been
    /// away at its start.
    pub fn unique_at_end(&self) -> Option<&Tag> {
        let background = self.background.as_ref()?;
        background.unique.as_ref().filter(|_| background.unique_while != Holds::Time)
    }

    /// The id its record has; none: it has no record, for somebody waits for it, or it has no id.
    pub fn record_id(&self) -> Option<&JobId> {
        self.id.as_ref().filter(|_| self.reply_to.is_none())
    }

    /// The group that waits for it, and the queue that lies in: of a background job with an id.
    pub fn member_of(&self) -> Option<&(Queue, Group)> {
        self.record_id()?;
        self.background.as_ref()?.group.as_ref()
    }

    /// Whether its deadline has passed at `now_ms` in Redis time.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.deadline_ms != 0 && self.deadline_ms < now_ms
    }

    /// Writes a job frame: this envelope around `args`, in the encoding of `args`.
    pub fn encode(&self, args: &Raw) -> Bytes {
        self.write(args.encoding(), args.bytes().len(), |map| map.raw("args", args))
    }

    /// Writes the job frame of an HTTP request: the same as [`Envelope::encode`] around the encoded request, without
    /// the copy in between.
    pub fn encode_request(&self, request: &HttpRequest, encoding: Encoding) -> Bytes {
        self.write(encoding, request.room(), |map| map.map("args", |args| request.write(args)))
    }

    fn write(&self, encoding: Encoding, room: usize, args: impl FnOnce(&mut MapWriter<'_>)) -> Bytes {
        let mut out = Vec::with_capacity(320 + room);
        let mut map = MapWriter::begin(&mut out, encoding);
        map.text_if("id", self.id.as_ref().map(JobId::as_str));
        map.text_if("reply_to", self.reply_to.as_deref());
        map.text("action", self.action.as_str());
        map.integer_if("attempt", (self.attempt != 1).then_some(self.attempt));
        map.integer_if("attempts", self.attempts);
        map.integer_if("deadline", (self.deadline_ms != 0).then_some(self.deadline_ms));
        map.text_if("lane", (self.lane != Lane::Normal).then(|| self.lane.as_str()));
        map.integer_if("queued_at", self.queued_at_ms);
        map.text_if("traceparent", self.traceparent.as_deref());
        map.text_if("session", self.session.as_deref());
        if let Some(background) = &self.background {
            background.write(&mut map);
        }
        args(&mut map);
        map.end();
        out.into()
    }

    /// Everything as the fields say, in this order: of several that are wrong the first is told.
    fn of(fields: &Fields<'_>, keys: &Keys, encoding: Encoding, frame: &Bytes) -> Result<Self, Error> {
        let action = fields.action().given().ok_or_else(|| Error::new(BAD, "action is required"))?;
        Ok(Self {
            action: named(Action::new(action.text(BAD)?))?,
            id: fields.id().read(|field| named(JobId::new(field.text(BAD)?)))?,
            reply_to: fields.reply_to().read(|field| mailbox_key(field.text(BAD)?, keys))?,
            deadline_ms: fields.deadline().read(|field| field.integer(BAD))?.unwrap_or(0),
            attempt: fields.attempt().read(|field| field.positive(BAD))?.unwrap_or(1),
            attempts: fields.attempts().read(|field| field.positive(BAD))?,
            lane: fields.lane().read(|field| named(field.text(BAD)?.parse()))?.unwrap_or_default(),
            queued_at_ms: fields.queued_at().read(|field| field.integer(BAD))?,
            traceparent: fields.traceparent().read(text)?,
            session: fields.session().read(text)?,
            background: background(fields, encoding, frame)?,
        })
    }
}

const BAD: Code = Code::BadJob;

fields! {
    /// What is read of a job.
    Fields: id reply_to action deadline attempt attempts lane queued_at traceparent session keep unique unique_while key group then input args
}

/// What only background jobs say.
fn background(
    fields: &Fields<'_>,
    encoding: Encoding,
    frame: &Bytes,
) -> Result<Option<Box<Background>>, Error> {
    let said = [
        fields.keep,
        fields.unique,
        fields.unique_while,
        fields.key,
        fields.group,
        fields.then,
        fields.input,
    ];
    if said.iter().all(Option::is_none) {
        return Ok(None);
    }
    let cut = |field: Field<'_>| frame.slice_ref(field.bytes());
    let background = Background {
        keep_ms: fields.keep().read(|field| field.integer(BAD))?.unwrap_or(0),
        unique: fields.unique().read(|field| named(Tag::new(field.text(BAD)?)))?,
        unique_while: fields
            .unique_while()
            .read(|field| named(field.text(BAD)?.parse::<Holds>()))?
            .unwrap_or_default(),
        key: fields.key().read(|field| named(Tag::new(field.text(BAD)?)))?,
        group: fields.group().read(|field| named(group_of(&field.text(BAD)?)))?,
        then: fields.then().read(|field| named(list_of_maps(encoding, cut(field))))?,
        input: fields.input().read(|field| Ok(Raw::new(encoding, cut(field))))?,
    };
    Ok(Some(Box::new(background)).filter(|background| !background.is_empty()))
}

fn text(field: Field<'_>) -> Result<String, Error> {
    field.text(BAD).map(Cow::into_owned)
}

/// A name that is not allowed makes a job that is not allowed.
fn named<T>(name: Result<T, Error>) -> Result<T, Error> {
    name.map_err(|error| Error::new(BAD, error.detail().to_owned()))
}

/// A `reply_to` must be a mailbox of this cluster: a worker is nobody's deputy for other keys.
fn mailbox_key(reply_to: Cow<'_, str>, keys: &Keys) -> Result<String, Error> {
    if keys.is_mailbox(&reply_to) {
        Ok(reply_to.into_owned())
    } else {
        Err(Error::new(BAD, format!("reply_to {reply_to:?} is no mailbox")))
    }
}

/// A job as it was claimed: the envelope, the arguments, and the exact bytes for the ack.
#[derive(Clone, Debug)]
pub struct Job {
    /// Everything but the arguments.
    pub envelope: Envelope,
    args: Raw,
    frame: Bytes,
}

impl Job {
    /// Reads a job of the cluster `keys` stands for.
    ///
    /// Errors: `bad_frame`, `bad_json`, `bad_msgpack`, `too_deep` or `bad_job`.
    pub fn decode(frame: Bytes, keys: &Keys) -> Result<Self, Error> {
        let mut fields = Fields::default();
        let encoding = frame::read(&frame, ExtIn::Field("args"), &mut fields)?;
        let envelope = Envelope::of(&fields, keys, encoding, &frame)?;
        let args = match fields.args().given() {
            Some(field) => Raw::new(encoding, frame.slice_ref(field.bytes())),
            None => Raw::null(encoding),
        };
        Ok(Self { envelope, args, frame })
    }

    /// The bytes as they were claimed: what the ack removes.
    pub fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The arguments.
    pub fn args(&self) -> &Raw {
        &self.args
    }

    /// The encoding of the frame, and so of its reply.
    pub fn encoding(&self) -> Encoding {
        self.args.encoding()
    }

    /// The same frame with another `attempt`: only that value changes, every other byte stays. A frame without the
    /// field gets it at the front.
    pub fn with_attempt(&self, attempt: u64) -> Bytes {
        let attempt = attempt.min(INTEGER_MAX);
        let encoding = self.encoding();
        let mut number = Vec::with_capacity(9);
        put_integer(&mut number, encoding, attempt);
        let fields = frame::fields(&self.frame, ExtIn::Field("args")).unwrap_or_default();
        match fields.iter().rev().find(|(name, _)| name == "attempt") {
            Some((_, value)) => splice(&self.frame, value.range_in(&self.frame), &[], &number),
            None => with_field_at_front(&self.frame, encoding, fields.len(), &number),
        }
    }
}

fn splice(frame: &[u8], range: std::ops::Range<usize>, before: &[u8], value: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(frame.len() + before.len() + value.len());
    out.extend_from_slice(&frame[..range.start]);
    out.extend_from_slice(before);
    out.extend_from_slice(value);
    out.extend_from_slice(&frame[range.end..]);
    out.into()
}

fn with_field_at_front(frame: &[u8], encoding: Encoding, fields: usize, number: &[u8]) -> Bytes {
    let mut head = Vec::with_capacity(16);
    match encoding {
        Encoding::Json => {
            let brace = frame.iter().position(|byte| *byte == b'{').unwrap_or(0);
            put_text(&mut head, encoding, "attempt");
            head.push(b':');
            let value = [number, b","].concat();
            splice(frame, brace + 1..brace + 1, &head, &value)
        }
        Encoding::MsgPack => {
            let header = match frame[0] {
                0xde => 3,
                0xdf => 5,
                _ => 1,
            };
            rmp::encode::write_map_len(&mut head, u32::try_from(fields + 1).unwrap_or(u32::MAX))
                .expect("a Vec takes every byte");
            put_text(&mut head, encoding, "attempt");
            splice(frame, 0..header, &head, number)
        }
    }
}
