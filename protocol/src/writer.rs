//! Writes maps of either encoding straight into one buffer: the hot path of every frame.

use rmp::encode as mp;

use crate::{Encoding, Headers, Raw, json};

/// Writes one map. More than fifteen fields cost a move of what is written.
pub(crate) struct MapWriter<'a> {
    out: &'a mut Vec<u8>,
    encoding: Encoding,
    begin: usize,
    fields: u8,
}

/// Writing to a `Vec` cannot fail.
const INFALLIBLE: &str = "a Vec takes every byte";

impl<'a> MapWriter<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>, encoding: Encoding) -> Self {
        let begin = out.len();
        out.push(match encoding {
            Encoding::Json => b'{',
            Encoding::MsgPack => 0x80,
        });
        Self { out, encoding, begin, fields: 0 }
    }

    #[inline(always)]
    pub(crate) fn end(self) {
        match self.encoding {
            Encoding::Json => self.out.push(b'}'),
            Encoding::MsgPack => {
                if self.fields < 16 {
                    self.out[self.begin] |= self.fields;
                } else {
                    self.out.splice(self.begin..=self.begin, [0xde, 0, self.fields]);
                }
            }
        }
    }

    /// The name of a field of the SPEC: nothing in it has to be escaped.
    #[inline(always)]
    fn key(&mut self, name: &'static str) {
        match self.encoding {
            Encoding::Json => {
                self.out.extend_from_slice(if self.fields > 0 { b",\"" } else { b"\"" });
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Encoding::MsgPack => put_ascii(self.out, self.encoding, name.as_bytes()),
        }
        self.fields += 1;
    }

    #[inline(always)]
    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.key(name);
        put_text(self.out, self.encoding, value);
    }

    #[inline(always)]
    pub(crate) fn text_if(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    #[inline(always)]
    pub(crate) fn integer(&mut self, name: &'static str, value: u64) {
        self.key(name);
        put_integer(self.out, self.encoding, value);
    }

    #[inline(always)]
    pub(crate) fn integer_if(&mut self, name: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.integer(name, value);
        }
    }

    pub(crate) fn truth(&mut self, name: &'static str) {
        self.key(name);
        match self.encoding {
            Encoding::Json => self.out.extend_from_slice(b"true"),
            Encoding::MsgPack => self.out.push(0xc3),
        }
    }

    /// A value that stands in this map's encoding already.
    #[inline(always)]
    pub(crate) fn raw(&mut self, name: &'static str, value: &Raw) {
        debug_assert_eq!(value.encoding(), self.encoding, "translated by the caller");
        self.key(name);
        self.out.extend_from_slice(value.bytes());
    }

    /// A map below this one.
    pub(crate) fn map(&mut self, name: &'static str, fill: impl FnOnce(&mut MapWriter<'_>)) {
        self.key(name);
        let mut map = MapWriter::begin(self.out, self.encoding);
        fill(&mut map);
        map.end();
    }

    /// A body; left out when it is empty.
    pub(crate) fn body(&mut self, body: &[u8]) {
        if body.is_empty() {
            return;
        }
        match (self.encoding, std::str::from_utf8(body)) {
            (Encoding::MsgPack, _) => {
                self.key("body");
                mp::write_bin(self.out, body).expect(INFALLIBLE);
            }
            (Encoding::Json, Ok(text)) => self.text("body", text),
            (Encoding::Json, Err(_)) => {
                use base64::{Engine, engine::general_purpose::STANDARD};
                self.text("body_base64", &STANDARD.encode(body));
            }
        }
    }

    /// Header fields; those of one name stand together at the place of the first.
    pub(crate) fn headers(&mut self, headers: &Headers) {
        self.key("headers");
        let repeats = headers.repeats();
        put_map_header(self.out, self.encoding, headers.len() - repeats);
        for (place, (name, value)) in headers.iter().enumerate() {
            if repeats > 0 && headers.stands_before(place, name) {
                continue;
            }
            if self.encoding == Encoding::Json && place > 0 {
                self.out.push(b',');
            }
            put_name(self.out, self.encoding, name);
            if repeats == 0 {
                put_value(self.out, self.encoding, value);
            } else {
                put_values(self.out, self.encoding, headers, name);
            }
        }
        if self.encoding == Encoding::Json {
            self.out.push(b'}');
        }
    }
}

pub(crate) fn put_map_header(out: &mut Vec<u8>, encoding: Encoding, length: usize) {
    match encoding {
        Encoding::Json => out.push(b'{'),
        Encoding::MsgPack => {
            mp::write_map_len(out, u32::try_from(length).unwrap_or(u32::MAX)).expect(INFALLIBLE);
        }
    }
}

/// One value as text, several as a list.
fn put_values(out: &mut Vec<u8>, encoding: Encoding, headers: &Headers, name: &str) {
    let values: Vec<_> = headers.all(name).collect();
    if let [value] = values[..] {
        return put_value(out, encoding, value);
    }
    match encoding {
        Encoding::Json => out.push(b'['),
        Encoding::MsgPack => {
            mp::write_array_len(out, u32::try_from(values.len()).unwrap_or(u32::MAX)).expect(INFALLIBLE);
        }
    }
    for (place, value) in values.iter().enumerate() {
        if encoding == Encoding::Json && place > 0 {
            out.push(b',');
        }
        put_value(out, encoding, value);
    }
    if encoding == Encoding::Json {
        out.push(b']');
    }
}

/// The value of a header field: as it is if its bytes are its text.
#[inline]
fn put_value(out: &mut Vec<u8>, encoding: Encoding, value: &[u8]) {
    if value.is_ascii() && (encoding == Encoding::MsgPack || json::is_plain(value)) {
        put_ascii(out, encoding, value);
    } else {
        put_text(out, encoding, &Headers::latin1(value));
    }
}

/// The name of an entry, and what stands between it and its value.
#[inline]
pub(crate) fn put_name(out: &mut Vec<u8>, encoding: Encoding, name: &str) {
    put_text(out, encoding, name);
    if encoding == Encoding::Json {
        out.push(b':');
    }
}

#[inline(always)]
pub(crate) fn put_text(out: &mut Vec<u8>, encoding: Encoding, text: &str) {
    match encoding {
        Encoding::Json => put_json_text(out, text),
        Encoding::MsgPack => put_counted(out, text.as_bytes()),
    }
}

#[inline]
fn put_json_text(out: &mut Vec<u8>, text: &str) {
    if json::is_plain(text.as_bytes()) {
        put_quoted(out, text.as_bytes());
    } else {
        serde_json::to_writer(out, text).expect(INFALLIBLE);
    }
}

/// ASCII that has nothing to escape.
#[inline(always)]
fn put_ascii(out: &mut Vec<u8>, encoding: Encoding, text: &[u8]) {
    match encoding {
        Encoding::Json => put_quoted(out, text),
        Encoding::MsgPack => put_counted(out, text),
    }
}

/// Text in MessagePack. Most are short: a byte or two say how long they are.
#[inline(always)]
fn put_counted(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length @ ..32) => out.push(0xa0 | length),
        Ok(length) => out.extend_from_slice(&[0xd9, length]),
        Err(_) => put_length(out, text.len()),
    }
    out.extend_from_slice(text);
}

#[inline(never)]
fn put_length(out: &mut Vec<u8>, length: usize) {
    mp::write_str_len(out, u32::try_from(length).unwrap_or(u32::MAX)).map(drop).expect(INFALLIBLE);
}

#[inline]
fn put_quoted(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

#[inline(always)]
pub(crate) fn put_integer(out: &mut Vec<u8>, encoding: Encoding, integer: u64) {
    match encoding {
        Encoding::Json => out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes()),
        Encoding::MsgPack => {
            mp::write_uint(out, integer).expect(INFALLIBLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_messagepack_is_counted_with_as_few_bytes_as_may_be() {
        for length in [0, 1, 31, 32, 255, 256, 65_535, 65_536] {
            let (text, mut ours, mut known) = ("x".repeat(length), Vec::new(), Vec::new());
            put_text(&mut ours, Encoding::MsgPack, &text);
            mp::write_str(&mut known, &text).expect("a Vec takes every byte");
            assert!(ours == known, "{length}");
        }
    }
}
