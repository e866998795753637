//! What a route can say about how its requests are treated, apart from where they go.

use serde::{Deserialize, Serialize};

/// How many requests a client may send: a token bucket for each address (IPv6: for each /64).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests in each period.
    pub requests: u32,
    /// The period, in milliseconds; absent: one second.
    #[serde(default = "one_second")]
    pub per_ms: u64,
    /// Requests that may come at once; absent: as many as in a period.
    pub burst: Option<u32>,
}

fn one_second() -> u64 {
    1_000
}

impl Rate {
    pub(crate) fn check(&self) -> Result<(), String> {
        let burst = self.burst.unwrap_or(self.requests);
        match (self.requests, self.per_ms, burst) {
            (1.., 1.., 1..) => Ok(()),
            _ => Err("requests, per_ms and burst must be 1 or more".into()),
        }
    }
}

/// Which pages of other origins may read responses (Fetch standard, "CORS protocol").
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Origins like `https://app.example`, `https://*.example` for every subdomain, or `*` for all.
    pub origins: Vec<String>,
    /// Methods besides GET, HEAD and POST, or `*`.
    pub methods: Vec<String>,
    /// Request header fields besides the harmless ones, or `*`.
    pub headers: Vec<String>,
    /// Response header fields that a page may read.
    pub expose: Vec<String>,
    /// Whether cookies are sent along. Not together with `*`.
    pub credentials: bool,
    /// How long a browser remembers what a preflight was told, in seconds.
    pub max_age_s: Option<u32>,
}

impl Cors {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.origins.is_empty() {
            return Err("it needs origins".into());
        }
        let lists = [&self.origins, &self.methods, &self.headers, &self.expose];
        if self.credentials && lists.iter().any(|list| list.iter().any(|entry| entry == "*")) {
            return Err("with credentials nothing can be *".into());
        }
        for origin in self.origins.iter().filter(|origin| *origin != "*") {
            let parts = origin.split_once("://").filter(|(scheme, host)| {
                !scheme.is_empty()
                    && !host.is_empty()
                    && !host.contains('/')
                    && !host.trim_start_matches("*.").contains('*')
            });
            if parts.is_none() {
                return Err(format!("{origin:?} is no origin like https://app.example"));
            }
        }
        let token = |name: &String| http::HeaderName::try_from(name.as_str()).is_ok();
        match lists[1..].iter().flat_map(|list| list.iter()).find(|name| *name != "*" && !token(name)) {
            Some(name) => Err(format!("{name:?} is no name")),
            None => Ok(()),
        }
    }
}
