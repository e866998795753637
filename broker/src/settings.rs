//! How to reach a cluster.

use tempest_protocol::Prefix;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis://[user:password@]host:port[/db]` or `unix:///path`.
    pub url: String,
    /// What all keys begin with.
    pub prefix: Prefix,
    /// What all topics of this cluster begin with; empty unless several share a Redis.
    pub topic_prefix: String,
    /// Shown by `CLIENT LIST`.
    pub client_name: String,
}

impl Settings {
    /// A cluster at this URL with everything else at its default.
    pub fn new(url: impl Into<String>, client_name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: Prefix::default(),
            topic_prefix: String::new(),
            client_name: client_name.into(),
        }
    }

    /// The URL without its password, for logs.
    pub fn shown_url(&self) -> String {
        match (self.url.split_once("://"), self.url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
            _ => self.url.clone(),
        }
    }
}
