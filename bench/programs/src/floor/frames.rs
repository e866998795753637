//! What goes through Redis: jobs and replies, in JSON.

use std::{borrow::Cow, fmt};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Serialize, Deserialize)]
pub(crate) struct Job<'a> {
    pub(crate) action: &'a str,
    pub(crate) id: &'a str,
    #[serde(borrow)]
    pub(crate) args: Args<'a>,
    pub(crate) reply_to: &'a str,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Args<'a> {
    pub(crate) method: &'a str,
    #[serde(borrow)]
    pub(crate) url: Cow<'a, str>,
    pub(crate) headers: Headers,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Reply<'a> {
    pub(crate) id: &'a str,
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: String,
}

pub(crate) struct Headers(pub(crate) HeaderMap);

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer
            .collect_map(self.0.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap_or(""))))
    }
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor)
    }
}

struct Visitor;

/// A text that is copied only if it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Headers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("headers")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
        let mut headers = HeaderMap::with_capacity(4);
        while let Some((name, Text(value))) = map.next_entry::<&str, Text<'de>>()? {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(de::Error::custom)?;
            headers.append(name, HeaderValue::from_str(&value).map_err(de::Error::custom)?);
        }
        Ok(Headers(headers))
    }
}
