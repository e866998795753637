//! How long clients may take and how much they may send before their request is understood.

use serde::{Deserialize, Serialize};

/// Limits of connections and of what comes on them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// How long the header of a request may take from its first byte, in milliseconds; else 408.
    pub header_timeout_ms: u64,
    /// How long a body may pause, in milliseconds; else 408. All of it must come within the timeout of its route.
    pub body_timeout_ms: u64,
    /// How long a connection may be idle between two requests, in milliseconds.
    pub keep_alive_ms: u64,
    /// Requests on one connection of HTTP/1; 0: any number.
    pub keep_alive_requests_max: usize,
    /// Bytes of a request's header; more are 431.
    pub header_bytes_max: usize,
    /// Fields of a request's header; more are 431.
    pub header_fields_max: usize,
    /// Bytes of a request's target; more are 414.
    pub target_bytes_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            header_timeout_ms: 10_000,
            body_timeout_ms: 10_000,
            keep_alive_ms: 75_000,
            keep_alive_requests_max: 0,
            header_bytes_max: 32 << 10,
            header_fields_max: 100,
            target_bytes_max: 8 << 10,
        }
    }
}
