//! Waiting after failures (SPEC "Back-off"): exponential with a cap. The caller draws the jitter, since this crate
//! has no randomness.

use std::time::Duration;

/// A back-off schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait, in milliseconds.
    pub base_ms: u64,
    /// Upper bound of any wait, in milliseconds.
    pub cap_ms: u64,
}

/// How processes return to a Redis that went away.
pub const RECONNECT: Backoff = Backoff { base_ms: 50, cap_ms: 1_000 };
/// How failed background jobs are tried again.
pub const RETRY: Backoff = Backoff { base_ms: 1_000, cap_ms: 3_600_000 };

impl Backoff {
    /// Upper bound of the wait after the `n`-th failure (from 1): `min(cap, base * 2^(n-1))`.
    /// The wait itself is drawn evenly from zero to this bound.
    pub fn bound(self, n: u32) -> Duration {
        let factor = 1u64.checked_shl(n.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.base_ms.saturating_mul(factor).min(self.cap_ms))
    }
}
