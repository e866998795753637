//! A frame: one map in JSON or MessagePack, told by its first byte (SPEC "Frames").

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Code, Error,
    field::{Fields, Value},
    json, msgpack,
    writer::{put_map_header, put_name},
};

/// How a frame is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// UTF-8 JSON, the default.
    #[default]
    Json,
    /// MessagePack, where bodies are binary or rates high.
    MsgPack,
}

impl Encoding {
    /// Tells the encoding of a frame by its first byte that is no blank.
    ///
    /// Errors: `bad_json` for a byte order mark, `bad_frame` for anything that begins no map.
    pub fn of(frame: &[u8]) -> Result<Self, Error> {
        match frame.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            Some(b'{') => Ok(Self::Json),
            Some(0xef) if frame.starts_with(b"\xef\xbb\xbf") => {
                Err(Error::new(Code::BadJson, "a byte order mark before the map"))
            }
            Some(0x80..=0x8f | 0xde | 0xdf) if !frame[0].is_ascii() => Ok(Self::MsgPack),
            _ => Err(Error::new(Code::BadFrame, "neither a JSON nor a MessagePack map")),
        }
    }

    /// The word for it in configuration files: `json` or `msgpack`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MsgPack => "msgpack",
        }
    }

    pub(crate) fn parse<T: DeserializeOwned>(self, value: &[u8]) -> Result<T, String> {
        match self {
            Self::Json => serde_json::from_slice(value).map_err(|error| error.to_string()),
            Self::MsgPack => rmp_serde::from_slice(value).map_err(|error| error.to_string()),
        }
    }
}

impl std::str::FromStr for Encoding {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        match word {
            "json" => Ok(Self::Json),
            "msgpack" => Ok(Self::MsgPack),
            _ => Err(Error::new(Code::BadName, format!("encoding is json or msgpack, not {word:?}"))),
        }
    }
}

/// Where MessagePack ext types are allowed.
#[derive(Clone, Copy)]
pub(crate) enum ExtIn {
    /// In this field only: the one with values of the user's own.
    Field(&'static str),
    /// Anywhere: the map lies inside such a field.
    Any,
}

impl ExtIn {
    pub(crate) fn allows(self, name: &str) -> bool {
        match self {
            Self::Field(free) => name == free,
            Self::Any => true,
        }
    }
}

/// Walks over the fields of a frame: each name, and its value.
#[inline]
pub(crate) fn entries<'a>(
    frame: &'a [u8],
    ext: ExtIn,
    mut take: impl FnMut(Cow<'a, str>, Value<'a>),
) -> Result<Encoding, Error> {
    let encoding = Encoding::of(frame)?;
    match encoding {
        Encoding::Json => json::entries(json::text(frame)?, |name, value| take(name, Value::Json(value)))?,
        Encoding::MsgPack => {
            msgpack::entries(frame, ext, |name, value| take(name.into(), Value::MsgPack(value)))?;
        }
    }
    Ok(encoding)
}

/// Reads the fields of a frame that its decoder knows.
pub(crate) fn read<'a>(frame: &'a [u8], ext: ExtIn, fields: &mut impl Fields<'a>) -> Result<Encoding, Error> {
    entries(frame, ext, |name, value| fields.put(&name, value))
}

/// Cuts a frame into its fields, in order, duplicates included.
pub(crate) fn fields(frame: &[u8], ext: ExtIn) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, Error> {
    let mut fields = Vec::with_capacity(16);
    entries(frame, ext, |name, value| fields.push((name, value)))?;
    Ok(fields)
}

/// The maps of a list, each as it stands there.
///
/// Errors: `bad_job` if it is no list, or something in it is no map.
pub(crate) fn items(list: &Raw) -> Result<Vec<Bytes>, Error> {
    let mut maps = Vec::new();
    let mut take = |value: &[u8]| maps.push(list.bytes.slice_ref(value));
    match list.encoding {
        Encoding::Json => json::items(json::text(&list.bytes)?, |value| take(value.text.as_bytes()))?,
        Encoding::MsgPack => msgpack::items(&list.bytes, take)?,
    }
    if maps.iter().all(|map| Encoding::of(map) == Ok(list.encoding)) {
        Ok(maps)
    } else {
        Err(Error::new(Code::BadJob, "a job is a map"))
    }
}

/// The same map with these fields in front, written in its encoding, and without those of these names: every other byte of
/// a value stays as it is.
pub(crate) fn remake(frame: &[u8], encoding: Encoding, front: &[(&str, &[u8])], without: &[&str]) -> Bytes {
    let fields = fields(frame, ExtIn::Field("args")).unwrap_or_default();
    let is_kept = |name: &str| !without.contains(&name) && front.iter().all(|(other, _)| *other != name);
    let kept = fields.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| (&**name, value.bytes()));
    let all: Vec<_> = front.iter().copied().chain(kept).collect();
    let mut out =
        Vec::with_capacity(frame.len() + front.iter().map(|(_, value)| value.len() + 16).sum::<usize>());
    put_map_header(&mut out, encoding, all.len());
    for (place, (name, value)) in all.into_iter().enumerate() {
        if encoding == Encoding::Json && place > 0 {
            out.push(b',');
        }
        put_name(&mut out, encoding, name);
        out.extend_from_slice(value);
    }
    if encoding == Encoding::Json {
        out.push(b'}');
    }
    out.into()
}

/// A value that was received and not looked into: the arguments of a job or the result of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    encoding: Encoding,
    bytes: Bytes,
}

impl Raw {
    pub(crate) fn new(encoding: Encoding, bytes: Bytes) -> Self {
        Self { encoding, bytes }
    }

    pub(crate) fn null(encoding: Encoding) -> Self {
        let null: &[u8] = match encoding {
            Encoding::Json => b"null",
            Encoding::MsgPack => &[0xc0],
        };
        Self { encoding, bytes: Bytes::from_static(null) }
    }

    /// Writes any value.
    ///
    /// Errors: `bad_job` if the value cannot be written in this encoding.
    pub fn encode(encoding: Encoding, value: &impl Serialize) -> Result<Self, Error> {
        let mut out = Vec::with_capacity(128);
        let written = match encoding {
            Encoding::Json => serde_json::to_writer(&mut out, value).map_err(|error| error.to_string()),
            Encoding::MsgPack => value
                .serialize(&mut rmp_serde::Serializer::new(&mut out).with_struct_map())
                .map_err(|error| error.to_string()),
        };
        written.map_err(|detail| Error::new(Code::BadJob, detail))?;
        Ok(Self { encoding, bytes: out.into() })
    }

    /// The encoding of [`Raw::bytes`].
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The value as it stands on the wire.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same value in another encoding; itself if it has that encoding already.
    ///
    /// Errors: `bad_job` if JSON cannot hold it (binary data, map keys that are no text).
    pub fn to_encoding(&self, encoding: Encoding) -> Result<Self, Error> {
        if self.encoding == encoding {
            return Ok(self.clone());
        }
        Self::encode(encoding, &self.decode::<serde_json::Value>()?)
    }

    /// Reads the value as a type.
    ///
    /// Errors: `bad_job` if it has another shape; the detail says where.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.encoding.parse(&self.bytes).map_err(|detail| Error::new(Code::BadJob, detail))
    }
}
