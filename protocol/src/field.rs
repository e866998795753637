//! One field of an envelope, still in its encoding, and the strict readers of its value.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Visitor};

use crate::{Code, Encoding, Error, Headers, header_map, json, limits::INTEGER_MAX, msgpack};

/// A value that was cut from a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Json(json::Value<'a>),
    MsgPack(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value as it stands on the wire.
    #[inline]
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Json(value) => value.text.as_bytes(),
            Self::MsgPack(value) => value,
        }
    }

    /// Where it stands in the frame it was cut from.
    pub(crate) fn range_in(self, frame: &[u8]) -> std::ops::Range<usize> {
        let start = self.bytes().as_ptr() as usize - frame.as_ptr() as usize;
        start..start + self.bytes().len()
    }

    /// Whether it is null: the same as an absent field.
    #[inline]
    pub(crate) fn is_null(self) -> bool {
        match self {
            Self::Json(value) => value.text == "null",
            Self::MsgPack(value) => value == [0xc0],
        }
    }

    /// Text that needs no parser.
    #[inline]
    fn string(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Json(value) => value.string(),
            Self::MsgPack(value) => msgpack::string(value).map(Cow::Borrowed),
        }
    }

    /// An integer that needs no parser.
    #[inline]
    fn integer(self) -> Option<u64> {
        let integer = match self {
            Self::Json(value) => value.short_integer(),
            Self::MsgPack(value) => msgpack::unsigned(value),
        };
        integer.filter(|integer| *integer <= INTEGER_MAX)
    }

    pub(crate) fn parse<T: DeserializeOwned>(self) -> Result<T, String> {
        match self {
            Self::Json(value) => Encoding::Json.parse(value.text.as_bytes()),
            Self::MsgPack(value) => Encoding::MsgPack.parse(value),
        }
    }
}

/// The fields a decoder reads: of each the last of its name, also if it is null. Those before it are not looked at.
pub(crate) trait Fields<'a> {
    /// Takes the value of a field that is read; leaves any other.
    fn put(&mut self, name: &str, value: Value<'a>);
}

/// Names the fields that a decoder reads, each once.
macro_rules! fields {
    ($(#[doc = $doc:literal])* $type:ident: $($name:ident)*) => {
        $(#[doc = $doc])*
        #[derive(Default)]
        struct $type<'a> {
            $($name: Option<$crate::field::Value<'a>>,)*
        }

        impl<'a> $type<'a> {
            $(fn $name(&self) -> $crate::field::Slot<'a> {
                $crate::field::Slot { name: stringify!($name), value: self.$name }
            })*
        }

        impl<'a> $crate::field::Fields<'a> for $type<'a> {
            #[inline]
            fn put(&mut self, name: &str, value: $crate::field::Value<'a>) {
                match name {
                    $(stringify!($name) => self.$name = Some(value),)*
                    _ => {}
                }
            }
        }
    };
}
pub(crate) use fields;

/// A field that may be absent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    pub(crate) name: &'static str,
    /// The value, also if it is null.
    pub(crate) value: Option<Value<'a>>,
}

impl<'a> Slot<'a> {
    /// The field, unless it is null: then it counts as absent.
    #[inline]
    pub(crate) fn given(self) -> Option<Field<'a>> {
        let value = self.value.filter(|value| !value.is_null())?;
        Some(Field { name: self.name, value })
    }

    /// What `read` makes of the field, if it is given.
    #[inline]
    pub(crate) fn read<T>(
        self,
        read: impl FnOnce(Field<'a>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.given().map(read).transpose()
    }

    /// Text, empty if it is absent; `code` if it is anything else.
    pub(crate) fn text_or_empty(self, code: Code) -> Result<String, Error> {
        self.given().map_or(Ok(String::new()), |field| Ok(field.text(code)?.into_owned()))
    }
}

/// A field of a map: its name and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    name: &'static str,
    value: Value<'a>,
}

impl<'a> Field<'a> {
    /// The value as it stands on the wire.
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.value.bytes()
    }

    #[cold]
    fn parse<T: DeserializeOwned>(self, code: Code) -> Result<T, Error> {
        self.value.parse().map_err(|detail| Error::new(code, format!("{}: {detail}", self.name)))
    }

    /// Text; `code` if it is anything else.
    #[inline]
    pub(crate) fn text(self, code: Code) -> Result<Cow<'a, str>, Error> {
        self.value.string().map_or_else(|| self.parse(code).map(Cow::Owned), Ok)
    }

    /// An integer of 0 to 2^53 - 1, also as an integral float; `code` if it is anything else.
    #[inline]
    pub(crate) fn integer(self, code: Code) -> Result<u64, Error> {
        self.value.integer().map_or_else(|| self.parse::<Integer>(code).map(|integer| integer.0), Ok)
    }

    /// An integer of 1 to 2^53 - 1; `code` if it is anything else.
    pub(crate) fn positive(self, code: Code) -> Result<u64, Error> {
        match self.integer(code)? {
            0 => Err(Error::new(code, format!("{} counts from 1", self.name))),
            number => Ok(number),
        }
    }

    /// `true` or `false`; `code` if it is anything else.
    pub(crate) fn boolean(self, code: Code) -> Result<bool, Error> {
        self.parse(code)
    }

    /// A body: text in JSON, bytes in MessagePack (also bytes packed as `str`).
    pub(crate) fn body(self) -> Result<Bytes, Error> {
        match self.value {
            Value::Json(_) => self.text(Code::BadBody).map(|text| Bytes::from(text.into_owned())),
            Value::MsgPack(value) => rmp_serde::from_slice::<&serde_bytes::Bytes>(value)
                .map(|body| Bytes::copy_from_slice(body))
                .map_err(|error| Error::new(Code::BadBody, format!("{}: {error}", self.name))),
        }
    }

    /// A body in base64 (RFC 4648 section 4, padded, no blanks).
    pub(crate) fn body_base64(self) -> Result<Bytes, Error> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = self.text(Code::BadBody)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Bytes::from)
            .map_err(|error| Error::new(Code::BadBody, error.to_string()))
    }

    /// Header fields; `code` if they are anything else.
    pub(crate) fn headers(self, code: Code) -> Result<Headers, Error> {
        match self.value {
            Value::Json(map) if map.text.starts_with('{') => header_map::in_json(map.text, code),
            _ => self.parse::<header_map::HeaderMap>(code)?.check(code),
        }
    }
}

/// The body among these two fields, or none.
///
/// Errors: `bad_body` for both, or for one that is broken.
pub(crate) fn body(body: Slot<'_>, body_base64: Slot<'_>) -> Result<Option<Bytes>, Error> {
    match (body.given(), body_base64.given()) {
        (Some(_), Some(_)) => Err(Error::new(Code::BadBody, "both body and body_base64")),
        (Some(body), None) => body.body().map(Some),
        (None, Some(base64)) => base64.body_base64().map(Some),
        (None, None) => Ok(None),
    }
}

struct Integer(u64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 0 to 2^53 - 1")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Integer, E> {
        if number <= INTEGER_MAX { Ok(Integer(number)) } else { Err(E::custom("larger than 2^53 - 1")) }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Integer, E> {
        self.visit_u64(u64::try_from(number).map_err(|_| E::custom("negative"))?)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Integer, E> {
        #[allow(clippy::cast_precision_loss)] // 2^53 - 1 is exact in a double
        let fits = number.fract() == 0.0 && (0.0..=INTEGER_MAX as f64).contains(&number);
        if !fits {
            return Err(E::custom("not an integer of 0 to 2^53 - 1"));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked above
        Ok(Integer(number as u64))
    }
}
