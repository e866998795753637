//! Where operators and probes ask.

use serde::{Deserialize, Serialize};

/// The admin listener of a front: health, readiness, metrics. It is for operators, not for clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Addresses `host:port` on which plain HTTP/1 is spoken; none: nowhere. Port 0: any free one.
    pub listen: Vec<String>,
    /// Whether any free port does where one is taken.
    pub any_port: bool,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: vec!["localhost:1338".into()], any_port: true }
    }
}
