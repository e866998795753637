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

    fn end_field(&mut self) {
        self.ends.push(End { name: self.names.len(), value: self.values.len() });
    }

    /// Adds a field as it came from the wire: the name must be a token (RFC 9110 section 5.6.2) and is made lower-case, the
    /// value must be free of CR, LF, NUL and of characters above U+00FF.
    ///
    /// Errors: what is wrong, for the log.
    pub fn push_text(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !is_token(name) {
            return Err(format!("header name {name:?} is no token"));
        }
        if value.bytes().fold(true, |printable, byte| printable & matches!(byte, b' '..=b'~')) {
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
