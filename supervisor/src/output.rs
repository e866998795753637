//! What children print, line by line.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

/// A line longer than this is cut into several.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Lines that are kept for the log of a death ...
const LAST_LINES: usize = 10;
/// ... and the characters of each.
const LAST_LINE_CHARS: usize = 300;

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose: `<worker name>.<number>`.
    pub label: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The line without its end. What is no UTF-8 is replaced.
    pub text: String,
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The child's standard output.
    Stdout,
    /// The child's standard error.
    Stderr,
    /// The supervisor, about the child.
    Supervisor,
}

/// The last lines a child printed to its standard error.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn heard(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LAST_LINE_CHARS).collect());
    }

    /// All of them, one a line.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Hands on every line of a stream until it ends or nobody listens. The last ones are kept if somebody wants them.
pub(crate) async fn forward(
    label: String,
    origin: Origin,
    mut stream: impl AsyncRead + Unpin,
    output: mpsc::Sender<Line>,
    kept: Option<LastWords>,
) {
    let mut cutter = Cutter::default();
    let mut chunk = vec![0; 8 << 10];
    loop {
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        let texts = if read == 0 { cutter.rest().into_iter().collect() } else { cutter.feed(&chunk[..read]) };
        for text in texts {
            if let Some(kept) = &kept {
                kept.heard(&text);
            }
            if output.send(Line { label: label.clone(), origin, text }).await.is_err() {
                return;
            }
        }
        if read == 0 {
            return;
        }
    }
}

/// Cuts bytes into lines.
#[derive(Default)]
struct Cutter {
    begun: Vec<u8>,
}

impl Cutter {
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= LINE_BYTES_MAX {
                lines.extend(self.rest());
            }
        }
        lines
    }

    fn rest(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.begun);
        let text = String::from_utf8_lossy(&bytes);
        (!bytes.is_empty()).then(|| text.trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end_not_where_chunks_do() {
        let mut cutter = Cutter::default();
        assert_eq!(cutter.feed(b"one\r\n\ntw"), ["one", ""]);
        assert_eq!(cutter.feed(b"o\nthree"), ["two"]);
        assert_eq!(cutter.rest().as_deref(), Some("three"));
        assert_eq!(cutter.rest(), None);
    }

    #[test]
    fn the_last_words_are_few_and_short() {
        let words = LastWords::default();
        (0..20).for_each(|number| words.heard(&format!("{number} {}", "x".repeat(1_000))));
        let text = words.text();
        assert!(text.starts_with("10 xxx") && text.lines().count() == LAST_LINES, "{text}");
        assert!(text.len() < LAST_LINES * (LAST_LINE_CHARS + 1));
    }

    #[test]
    fn a_line_without_end_does_not_grow_for_ever() {
        let mut cutter = Cutter::default();
        let lines: Vec<_> = (0..10).flat_map(|_| cutter.feed(&[b'x'; 8 << 10])).collect();
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| line.len() == LINE_BYTES_MAX));
    }
}
