//! The grammar of JSON in one pass: depth, no lone surrogates, no number out of range (SPEC "JSON").
//!
//! Values are skipped, not parsed: whoever wants one reads it from its text. Nothing here recurses.

use crate::{
    Code, Error,
    json::{Value, plain_end},
    limits::DEPTH_MAX,
};

/// What breaks the grammar. One word, so that the good path carries no error around.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Missing(u8),
    NoName,
    Behind,
    Control,
    Unended,
    Surrogate,
    Escape,
    Digit,
    NoValue,
    OutOfRange,
    TooDeep,
}

impl Fault {
    /// The error for a fault at this byte.
    #[cold]
    fn at(self, at: usize) -> Error {
        let what = match self {
            Self::Missing(byte) => return bad(format!("{:?} is missing at byte {at}", char::from(byte))),
            Self::OutOfRange => return Error::new(Code::BadJson, "number out of range"),
            Self::TooDeep => return Error::new(Code::TooDeep, format!("nested deeper than {DEPTH_MAX}")),
            Self::NoName => "a name is no text",
            Self::Behind => "something stands behind the end",
            Self::Control => "a control character in a string",
            Self::Unended => "a string does not end",
            Self::Surrogate => "lone surrogate",
            Self::Escape => "no such escape",
            Self::Digit => "a digit is missing",
            Self::NoValue => "a value is missing",
        };
        bad(format!("{what} at byte {at}"))
    }
}

fn bad(detail: String) -> Error {
    Error::new(Code::BadJson, detail)
}

/// A place in a JSON text.
pub(crate) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Runs over all of the text; what goes wrong is told with its place.
    #[inline]
    pub(crate) fn all(mut self, run: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Error> {
        run(&mut self).and_then(|()| self.end()).map_err(|fault| fault.at(self.at))
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.peek().is_none() { Ok(()) } else { Err(Fault::Behind) }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no blank.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        match self.byte() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => self.peek_behind_blanks(),
        }
    }

    #[inline(never)]
    fn peek_behind_blanks(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Takes this byte if it is the next one.
    #[inline]
    pub(crate) fn has(&mut self, byte: u8) -> bool {
        let has = self.peek() == Some(byte);
        self.at += usize::from(has);
        has
    }

    #[inline]
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.has(byte) { Ok(()) } else { Err(Fault::Missing(byte)) }
    }

    /// Skips the name of an entry, and the colon behind it.
    #[inline(always)]
    pub(crate) fn name(&mut self) -> Result<Value<'a>, Fault> {
        let (begin, escaped) = self.quoted()?;
        let name = self.since(begin, escaped);
        self.expect(b':')?;
        Ok(name)
    }

    /// Skips a string that must stand here. Tells where it begins and whether it has escapes.
    #[inline(always)]
    fn quoted(&mut self) -> Result<(usize, bool), Fault> {
        if self.peek() != Some(b'"') {
            return Err(Fault::Missing(b'"'));
        }
        Ok((self.at, self.string()?))
    }

    /// Skips a value that lies `depth` maps or lists deep.
    #[inline(always)]
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        let first = self.peek();
        let begin = self.at;
        let mut escaped = false;
        match first {
            Some(b'"') => escaped = self.string()?,
            Some(b'{' | b'[') => self.nested(depth)?,
            _ => self.scalar(first)?,
        }
        Ok(self.since(begin, escaped))
    }

    /// What was skipped since this place. It begins and ends next to an ASCII byte.
    #[inline]
    fn since(&self, begin: usize, escaped: bool) -> Value<'a> {
        Value { text: self.text.get(begin..self.at).unwrap_or_default(), escaped }
    }

    /// Skips a map or a list that lies `outside` maps or lists deep.
    fn nested(&mut self, outside: usize) -> Result<(), Fault> {
        let mut depth = outside;
        // Whether each level is a map, the innermost in the lowest bit.
        let mut maps = 0u64;
        loop {
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return Err(Fault::TooDeep);
                    }
                    maps = (maps << 1) | u64::from(open == b'{');
                    if !self.has(closing(maps)) {
                        self.name_in(maps)?;
                        continue;
                    }
                    (depth, maps) = (depth - 1, maps >> 1);
                    if depth == outside {
                        return Ok(());
                    }
                }
                Some(b'"') => drop(self.string()?),
                first => self.scalar(first)?,
            }
            while !self.has(b',') {
                self.expect(closing(maps))?;
                (depth, maps) = (depth - 1, maps >> 1);
                if depth == outside {
                    return Ok(());
                }
            }
            self.name_in(maps)?;
        }
    }

    /// Skips the name of an entry if the innermost level is a map.
    #[inline(always)]
    fn name_in(&mut self, maps: u64) -> Result<(), Fault> {
        if maps & 1 == 0 {
            return Ok(());
        }
        self.quoted()?;
        self.expect(b':')
    }

    /// Skips the string that begins here. Tells whether it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Result<bool, Fault> {
        let bytes = self.text.as_bytes();
        let end = plain_end(bytes, self.at + 1);
        if bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Ok(false);
        }
        self.at = end;
        self.string_with_escapes().map(|()| true)
    }

    /// Skips the rest of a string from its first escape.
    #[inline(never)]
    fn string_with_escapes(&mut self) -> Result<(), Fault> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(Fault::Control),
                None => return Err(Fault::Unended),
            }
            self.at = plain_end(bytes, self.at);
        }
        self.at += 1;
        Ok(())
    }

    /// Skips an escape; refuses lone surrogates.
    #[inline(never)]
    fn escape(&mut self) -> Result<(), Fault> {
        self.at += match (self.text.as_bytes().get(self.at + 1), self.unit(0)) {
            (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => 2,
            (Some(b'u'), Some(0xD800..=0xDBFF)) if matches!(self.unit(6), Some(0xDC00..=0xDFFF)) => 12,
            (Some(b'u'), Some(0xD800..=0xDFFF)) => return Err(Fault::Surrogate),
            (Some(b'u'), Some(_)) => 6,
            _ => return Err(Fault::Escape),
        };
        Ok(())
    }

    /// The UTF-16 unit of a `\uXXXX` so many bytes on, if there is one.
    fn unit(&self, ahead: usize) -> Option<u16> {
        let escape = self.text.as_bytes().get(self.at + ahead..self.at + ahead + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
        digits.into_iter().try_fold(0u16, |unit, digit| Some((unit << 4) | u16::try_from(digit?).ok()?))
    }

    /// Skips a number or a word that begins with this byte.
    fn scalar(&mut self, first: Option<u8>) -> Result<(), Fault> {
        if matches!(first, Some(b'-' | b'0'..=b'9')) { self.number() } else { self.word() }
    }

    /// Skips a number; refuses one that no double can hold.
    fn number(&mut self) -> Result<(), Fault> {
        let begin = self.at;
        self.at += usize::from(self.byte() == Some(b'-'));
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.byte(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let in_range = || self.since(begin, false).text.parse().is_ok_and(f64::is_finite);
        let may_be_large = has_exponent || self.at - begin > 300;
        if may_be_large && !in_range() { Err(Fault::OutOfRange) } else { Ok(()) }
    }

    /// Skips at least one digit.
    #[inline]
    fn digits(&mut self) -> Result<(), Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += count;
        if count > 0 { Ok(()) } else { Err(Fault::Digit) }
    }

    /// Skips `true`, `false` or `null`.
    fn word(&mut self) -> Result<(), Fault> {
        let rest = &self.text.as_bytes()[self.at..];
        let words = [b"true".as_slice(), b"false", b"null"];
        let word = words.into_iter().find(|word| rest.starts_with(word));
        self.at += word.ok_or(Fault::NoValue)?.len();
        Ok(())
    }
}

/// What ends the innermost level.
fn closing(maps: u64) -> u8 {
    if maps & 1 == 1 { b'}' } else { b']' }
}
