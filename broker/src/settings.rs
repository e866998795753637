//! How to reach a cluster.

use std::path::{Path, PathBuf};

use tempest_protocol::Prefix;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis://[user:password@]host:port[/db]`, the same in TLS with `rediss://`, or `unix:///path`.
    pub url: String,
    /// Certificates for `rediss://`; without meaning for other URLs.
    pub tls: Tls,
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
            tls: Tls::default(),
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

/// Certificates for TLS with Redis, as files in PEM. They are read whenever a connection is made, so that new ones are
/// used without a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whose signature the certificate of Redis must bear; none: an authority this machine knows.
    pub ca_file: Option<PathBuf>,
    /// What Redis is shown if it asks who connects. Goes with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The private key of `cert_file`.
    pub key_file: Option<PathBuf>,
}

impl Tls {
    /// The variables that name the files, in the order of the fields.
    pub const VARIABLES: [&str; 3] =
        ["TEMPEST_REDIS_CA_FILE", "TEMPEST_REDIS_CERT_FILE", "TEMPEST_REDIS_KEY_FILE"];

    /// The files as their variables name them; `file` gives what one of them names.
    pub fn of(file: impl Fn(&'static str) -> Option<PathBuf>) -> Self {
        let [ca_file, cert_file, key_file] = Self::VARIABLES.map(file);
        Self { ca_file, cert_file, key_file }
    }

    /// The same files, for a process in another folder.
    #[must_use]
    pub fn absolute(&self) -> Self {
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        Self {
            ca_file: self.ca_file.as_ref().map(absolute),
            cert_file: self.cert_file.as_ref().map(absolute),
            key_file: self.key_file.as_ref().map(absolute),
        }
    }

    /// The files that are named, each with its variable.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [&self.ca_file, &self.cert_file, &self.key_file];
        Self::VARIABLES.into_iter().zip(files).filter_map(|(name, file)| Some((name, file.as_deref()?)))
    }
}
