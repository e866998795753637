//! Small changes to known inputs.

use fastrand::Rng;

/// An input is not grown beyond this.
const BYTES_MAX: usize = 1 << 16;

/// Pieces that mean something to one of the decoders.
const TOKENS: [&[u8]; 44] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\\udc00",
    b"\\u0000",
    b"null",
    b"true",
    b"1e400",
    b"-0",
    b"9007199254740992",
    b"1.0",
    b"\"attempt\":",
    b"\"body\":",
    b"\"body_base64\":",
    b"\"headers\":",
    b"\"result\":",
    b"\"status\":200",
    b"\"error\":{}",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xe2\x82",
    b"\r\n",
    b"\0",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\x80",
    b"\x8f",
    b"\x90",
    b"\xc0",
    b"\xc1",
    b"\xc4\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xd6\xff",
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xdd\xff\xff\xff\xff",
    b"\xde\0\x01",
    b"\xdf\xff\xff\xff\xff",
    b"\xa7attempt",
];

/// One of the corpus with one to eight changes.
pub(crate) fn mutated(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = pick(corpus, rng).clone();
    for _ in 0..rng.usize(1..=8) {
        change(&mut input, corpus, rng);
        input.truncate(BYTES_MAX);
    }
    input
}

fn pick<'a>(corpus: &'a [Vec<u8>], rng: &mut Rng) -> &'a Vec<u8> {
    &corpus[rng.usize(..corpus.len())]
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.usize(..=input.len());
    match rng.u8(..9) {
        0 => flip(input, rng),
        1 => overwrite(input, rng),
        2 => drop(input.drain(range(input.len(), rng))),
        3 => input.truncate(at),
        4 => insert(input, at, TOKENS[rng.usize(..TOKENS.len())]),
        5 => {
            let piece = input[range(input.len(), rng)].to_vec();
            insert(input, at, &piece);
        }
        6 => {
            let other = pick(corpus, rng);
            let piece = &other[range(other.len(), rng)];
            insert(input, at, piece);
        }
        7 => insert(input, at, &TOKENS[rng.usize(..TOKENS.len())].repeat(rng.usize(1..80))),
        _ => insert(input, at, &[rng.u8(..)]),
    }
}

fn flip(input: &mut [u8], rng: &mut Rng) {
    if !input.is_empty() {
        let at = rng.usize(..input.len());
        input[at] ^= 1 << rng.u8(..8);
    }
}

fn overwrite(input: &mut [u8], rng: &mut Rng) {
    if !input.is_empty() {
        let at = rng.usize(..input.len());
        input[at] = rng.u8(..);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

/// A piece of at most 64 bytes.
fn range(length: usize, rng: &mut Rng) -> std::ops::Range<usize> {
    let begin = rng.usize(..=length);
    begin..rng.usize(begin..=length.min(begin + 64))
}
