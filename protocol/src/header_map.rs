//! Header fields as they stand on the wire: a map of text, or of lists of texts (SPEC "HTTP jobs").

use std::{borrow::Cow, collections::HashMap, fmt};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::{Code, Error, Headers, headers::mark, json};

/// Reads a map in JSON: the same as [`HeaderMap`], without copies in between.
pub(crate) fn in_json(map: &str, code: Code) -> Result<Headers, Error> {
    let coded = |error: Error| Error::new(code, format!("headers: {}", error.detail()));
    let mut fields = Vec::with_capacity(16);
    json::entries(map, |name, value| fields.push((name, value))).map_err(coded)?;
    let mut headers = Headers::with_capacity(fields.len(), map.len());
    let mut push = |name: &str, value: json::Value<'_>| match value.string() {
        Some(value) => headers.push_text(name, &value).map_err(|detail| Error::new(code, detail)),
        None => Err(Error::new(code, "headers: text or a list of texts is due")),
    };
    for (name, value) in last_of_each(fields) {
        if !value.text.starts_with('[') {
            push(&name, value)?;
            continue;
        }
        let mut pushed = Ok(());
        json::items(value.text, |item| {
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
    let mut seen = 0;
    let stands_before = |(at, (name, _)): (usize, &(Cow<'_, str>, V))| {
        let mark = mark(name);
        let may_be = seen & mark != 0;
        seen |= mark;
        may_be && fields[..at].iter().any(|(earlier, _)| earlier == name)
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

/// Header fields as they stand on the wire: text or a list of texts a name.
pub(crate) struct HeaderMap(Vec<(Cow<'static, str>, OneOrMany)>);

enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl HeaderMap {
    /// Errors: `code` for a name or a value that HTTP does not allow.
    pub(crate) fn check(self, code: Code) -> Result<Headers, Error> {
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
