//! Where operators and probes ask.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The admin listener of a front: health, readiness, metrics. It is for operators, not for clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Addresses `host:port` on which plain HTTP/1 is spoken; none: nowhere. Port 0: any free one.
    pub listen: Vec<String>,
    /// Whether any free port does where one is taken.
    pub any_port: bool,
    /// Who knows it may change something: run dead jobs again, delete them, pause queues. None: nobody may.
    #[serde(skip)]
    pub token: Token,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: vec!["localhost:1338".into()], any_port: true, token: Token::default() }
    }
}

/// A secret, or none. It is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Of a text; an empty one is none.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret, if there is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "…" })
    }
}
