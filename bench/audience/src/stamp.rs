//! What an event says of itself: its number and when it was due.

use std::time::{Duration, Instant};

/// Before the number; nothing else in an event stream begins a line like this.
pub(crate) const MARK: &[u8] = b"data: #";
/// The number and the time in hexadecimal digits, a space between.
const NUMBER: usize = 8;
const TIME: usize = 16;
/// All of it, behind the mark.
pub(crate) const STAMP: usize = NUMBER + 1 + TIME;

/// An event that only shows that a client is there has no number.
pub(crate) const HELLO: u32 = u32::MAX;

/// The clock all times of a run count on.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    pub(crate) fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// When so many nanoseconds have gone by.
    pub(crate) fn at(self, nanos: u64) -> Instant {
        self.0 + Duration::from_nanos(nanos)
    }
}

/// The data of an event, `bytes` long.
pub(crate) fn data(number: u32, due_nanos: u64, bytes: usize) -> Vec<u8> {
    let mut data = format!("#{number:08x} {due_nanos:016x} ").into_bytes();
    data.resize(bytes.max(data.len()), b'x');
    data
}

/// Number and time, from the bytes behind the mark.
pub(crate) fn read(stamp: &[u8]) -> Option<(u32, u64)> {
    let number = hex(stamp.get(..NUMBER)?)?;
    let due = hex(stamp.get(NUMBER + 1..STAMP)?)?;
    Some((u32::try_from(number).ok()?, due))
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (number, due) in [(0, 0), (7, 1_234_567_890_123), (HELLO, u64::MAX)] {
            let data = data(number, due, 64);
            assert_eq!(data.len(), 64);
            assert_eq!(read(&data[1..]), Some((number, due)));
        }
        assert_eq!(read(b"0000000g 0000000000000000"), None);
        assert_eq!(read(b"00000001 00000000"), None);
    }
}
