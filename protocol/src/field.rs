//! One field of an envelope, still in its encoding, and the strict readers of its value.

use std::{borrow::Cow, collections::HashMap, fmt};

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{Code, Encoding, Error, Headers, json, limits::INTEGER_MAX};

/// A field of a map: its name and the bytes of its value.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) encoding: Encoding,
    pub(crate) value: &'a [u8],
}

impl Field<'_> {
    /// Whether the value is null: the same as an absent field.
    pub(crate) fn is_null(&self) -> bool {
        match self.encoding {
            Encoding::Json => self.value == b"null",
            Encoding::MsgPack => self.value == [0xc0],
        }
    }

    /// Where the value stands in the frame it was cut from.
    pub(crate) fn range_in(&self, frame: &[u8]) -> std::ops::Range<usize> {
        let start = self.value.as_ptr() as usize - frame.as_ptr() as usize;
        start..start + self.value.len()
    }

    fn parse<T: DeserializeOwned>(&self, code: Code) -> Result<T, Error> {
        self.encoding.parse(self.value).map_err(|detail| Error::new(code, format!("{}: {detail}", self.name)))
    }

    /// Text; `code` if it is anything else.
    pub(crate) fn text(&self, code: Code) -> Result<String, Error> {
        self.text_in_json().map_or_else(|| self.parse(code), |text| Ok(text.into_owned()))
    }

    /// Without a parser, the common case.
    fn text_in_json(&self) -> Option<Cow<'_, str>> {
        if self.encoding == Encoding::Json { json::text(self.value) } else { None }
    }

    /// An integer of 0 to 2^53 - 1, also as an integral float; `code` if it is anything else.
    pub(crate) fn integer(&self, code: Code) -> Result<u64, Error> {
        let short = if self.encoding == Encoding::Json { json::short_integer(self.value) } else { None };
        short.map_or_else(|| self.parse::<Integer>(code).map(|integer| integer.0), Ok)
    }

    /// An integer of 1 to 2^53 - 1; `code` if it is anything else.
    pub(crate) fn positive(&self, code: Code) -> Result<u64, Error> {
        match self.integer(code)? {
            0 => Err(Error::new(code, format!("{} counts from 1", self.name))),
            number => Ok(number),
        }
    }

    /// `true` or `false`; `code` if it is anything else.
    pub(crate) fn boolean(&self, code: Code) -> Result<bool, Error> {
        self.parse(code)
    }

    /// A body: text in JSON, bytes in MessagePack (also bytes packed as `str`).
    pub(crate) fn body(&self) -> Result<Bytes, Error> {
        match self.encoding {
            Encoding::Json => self.text(Code::BadBody).map(Bytes::from),
            Encoding::MsgPack => rmp_serde::from_slice::<&serde_bytes::Bytes>(self.value)
                .map(|body| Bytes::copy_from_slice(body))
                .map_err(|error| Error::new(Code::BadBody, format!("{}: {error}", self.name))),
        }
    }

    /// A body in base64 (RFC 4648 section 4, padded, no blanks).
    pub(crate) fn body_base64(&self) -> Result<Bytes, Error> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let text = self.text(Code::BadBody)?;
        STANDARD.decode(text).map(Bytes::from).map_err(|error| Error::new(Code::BadBody, error.to_string()))
    }

    /// Header fields; `code` if they are anything else.
    pub(crate) fn headers(&self, code: Code) -> Result<Headers, Error> {
        match self.encoding {
            Encoding::Json if self.value.starts_with(b"{") => headers_in_json(self.value, code),
            _ => self.parse::<HeaderMap>(code)?.check(code),
        }
    }
}

/// The same as [`HeaderMap`], without copies in between.
fn headers_in_json(map: &[u8], code: Code) -> Result<Headers, Error> {
    let coded = |error: Error| Error::new(code, format!("headers: {}", error.detail()));
    let mut fields = Vec::with_capacity(16);
    json::entries(map, |name, value| fields.push((name, value))).map_err(coded)?;
    let mut headers = Headers::default();
    let no_text = || Error::new(code, "headers: text or a list of texts is due");
    let mut push = |name: &str, value: &[u8]| {
        let value = json::text(value).ok_or_else(no_text)?;
        headers.push_text(name, &value).map_err(|detail| Error::new(code, detail))
    };
    for (name, value) in last_of_each(fields) {
        if !value.starts_with(b"[") {
            push(&name, value)?;
            continue;
        }
        let mut pushed = Ok(());
        json::items(value, |item| {
            if pushed.is_ok() {
                pushed = push(&name, item);
            }
        })
        .map_err(coded)?;
        pushed?;
    }
    Ok(headers)
}

/// Names that are compared with each other one by one; more are looked up.
const FEW: usize = 32;

/// Last duplicate wins, as everywhere, at the place of the first: a repeated field is a list.
fn last_of_each<'a, V>(fields: Vec<(Cow<'a, str>, V)>) -> Vec<(Cow<'a, str>, V)> {
    let stands_before = |(at, (name, _)): (usize, &(Cow<'_, str>, V))| {
        fields[..at].iter().any(|(earlier, _)| earlier == name)
    };
    if fields.len() <= FEW && !fields.iter().enumerate().any(stands_before) {
        return fields;
    }
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(fields.len());
    let mut kept: Vec<(Cow<'a, str>, V)> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        match places.get(&name) {
            Some(&place) => kept[place].1 = value,
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
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

/// Header fields as they stand on the wire: text or a list of texts a name.
struct HeaderMap(Vec<(Cow<'static, str>, OneOrMany)>);

enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl HeaderMap {
    fn check(self, code: Code) -> Result<Headers, Error> {
        let mut headers = Headers::default();
        for (name, value) in self.0 {
            let values = match value {
                OneOrMany::One(value) => vec![value],
                OneOrMany::Many(values) => values,
            };
            for value in values {
                headers.push_text(&name, &value).map_err(|detail| Error::new(code, detail))?;
            }
        }
        Ok(headers)
    }
}

impl<'de> Deserialize<'de> for HeaderMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeaderMapVisitor)
    }
}

struct HeaderMapVisitor;

impl<'de> Visitor<'de> for HeaderMapVisitor {
    type Value = HeaderMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of header fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderMap, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, OneOrMany>()? {
            fields.push((Cow::Owned(name), value));
        }
        Ok(HeaderMap(last_of_each(fields)))
    }

    /// PHP writes an empty map as an empty array.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HeaderMap, A::Error> {
        match seq.next_element::<serde::de::IgnoredAny>()? {
            None => Ok(HeaderMap(Vec::new())),
            Some(_) => Err(A::Error::custom("headers are a map, not a list")),
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = OneOrMany;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a list of texts")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(value.to_owned()))
    }

    fn visit_string<E: serde::de::Error>(self, value: String) -> Result<OneOrMany, E> {
        Ok(OneOrMany::One(value))
    }

    fn visit_bytes<E: serde::de::Error>(self, value: &[u8]) -> Result<OneOrMany, E> {
        self.visit_str(std::str::from_utf8(value).map_err(E::custom)?)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element::<String>()? {
            values.push(value);
        }
        Ok(OneOrMany::Many(values))
    }
}
