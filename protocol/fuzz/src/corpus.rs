//! The inputs to begin with: every byte string of the vectors.

use std::{fs, path::Path};

use serde_json::Value;

/// Every byte string of every file of vectors.
pub(crate) fn load() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut corpus = Vec::new();
    for file in files {
        let path = file.expect("a file of vectors").path();
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let vectors: Value =
            serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in vectors["cases"].as_array().into_iter().flatten() {
            corpus.extend([&case["in"], &case["out"]].into_iter().filter_map(bytes));
        }
    }
    assert!(!corpus.is_empty(), "no byte string in {}", folder.display());
    corpus
}

/// `{"text": …}` or `{"hex": …}`.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    match (value["text"].as_str(), value["hex"].as_str()) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(digits)) => unhex(digits),
        (None, None) => None,
    }
}

/// Bytes of hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    digits.as_bytes().chunks(2).map(pair).collect()
}

/// Hexadecimal digits of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
