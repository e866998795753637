//! Writes maps of either encoding straight into one buffer: the hot path of every frame.

use rmp::encode as mp;

use crate::{Encoding, Headers, Raw, json};

/// Writes one map of at most fifteen fields.
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

    pub(crate) fn end(self) {
        match self.encoding {
            Encoding::Json => self.out.push(b'}'),
            Encoding::MsgPack => {
                debug_assert!(self.fields < 16, "a fixmap has at most fifteen fields");
                self.out[self.begin] |= self.fields;
            }
        }
    }

    fn key(&mut self, name: &str) {
        if self.encoding == Encoding::Json && self.fields > 0 {
            self.out.push(b',');
        }
        self.fields += 1;
        put_name(self.out, self.encoding, name);
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.key(name);
        put_text(self.out, self.encoding, value);
    }

    pub(crate) fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(crate) fn integer(&mut self, name: &str, value: u64) {
        self.key(name);
        put_integer(self.out, self.encoding, value);
    }

    pub(crate) fn integer_if(&mut self, name: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.integer(name, value);
        }
    }

    pub(crate) fn truth(&mut self, name: &str) {
        self.key(name);
        match self.encoding {
            Encoding::Json => self.out.extend_from_slice(b"true"),
            Encoding::MsgPack => self.out.push(0xc3),
        }
    }

    /// A value that stands in this map's encoding already.
    pub(crate) fn raw(&mut self, name: &str, value: &Raw) {
        debug_assert_eq!(value.encoding(), self.encoding, "translated by the caller");
        self.key(name);
        self.out.extend_from_slice(value.bytes());
    }

    /// A map below this one.
    pub(crate) fn map(&mut self, name: &str, fill: impl FnOnce(&mut MapWriter<'_>)) {
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

    pub(crate) fn headers(&mut self, headers: &Headers) {
        self.key("headers");
        let names = headers.names();
        put_map_header(self.out, self.encoding, names.len());
        for (index, name) in names.iter().enumerate() {
            if self.encoding == Encoding::Json && index > 0 {
                self.out.push(b',');
            }
            put_name(self.out, self.encoding, name);
            put_values(self.out, self.encoding, headers, name);
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
    let mut values = headers.all(name);
    let (Some(first), second) = (values.next(), values.next()) else { return put_text(out, encoding, "") };
    let Some(second) = second else { return put_text(out, encoding, &Headers::latin1(first)) };
    let all: Vec<_> = [first, second].into_iter().chain(values).collect();
    match encoding {
        Encoding::Json => out.push(b'['),
        Encoding::MsgPack => {
            mp::write_array_len(out, u32::try_from(all.len()).unwrap_or(u32::MAX)).expect(INFALLIBLE);
        }
    }
    for (index, value) in all.iter().enumerate() {
        if encoding == Encoding::Json && index > 0 {
            out.push(b',');
        }
        put_text(out, encoding, &Headers::latin1(value));
    }
    if encoding == Encoding::Json {
        out.push(b']');
    }
}

/// The name of an entry, and what stands between it and its value.
fn put_name(out: &mut Vec<u8>, encoding: Encoding, name: &str) {
    put_text(out, encoding, name);
    if encoding == Encoding::Json {
        out.push(b':');
    }
}

pub(crate) fn put_text(out: &mut Vec<u8>, encoding: Encoding, text: &str) {
    match encoding {
        Encoding::Json if json::plain(text.as_bytes()) == text.len() => {
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        Encoding::Json => serde_json::to_writer(out, text).expect(INFALLIBLE),
        Encoding::MsgPack => mp::write_str(out, text).expect(INFALLIBLE),
    }
}

pub(crate) fn put_integer(out: &mut Vec<u8>, encoding: Encoding, integer: u64) {
    match encoding {
        Encoding::Json => out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes()),
        Encoding::MsgPack => {
            mp::write_uint(out, integer).expect(INFALLIBLE);
        }
    }
}
