//! What one client has heard, from the bytes of its stream.

use memchr::memmem::Finder;

use crate::stamp::{self, HELLO, MARK, STAMP};

/// Longer heads are no answer.
const HEAD_MAX: usize = 8 << 10;

/// What a client's stream said that is worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The head of the response: the client is connected.
    Head,
    /// An event without a number: the client is subscribed.
    Hello,
    /// An event, due at this time, and how it stands to those before.
    Event { due_nanos: u64, order: Order },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Next,
    /// It was left out before.
    Late,
    Again,
}

/// One client's side of the stream.
#[derive(Default)]
pub(crate) struct Hearing {
    has_head: bool,
    /// The end of the last piece, while that is not a whole event.
    rest: Vec<u8>,
    /// The number that should come next.
    next: u32,
    /// Numbers that were left out.
    missing: Vec<u32>,
}

/// Finds the events in streams.
pub(crate) struct Ear(Finder<'static>);

impl Ear {
    pub(crate) fn new() -> Self {
        Self(Finder::new(MARK))
    }

    /// Takes the next piece of a client's stream. Errors: what it is instead of an event stream.
    pub(crate) fn hear(
        &self,
        client: &mut Hearing,
        piece: &[u8],
        mut heard: impl FnMut(Heard),
    ) -> Result<(), String> {
        if client.rest.is_empty() && client.has_head {
            let used = self.events(client, piece, &mut heard)?;
            client.rest.extend_from_slice(&piece[used..]);
            return Ok(());
        }
        let mut all = std::mem::take(&mut client.rest);
        all.extend_from_slice(piece);
        let mut used = 0;
        if !client.has_head {
            let Some(end) = head(&all)? else {
                client.rest = all;
                return Ok(());
            };
            (client.has_head, used) = (true, end);
            heard(Heard::Head);
        }
        used += self.events(client, &all[used..], &mut heard)?;
        all.drain(..used);
        client.rest = if all.is_empty() { Vec::new() } else { all };
        Ok(())
    }

    /// Counts the events in whole lines. Gives how many bytes are done with.
    fn events(
        &self,
        client: &mut Hearing,
        bytes: &[u8],
        heard: &mut impl FnMut(Heard),
    ) -> Result<usize, String> {
        let mut at = 0;
        while let Some(found) = self.0.find(&bytes[at..]) {
            let begin = at + found + MARK.len();
            let Some(end) = bytes.get(begin + STAMP..).and_then(|rest| memchr::memchr(b'\n', rest)) else {
                return Ok(at + found);
            };
            let (number, due_nanos) = stamp::read(&bytes[begin..])
                .ok_or_else(|| format!("no event of ours: {}", String::from_utf8_lossy(&bytes[begin..])))?;
            at = begin + STAMP + end + 1;
            heard(match number {
                HELLO => Heard::Hello,
                number => Heard::Event { due_nanos, order: client.order(number) },
            });
        }
        // The mark may have begun at the end.
        let left = &bytes[at..];
        let line = memchr::memrchr(b'\n', left).map_or(0, |newline| newline + 1);
        Ok(if MARK.starts_with(&left[line..]) { at + line } else { bytes.len() })
    }
}

impl Hearing {
    fn order(&mut self, number: u32) -> Order {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            return Order::Next;
        }
        match self.missing.iter().position(|missing| *missing == number) {
            Some(at) => {
                self.missing.swap_remove(at);
                Order::Late
            }
            None => Order::Again,
        }
    }
}

/// Where the head of a response ends, if all of it is there.
fn head(bytes: &[u8]) -> Result<Option<usize>, String> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4);
    if (end.is_some() && !bytes.starts_with(b"HTTP/1.1 200 ")) || bytes.len() > HEAD_MAX {
        return Err(format!("no event stream: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)])));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(numbers: &[u32]) -> Vec<u8> {
        let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nretry: 1000\n\n".to_vec();
        for number in numbers {
            bytes.extend_from_slice(b"id: 1:0\ndata: ");
            bytes.extend(stamp::data(*number, u64::from(*number), 40));
            bytes.extend_from_slice(b"\n\n:\n\n");
        }
        bytes
    }

    fn heard(bytes: &[u8], piece: usize) -> Vec<Heard> {
        let (ear, mut client, mut all) = (Ear::new(), Hearing::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            ear.hear(&mut client, piece, |heard| all.push(heard)).expect("a stream");
        }
        all
    }

    #[test]
    fn events_are_heard_once_however_the_bytes_come() {
        let bytes = stream(&[HELLO, 0, 1, 2]);
        let next = |due_nanos| Heard::Event { due_nanos, order: Order::Next };
        let expected = [Heard::Head, Heard::Hello, next(0), next(1), next(2)];
        for piece in 1..=bytes.len() {
            assert_eq!(heard(&bytes, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_left_out_comes_late_or_twice_is_told() {
        let orders: Vec<_> = heard(&stream(&[0, 3, 1, 1, 3, 4]), 1 << 20)
            .into_iter()
            .filter_map(|heard| match heard {
                Heard::Event { order, .. } => Some(order),
                _ => None,
            })
            .collect();
        use Order::{Again, Late, Next};
        assert_eq!(orders, [Next, Next, Late, Again, Again, Next]);
    }

    #[test]
    fn another_answer_is_no_stream() {
        let mut client = Hearing::default();
        let refused = Ear::new().hear(&mut client, b"HTTP/1.1 503 Busy\r\n\r\n", |_| {});
        assert!(refused.expect_err("refused").contains("503"));
    }
}
