//! Reads the files of vectors and runs a check over every case of one.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// Every file of vectors, each with a test of the same name.
pub(crate) const FILES: [&str; 15] = [
    "backoff",
    "background",
    "code",
    "encode_http",
    "encode_job",
    "encode_reply",
    "event",
    "following",
    "http",
    "job",
    "key",
    "name",
    "reply",
    "requeue",
    "subscribable",
];

/// One case. Which fields a file may use is the schema's business.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) id: String,
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "in")]
    pub(crate) input: Value,
    /// `Some(Value::Null)` cannot occur: no file has a case whose `out` is null.
    pub(crate) out: Option<Value>,
    pub(crate) error: Option<String>,
    pub(crate) prefix: Option<String>,
    pub(crate) attempt: Option<u64>,
    pub(crate) encodings: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) must_contain: Vec<String>,
    #[serde(default)]
    pub(crate) must_not_contain: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "title")]
    _title: String,
    cases: Vec<Case>,
}

impl Case {
    /// The bytes of `in`.
    pub(crate) fn frame(&self) -> Vec<u8> {
        bytes(&self.input)
    }

    /// Compares what came out with what is due: a value, or the word of a code.
    pub(crate) fn expect(&self, got: Result<Value, tempest_protocol::Error>) -> Result<(), String> {
        match (&self.out, &self.error, got) {
            (Some(out), None, Ok(got)) if same(out, &got) => Ok(()),
            (None, Some(word), Err(error)) if error.code().as_str() == word => Ok(()),
            (Some(out), _, got) => Err(format!("due {out}\n     got {got:?}")),
            (None, word, got) => Err(format!("due error {word:?}\n     got {got:?}")),
        }
    }
}

/// `protocol/vectors`.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// A file of the folder as it stands.
pub(crate) fn raw(file: &str) -> Vec<u8> {
    let path = folder().join(file).with_extension("json");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of a file; never none.
pub(crate) fn cases(file: &str) -> Vec<Case> {
    let File { cases, .. } =
        serde_json::from_slice(&raw(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(!cases.is_empty(), "{file}.json has no case");
    cases
}

/// Runs a check over every case of a file and names all that fail.
pub(crate) fn walk(file: &str, check: impl Fn(&Case) -> Result<(), String>) {
    assert!(FILES.contains(&file), "{file} is not in the list of files");
    let cases = cases(file);
    let failed: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|why| format!("  {}: {why}", case.id)))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {} cases of {file}.json fail:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n")
    );
}

/// `{"text": …}` or `{"hex": …}`.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    match (value["text"].as_str(), value["hex"].as_str()) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(hex)) => unhex(hex),
        _ => panic!("neither text nor hex: {value}"),
    }
}

/// Bytes of hexadecimal digits.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "odd number of digits: {hex}");
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]).zip(digit(pair[1])).map(|(high, low)| high << 4 | low))
        .collect::<Option<_>>()
        .unwrap_or_else(|| panic!("not hexadecimal: {hex}"))
}

/// Hexadecimal digits of bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Equality of JSON values in which 1 and 1.0 are the same number.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.is_f64() != y.is_f64() && x.as_f64() == y.as_f64())
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(name, x)| y.get(name).is_some_and(|y| same(x, y)))
        }
        _ => a == b,
    }
}
