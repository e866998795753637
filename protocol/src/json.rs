//! What JSON must satisfy beyond its grammar: depth, no lone surrogates, no number out of range (SPEC "JSON").

use std::borrow::Cow;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{Code, Error, field::Field, frame::Encoding, limits::DEPTH_MAX};

/// Cuts a JSON map into its fields without parsing their values.
pub(crate) fn fields(frame: &[u8]) -> Result<Vec<Field<'_>>, Error> {
    let text = std::str::from_utf8(frame).map_err(bad)?;
    check(text.as_bytes())?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let fields = parser.deserialize_map(FieldsVisitor).map_err(bad)?;
    parser.end().map_err(bad)?;
    Ok(fields)
}

fn bad(error: impl std::fmt::Display) -> Error {
    Error::new(Code::BadJson, error.to_string())
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Vec<Field<'de>>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(12);
        while let Some(FieldName(name)) = map.next_key()? {
            let raw: &RawValue = map.next_value()?;
            fields.push(Field { name, encoding: Encoding::Json, value: raw.get().as_bytes() });
        }
        Ok(fields)
    }
}

#[derive(serde::Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);

/// One pass over the bytes, before any parser recurses.
fn check(json: &[u8]) -> Result<(), Error> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => {
                at = check_string(json, at + 1)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Error::new(Code::TooDeep, format!("nested deeper than {DEPTH_MAX}")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'-' | b'0'..=b'9' => {
                at = check_number(json, at)?;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Skips a string whose content begins at `at`; refuses lone surrogates. Gives the place behind its quote.
fn check_string(json: &[u8], mut at: usize) -> Result<usize, Error> {
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' if json.get(at + 1) == Some(&b'u') => match unit(json, at) {
                Some(0xD800..=0xDBFF) if matches!(unit(json, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
                Some(0xD800..=0xDFFF) => return Err(Error::new(Code::BadJson, "lone surrogate")),
                _ => at += 6,
            },
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    Err(Error::new(Code::BadJson, "a string does not end"))
}

/// The UTF-16 unit of a `\uXXXX` at `at`, if there is one.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let escape = json.get(at..at + 6)?;
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

/// Skips a number; refuses one that no double can hold.
fn check_number(json: &[u8], start: usize) -> Result<usize, Error> {
    let digits =
        json[start..].iter().take_while(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let end = start + digits.count();
    let token = std::str::from_utf8(&json[start..end]).map_err(bad)?;
    let wide = token.len() > 300 || token.contains(['e', 'E']);
    if wide && !token.parse::<f64>().map_err(bad)?.is_finite() {
        return Err(Error::new(Code::BadJson, "number out of range"));
    }
    Ok(end)
}
