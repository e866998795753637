//! JSON in one pass: grammar, depth, no lone surrogates, no number out of range (SPEC "JSON").
//!
//! Values are skipped, not parsed: whoever wants one reads it from its bytes. Nothing here recurses.

use std::borrow::Cow;

use crate::{Code, Error, field::Field, frame::Encoding, limits::DEPTH_MAX};

/// Cuts a JSON map into its fields without parsing their values.
pub(crate) fn fields(frame: &[u8]) -> Result<Vec<Field<'_>>, Error> {
    let mut fields = Vec::with_capacity(12);
    entries(frame, |name, value| fields.push(Field { name, encoding: Encoding::Json, value }))?;
    Ok(fields)
}

/// Walks over the entries of a JSON map: each name, and the bytes of its value.
pub(crate) fn entries<'a>(map: &'a [u8], mut take: impl FnMut(Cow<'a, str>, &'a [u8])) -> Result<(), Error> {
    let mut scan = Scan::new(map)?;
    scan.expect(b'{')?;
    let mut more = !scan.has(b'}');
    while more {
        let name = scan.name()?;
        take(name, scan.value(1)?);
        more = scan.has(b',');
        if !more {
            scan.expect(b'}')?;
        }
    }
    scan.end()
}

/// Walks over the items of a JSON list.
pub(crate) fn items<'a>(list: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<(), Error> {
    let mut scan = Scan::new(list)?;
    scan.expect(b'[')?;
    let mut more = !scan.has(b']');
    while more {
        take(scan.value(1)?);
        more = scan.has(b',');
        if !more {
            scan.expect(b']')?;
        }
    }
    scan.end()
}

/// What a JSON string says; none if the value is no string.
pub(crate) fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if plain(inner) == inner.len() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(value).ok().map(Cow::Owned)
}

/// What a JSON integer of at most fifteen digits says; none for anything else.
pub(crate) fn short_integer(value: &[u8]) -> Option<u64> {
    let is_short = matches!(value, [b'0'] | [b'1'..=b'9', ..]) && value.len() <= 15;
    let digits = value.iter().map(|byte| byte.is_ascii_digit().then(|| u64::from(byte - b'0')));
    if is_short { digits.into_iter().try_fold(0, |sum, digit| Some(sum * 10 + digit?)) } else { None }
}

fn bad(detail: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Code::BadJson, detail)
}

/// A place in a JSON text.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn new(text: &'a [u8]) -> Result<Self, Error> {
        std::str::from_utf8(text).map_err(|error| bad(error.to_string()))?;
        Ok(Self { text, at: 0 })
    }

    /// The next byte that is no blank.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes this byte if it is the next one.
    #[inline]
    fn has(&mut self, byte: u8) -> bool {
        let has = self.peek() == Some(byte);
        self.at += usize::from(has);
        has
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.has(byte) { Ok(()) } else { Err(self.missing(byte)) }
    }

    #[cold]
    #[inline(never)]
    fn missing(&self, byte: u8) -> Error {
        self.wrong(&format!("{:?} is missing", char::from(byte)))
    }

    fn end(mut self) -> Result<(), Error> {
        if self.peek().is_none() { Ok(()) } else { Err(self.wrong("something stands behind the end")) }
    }

    #[cold]
    #[inline(never)]
    fn wrong(&self, what: &str) -> Error {
        bad(format!("{what} at byte {}", self.at))
    }

    /// The name of an entry, and the colon behind it.
    fn name(&mut self) -> Result<Cow<'a, str>, Error> {
        self.key().and_then(|name| text(name).ok_or_else(|| self.wrong("a name is no text")))
    }

    /// The bytes of a name, with its quotes, and the colon behind it.
    #[inline]
    fn key(&mut self) -> Result<&'a [u8], Error> {
        self.peek();
        let begin = self.at;
        self.string()?;
        let name = &self.text[begin..self.at];
        self.expect(b':')?;
        Ok(name)
    }

    /// Skips a value that lies `depth` maps or lists deep. Gives its bytes.
    fn value(&mut self, mut depth: usize) -> Result<&'a [u8], Error> {
        self.peek();
        let (begin, outside) = (self.at, depth);
        // Whether each level is a map, the innermost in the lowest bit.
        let mut maps = 0u64;
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(Error::new(Code::TooDeep, format!("nested deeper than {DEPTH_MAX}")));
                    }
                    maps = (maps << 1) | u64::from(open == b'{');
                    if !self.has(closing(maps)) {
                        self.key_in(maps)?;
                        continue;
                    }
                    (depth, maps) = (depth - 1, maps >> 1);
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => self.word()?,
            }
            while depth > outside && !self.has(b',') {
                self.expect(closing(maps))?;
                (depth, maps) = (depth - 1, maps >> 1);
            }
            if depth == outside {
                return Ok(&self.text[begin..self.at]);
            }
            self.key_in(maps)?;
        }
    }

    /// Skips the name of an entry if the innermost level is a map.
    #[inline]
    fn key_in(&mut self, maps: u64) -> Result<(), Error> {
        if maps & 1 == 1 { self.key().map(drop) } else { Ok(()) }
    }

    /// Skips a string.
    #[inline]
    fn string(&mut self) -> Result<(), Error> {
        self.expect(b'"')?;
        loop {
            self.at += plain(&self.text[self.at..]);
            match self.text.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.wrong("a control character in a string")),
                None => return Err(self.wrong("a string does not end")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Skips an escape; refuses lone surrogates.
    fn escape(&mut self) -> Result<(), Error> {
        self.at += match (self.text.get(self.at + 1), self.unit(0)) {
            (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => 2,
            (Some(b'u'), Some(0xD800..=0xDBFF)) if matches!(self.unit(6), Some(0xDC00..=0xDFFF)) => 12,
            (Some(b'u'), Some(0xD800..=0xDFFF)) => return Err(self.wrong("lone surrogate")),
            (Some(b'u'), Some(_)) => 6,
            _ => return Err(self.wrong("no such escape")),
        };
        Ok(())
    }

    /// The UTF-16 unit of a `\uXXXX` so many bytes on, if there is one.
    fn unit(&self, ahead: usize) -> Option<u16> {
        let escape = self.text.get(self.at + ahead..self.at + ahead + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
        digits.into_iter().try_fold(0u16, |unit, digit| Some((unit << 4) | u16::try_from(digit?).ok()?))
    }

    /// Skips a number; refuses one that no double can hold.
    fn number(&mut self) -> Result<(), Error> {
        let begin = self.at;
        self.at += usize::from(self.text[begin] == b'-');
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.text.get(self.at), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.text.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        let number = &self.text[begin..self.at];
        let is_finite = || std::str::from_utf8(number).ok()?.parse::<f64>().ok().filter(|it| it.is_finite());
        if (has_exponent || number.len() > 300) && is_finite().is_none() {
            return Err(bad("number out of range"));
        }
        Ok(())
    }

    /// Skips at least one digit.
    fn digits(&mut self) -> Result<(), Error> {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(self.wrong("a digit is missing")) }
    }

    /// Skips `true`, `false` or `null`.
    fn word(&mut self) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        let words = [b"true".as_slice(), b"false", b"null"];
        let word = words.into_iter().find(|word| rest.starts_with(word));
        self.at += word.ok_or_else(|| self.wrong("a value is missing"))?.len();
        Ok(())
    }
}

/// What ends the innermost level.
fn closing(maps: u64) -> u8 {
    if maps & 1 == 1 { b'}' } else { b']' }
}

/// How many bytes at the beginning of a string stand for themselves: up to a quote, a backslash, a control character.
pub(crate) fn plain(text: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = EACH << 7;
    // The top bit of each byte that is smaller than `limit` (up to 128), none above the first such byte missing.
    let below = |word: u64, limit: u64| word.wrapping_sub(EACH * limit) & !word & TOPS;
    let mut at = 0;
    while let Some((chunk, _)) = text[at..].split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let (quotes, slashes) = (word ^ (EACH * u64::from(b'"')), word ^ (EACH * u64::from(b'\\')));
        let special = below(word, 0x20) | below(quotes, 1) | below(slashes, 1);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text[at..].iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\'));
    rest.map_or(text.len(), |rest| at + rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_ends_at_what_must_be_escaped() {
        for text in ["", "a", "abcdefgh", "abcdefghijklmnopq", "äöü€ and more of it"] {
            assert_eq!(plain(text.as_bytes()), text.len(), "{text}");
            for special in ["\"", "\\", "\u{1f}", "\0", "\n"] {
                let more = format!("{text}{special}{text}\"");
                assert_eq!(plain(more.as_bytes()), text.len(), "{more:?}");
            }
        }
        assert_eq!(plain(&[0x20, 0x21, 0x7f, 0x80, 0xff, 0x5b, 0x5d, 0x23]), 8);
    }

    #[test]
    fn short_integers_are_told_from_all_else() {
        for (text, number) in [("0", Some(0)), ("7", Some(7)), ("123456789012345", Some(123_456_789_012_345))]
        {
            assert_eq!(short_integer(text.as_bytes()), number);
        }
        for text in ["", "01", "-1", "1.0", "1e3", "1234567890123456", "true", "\"1\""] {
            assert_eq!(short_integer(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What is no JSON for the library is none here, and the other way round but for what the SPEC forbids besides.
        #[test]
        fn the_grammar_is_that_of_json(text in r#"([ \[\]{},:]|"a"|"\\u00e9"|"\\n"|"\\x"|-?[0-9]{1,2}(\.[0-9]?)?([eE][+-]?[0-9]?)?|true|nul|null){0,9}"#) {
            let frame = format!("{{\"x\":{text}}}");
            let known = serde_json::from_str::<serde_json::Value>(&frame).is_ok();
            prop_assert_eq!(fields(frame.as_bytes()).is_ok(), known, "{}", frame);
        }
    }
}
