//! Whether each request has a line in the log.

use serde::{Deserialize, Serialize};

/// What is logged of each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Nothing.
    Off,
    /// A line, with the path but without the query: queries carry what nobody should read in a log.
    #[default]
    On,
    /// A line with path and query.
    Query,
}

impl std::str::FromStr for AccessLog {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "query" => Ok(Self::Query),
            _ => Err(format!("{word:?} is not off, on or query")),
        }
    }
}
