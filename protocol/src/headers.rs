//! Header fields of HTTP requests and replies (SPEC "HTTP jobs").

use std::{borrow::Cow, fmt};

use crate::name::is_token;

/// Header fields in their order: lower-case names, values as bytes (ISO-8859-1 on the wire, byte for code point).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    // One buffer of each kind for all fields: a request has a dozen of them.
    names: String,
    values: Vec<u8>,
    ends: Vec<End>,
}

/// Where the name and the value of a field end; they begin where those of the field before end.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct End {
    name: usize,
    value: usize,
}

impl Headers {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Room for so many fields, whose names and values have so many bytes.
    pub(crate) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            names: String::with_capacity(bytes),
            values: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(fields),
        }
    }

    /// Adds a field. The caller answers for a clean name and value; see [`Headers::push_text`] for one that checks.
    pub fn push(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        self.names.push_str(name.as_ref());
        self.values.extend_from_slice(value.as_ref());
        self.end_field();
    }

    #[inline]
    fn end_field(&mut self) {
        self.ends.push(End { name: self.names.len(), value: self.values.len() });
    }

    /// Adds a field as it came from the wire: the name must be a token (RFC 9110 section 5.6.2) and is made lower-case, the
    /// value must be free of CR, LF, NUL and of characters above U+00FF.
    ///
    /// Errors: what is wrong, for the log.
    #[inline]
    pub fn push_text(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !is_token(name) {
            return Err(format!("header name {name:?} is no token"));
        }
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            self.values.extend_from_slice(value.as_bytes());
        } else {
            self.values.extend(latin1_bytes(name, value)?);
        }
        let begin = self.names.len();
        self.names.push_str(name);
        if let Some(name) = self.names.get_mut(begin..) {
            name.make_ascii_lowercase();
        }
        self.end_field();
        Ok(())
    }

    /// The first value of a field; `name` in lower case.
    pub fn first<'a>(&'a self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Every value of a field, in order; `name` in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All fields in order.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.ends.iter().scan(End::default(), |begin, end| {
            let name = self.names.get(begin.name..end.name)?;
            let value = self.values.get(begin.value..end.value)?;
            *begin = *end;
            Some((name, value))
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A value as text: each byte is the code point of that number.
    pub fn latin1(value: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(value) {
            Ok(text) if value.is_ascii() => Cow::Borrowed(text),
            _ => Cow::Owned(value.iter().copied().map(char::from).collect()),
        }
    }

    /// How many bytes the names and values have.
    pub(crate) fn bytes(&self) -> usize {
        self.names.len() + self.values.len()
    }

    /// How many fields have a name that stands before.
    pub(crate) fn repeats(&self) -> usize {
        let mut seen = 0;
        let is_repeat = |(place, (name, _)): &(usize, (&str, &[u8]))| {
            let mark = mark(name);
            let may_be = seen & mark != 0;
            seen |= mark;
            may_be && self.stands_before(*place, name)
        };
        self.iter().enumerate().filter(is_repeat).count()
    }

    /// Whether a field before this place has the name.
    pub(crate) fn stands_before(&self, place: usize, name: &str) -> bool {
        self.iter().take(place).any(|(earlier, _)| earlier == name)
    }
}

/// One bit for a name: names of different bits differ, so that few have to be compared.
#[inline]
pub(crate) fn mark(name: &str) -> u64 {
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    let end = |byte: Option<u8>| usize::from(byte.unwrap_or_default());
    1 << ((name.len() + 7 * end(first) + 29 * end(last)) % 64)
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The bytes of a value that are not all printable ASCII.
fn latin1_bytes(name: &str, value: &str) -> Result<Vec<u8>, String> {
    let byte = |char: char| match u8::try_from(u32::from(char)) {
        Ok(byte) if !matches!(byte, b'\r' | b'\n' | 0) => Ok(byte),
        _ => Err(format!("header {name} cannot contain {char:?}")),
    };
    value.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoding, HttpRequest};

    fn numbered(count: usize) -> Headers {
        let mut headers = Headers::new();
        (0..count).for_each(|number| headers.push(format!("x-{number}"), number.to_string()));
        headers
    }

    #[test]
    fn a_repeat_is_told_among_any_number_of_names() {
        for count in [0, 1, 2, 63, 64, 65, 300] {
            let mut headers = numbered(count);
            assert_eq!(headers.repeats(), 0, "{count} names");
            headers.push("x-0", "again");
            headers.push("x-0", "and again");
            assert_eq!(headers.repeats(), if count == 0 { 1 } else { 2 }, "{count} names and a repeat");
        }
    }

    #[test]
    fn repeats_stand_together_at_the_place_of_the_first() {
        let mut headers = numbered(40);
        headers.push("x-1", "\u{e9}\"");
        headers.push("x-0", "");
        let request =
            HttpRequest { method: "GET".into(), url: "/".into(), headers, ..HttpRequest::default() };
        for encoding in [Encoding::Json, Encoding::MsgPack] {
            let read = HttpRequest::decode(&request.encode(encoding)).expect("what was encoded").headers;
            let first: Vec<_> =
                read.iter().take(5).map(|(name, value)| (name, Headers::latin1(value))).collect();
            let due = [("x-0", "0"), ("x-0", ""), ("x-1", "1"), ("x-1", "\u{c3}\u{a9}\""), ("x-2", "2")];
            assert_eq!(first, due.map(|(name, value)| (name, Cow::Borrowed(value))));
            assert_eq!(read.len(), 42);
        }
    }

    #[test]
    fn a_field_that_is_refused_leaves_nothing_behind() {
        let mut headers = Headers::new();
        headers.push_text("A", "\u{ff}\t~").expect("a field");
        for (name, value) in
            [("b", "1\r"), ("b", "\0"), ("b", "\u{100}"), ("", "1"), ("b c", "1"), ("\u{e9}", "1")]
        {
            assert!(headers.push_text(name, value).is_err(), "{name:?}: {value:?}");
        }
        headers.push_text("C", "").expect("a field");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", &b"\xff\t~"[..]), ("c", b"")]);
    }
}
