//! Where TLS is spoken, and with which certificates.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// TLS of a front.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Addresses `host:port` on which TLS is spoken; none: nowhere.
    pub listen: Vec<String>,
    /// Certificates, each for the names in it. The first one is for clients that name no other.
    pub certificates: Vec<Certificate>,
    /// Whether requests in plaintext are sent to the same address in TLS.
    pub redirect: bool,
    /// The port they are sent to; 0: the one that is listened on.
    pub port: u16,
}

/// A certificate and its key, as PEM files. They are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate, followed by those it is signed with.
    pub certificate: PathBuf,
    /// Its private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}
