//! Walks MessagePack without building values: lengths, depth, reserved bytes, ext (SPEC "MessagePack").

use crate::{Code, Error, frame::ExtIn, limits::DEPTH_MAX};

/// Walks over the entries of a MessagePack map: each name, and the bytes of its value.
#[inline]
pub(crate) fn entries<'a>(
    map: &'a [u8],
    ext: ExtIn,
    mut take: impl FnMut(&'a str, &'a [u8]),
) -> Result<(), Error> {
    let mut walk = Walk { rest: map };
    for _ in 0..walk.map_header()? {
        let name = walk.text()?;
        let begin = walk.rest;
        walk.skip(2, ext.allows(name))?;
        take(name, &begin[..begin.len() - walk.rest.len()]);
    }
    if walk.rest.is_empty() { Ok(()) } else { Err(bad("bytes after the map")) }
}

/// Walks over the items of a MessagePack list that stands in a frame.
pub(crate) fn items<'a>(list: &'a [u8], mut take: impl FnMut(&'a [u8])) -> Result<(), Error> {
    let mut walk = Walk { rest: list };
    for _ in 0..walk.list_header()? {
        let begin = walk.rest;
        walk.skip(2, false)?;
        take(&begin[..begin.len() - walk.rest.len()]);
    }
    if walk.rest.is_empty() { Ok(()) } else { Err(bad("bytes after the list")) }
}

/// What a `str` says; none for anything else, also for `bin`.
#[inline]
pub(crate) fn string(value: &[u8]) -> Option<&str> {
    match value.first() {
        Some(0xa0..=0xbf | 0xd9..=0xdb) => Walk { rest: value }.text().ok(),
        _ => None,
    }
}

/// What an unsigned integer says; none for anything else.
#[inline]
pub(crate) fn unsigned(value: &[u8]) -> Option<u64> {
    match value {
        [number @ ..=0x7f] => Some(u64::from(*number)),
        [0xcc..=0xcf, number @ ..] => Some(number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))),
        _ => None,
    }
}

fn bad(detail: &'static str) -> Error {
    Error::new(Code::BadMsgpack, detail)
}

struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| bad("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    /// A big-endian length of `width` bytes.
    #[inline]
    fn length(&mut self, width: usize) -> Result<usize, Error> {
        Ok(self.take(width)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn map_header(&mut self) -> Result<usize, Error> {
        match self.byte()? {
            byte @ 0x80..=0x8f => Ok(usize::from(byte & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            _ => Err(bad("not a map")),
        }
    }

    fn list_header(&mut self) -> Result<usize, Error> {
        match self.byte()? {
            byte @ 0x90..=0x9f => Ok(usize::from(byte & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => Err(bad("not a list")),
        }
    }

    /// A name: `str`, or `bin` that is UTF-8 (some languages pack their strings so).
    fn text(&mut self) -> Result<&'a str, Error> {
        let length = match self.byte()? {
            byte @ 0xa0..=0xbf => usize::from(byte & 0x1f),
            0xd9 | 0xc4 => self.length(1)?,
            0xda | 0xc5 => self.length(2)?,
            0xdb | 0xc6 => self.length(4)?,
            _ => return Err(bad("a name is not text")),
        };
        std::str::from_utf8(self.take(length)?).map_err(|_| bad("a name is not UTF-8"))
    }

    /// Steps over one value that stands at `depth`. Recursion ends at [`DEPTH_MAX`].
    fn skip(&mut self, depth: usize, ext: bool) -> Result<(), Error> {
        let (bytes, children) = match self.byte()? {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => (0, None),
            0xc1 => return Err(bad("reserved byte")),
            byte @ 0x80..=0x8f => (0, Some(2 * usize::from(byte & 0x0f))),
            byte @ 0x90..=0x9f => (0, Some(usize::from(byte & 0x0f))),
            byte @ 0xa0..=0xbf => (usize::from(byte & 0x1f), None),
            0xc4 | 0xd9 => (self.length(1)?, None),
            0xc5 | 0xda => (self.length(2)?, None),
            0xc6 | 0xdb => (self.length(4)?, None),
            0xcc | 0xd0 => (1, None),
            0xcd | 0xd1 => (2, None),
            0xca | 0xce | 0xd2 => (4, None),
            0xcb | 0xcf | 0xd3 => (8, None),
            0xdc => (0, Some(self.length(2)?)),
            0xdd => (0, Some(self.length(4)?)),
            0xde => (0, Some(2 * self.length(2)?)),
            0xdf => (0, Some(2 * self.length(4)?)),
            byte @ (0xc7..=0xc9 | 0xd4..=0xd8) => (self.ext_length(byte, ext)?, None),
        };
        self.take(bytes)?;
        let Some(children) = children else { return Ok(()) };
        if depth > DEPTH_MAX {
            return Err(Error::new(Code::TooDeep, format!("nested deeper than {DEPTH_MAX}")));
        }
        for _ in 0..children {
            self.skip(depth + 1, ext)?;
        }
        Ok(())
    }

    /// Bytes of an ext value behind its marker and length: type and data.
    fn ext_length(&mut self, marker: u8, allowed: bool) -> Result<usize, Error> {
        if !allowed {
            return Err(bad("ext types are only allowed in args"));
        }
        let data = match marker {
            0xc7 => self.length(1)?,
            0xc8 => self.length(2)?,
            0xc9 => self.length(4)?,
            fixed => 1 << (fixed - 0xd4),
        };
        Ok(1 + data)
    }
}
