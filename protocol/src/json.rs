//! Maps, lists and scalars of JSON, cut from a text that [`Scan`] walks over once (SPEC "JSON").

use std::borrow::Cow;

use crate::{
    Code, Error,
    scan::{Fault, Scan},
};

/// A value of a JSON text, not parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'a> {
    pub(crate) text: &'a str,
    /// Whether it is a string with escapes in it.
    pub(crate) escaped: bool,
}

impl<'a> Value<'a> {
    /// What a string says; none if the value is no string.
    #[inline(always)]
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if self.escaped { self.unescaped() } else { Some(inner.into()) }
    }

    #[inline(never)]
    fn unescaped(self) -> Option<Cow<'a, str>> {
        serde_json::from_str(self.text).ok().map(Cow::Owned)
    }

    /// What an integer of at most fifteen digits says; none for anything else.
    #[inline]
    pub(crate) fn short_integer(self) -> Option<u64> {
        let is_short = matches!(self.text.as_bytes(), [b'0'] | [b'1'..=b'9', ..]) && self.text.len() <= 15;
        if is_short { self.text.parse().ok() } else { None }
    }
}

/// The text of a frame.
pub(crate) fn text(frame: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(frame).map_err(|error| Error::new(Code::BadJson, error.to_string()))
}

/// Walks over the entries of a JSON map: each name, and its value.
#[inline]
pub(crate) fn entries<'a>(map: &'a str, mut take: impl FnMut(Cow<'a, str>, Value<'a>)) -> Result<(), Error> {
    Scan::new(map).all(|scan| {
        scan.expect(b'{')?;
        let mut more = !scan.has(b'}');
        while more {
            let name = scan.name()?.string().ok_or(Fault::NoName)?;
            take(name, scan.value(1)?);
            more = scan.has(b',');
            if !more {
                scan.expect(b'}')?;
            }
        }
        Ok(())
    })
}

/// Walks over the items of a JSON list.
pub(crate) fn items<'a>(list: &'a str, mut take: impl FnMut(Value<'a>)) -> Result<(), Error> {
    Scan::new(list).all(|scan| {
        scan.expect(b'[')?;
        let mut more = !scan.has(b']');
        while more {
            take(scan.value(1)?);
            more = scan.has(b',');
            if !more {
                scan.expect(b']')?;
            }
        }
        Ok(())
    })
}

/// Whether a text can stand in a JSON string as it is.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    plain_end(text, 0) == text.len()
}

/// Where the bytes from here on end that stand for themselves: at a quote, a backslash or a control character.
#[inline]
pub(crate) fn plain_end(text: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special(word);
        if special != 0 {
            return at + place(special);
        }
        at += 8;
    }
    last_plain_end(text, at)
}

/// The same for the last bytes of a text, fewer than eight.
#[inline(never)]
fn last_plain_end(text: &[u8], from: usize) -> usize {
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().position(is_special).map_or(text.len(), |place| from + place)
}

/// Which byte the first mark of [`special`] stands for.
#[inline]
fn place(special: u64) -> usize {
    special.trailing_zeros() as usize / 8
}

/// The top bit of each of eight bytes that cannot stand for itself; true up to the first such byte.
#[inline]
fn special(word: &[u8; 8]) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = EACH << 7;
    let word = u64::from_le_bytes(*word);
    let (quotes, slashes) = (word ^ (EACH * b'"' as u64), word ^ (EACH * b'\\' as u64));
    // A byte below 0x20, or one that is zero now, borrows its top bit.
    let borrowed = word.wrapping_sub(EACH * 0x20) | quotes.wrapping_sub(EACH) | slashes.wrapping_sub(EACH);
    borrowed & !word & TOPS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_ends_at_what_must_be_escaped() {
        for text in ["", "a", "abcdefgh", "abcdefghijklmnopq", "äöü€ and more of it"] {
            assert_eq!(plain_end(text.as_bytes(), 0), text.len(), "{text}");
            for special in ["\"", "\\", "\u{1f}", "\0", "\n"] {
                let more = format!("{text}{special}{text}\"");
                assert_eq!(plain_end(more.as_bytes(), 0), text.len(), "{more:?}");
            }
        }
        assert_eq!(plain_end(&[0x20, 0x21, 0x7f, 0x80, 0xff, 0x5b, 0x5d, 0x23], 0), 8);
    }

    fn integer(text: &str) -> Option<u64> {
        Value { text, escaped: false }.short_integer()
    }

    #[test]
    fn short_integers_are_told_from_all_else() {
        for (text, number) in [("0", Some(0)), ("7", Some(7)), ("123456789012345", Some(123_456_789_012_345))]
        {
            assert_eq!(integer(text), number);
        }
        for text in ["", "01", "-1", "1.0", "1e3", "1234567890123456", "true", "\"1\""] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// What is no JSON for the library is none here, and the other way round but for what the SPEC forbids besides.
        #[test]
        fn the_grammar_is_that_of_json(text in r#"([ \[\]{},:]|"a"|"\\u00e9"|"\\n"|"\\x"|-?[0-9]{1,2}(\.[0-9]?)?([eE][+-]?[0-9]?)?|true|nul|null){0,9}"#) {
            let frame = format!("{{\"x\":{text}}}");
            let known = serde_json::from_str::<serde_json::Value>(&frame).is_ok();
            prop_assert_eq!(entries(&frame, |_, _| ()).is_ok(), known, "{}", frame);
        }
    }
}
