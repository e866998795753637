//! Connections of clients that are open, by what they carry.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tempest_broker::Counter;

use super::Metrics;

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carried {
    Http1,
    Http2,
    /// An event stream that has taken the socket.
    Events,
}

const NAMES: [&str; 3] = ["http1", "http2", "events"];

/// Connections of clients.
#[derive(Default)]
pub(crate) struct Connections {
    /// How many were accepted.
    pub(crate) accepted: Counter,
    /// Those that are open: in plaintext, in TLS.
    open: [[AtomicU64; 2]; NAMES.len()],
}

impl Connections {
    /// What is carried, whether in TLS, and how many there are.
    pub(super) fn open(&self) -> impl Iterator<Item = (&'static str, bool, u64)> {
        NAMES.into_iter().zip(&self.open).flat_map(|(name, open)| {
            [false, true]
                .into_iter()
                .zip(open)
                .map(move |(tls, open)| (name, tls, open.load(Ordering::Relaxed)))
        })
    }
}

/// A connection that is open until this is dropped.
pub(crate) struct Open {
    metrics: Arc<Metrics>,
    carried: Carried,
    is_tls: bool,
}

impl Metrics {
    /// A connection carries this now.
    pub(crate) fn carries(self: &Arc<Self>, carried: Carried, is_tls: bool) -> Open {
        let open = Open { metrics: self.clone(), carried, is_tls };
        open.counter().fetch_add(1, Ordering::Relaxed);
        open
    }
}

impl Open {
    fn counter(&self) -> &AtomicU64 {
        &self.metrics.connections.open[self.carried as usize][usize::from(self.is_tls)]
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counter().fetch_sub(1, Ordering::Relaxed);
    }
}
