//! How many requests each client may send: a token bucket for each address.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::DefaultKeyedStateStore,
};
use tempest_protocol::Code;

use crate::{Refusal, config::Rate, limits::ClientKey};

/// Checks between two looks for buckets that are full again and need not be remembered.
const SWEEP: u32 = 4096;

/// The buckets of a route.
pub(super) struct Buckets {
    limiter: RateLimiter<ClientKey, DefaultKeyedStateStore<ClientKey>, DefaultClock>,
    clock: DefaultClock,
    checks: AtomicU32,
}

impl Buckets {
    /// The rate was checked before.
    pub(super) fn new(rate: &Rate) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let each = Duration::from_millis(rate.per_ms) / rate.requests.max(1);
        let quota = Quota::with_period(each.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        let quota = quota.allow_burst(at_least_one(rate.burst.unwrap_or(rate.requests)));
        let clock = DefaultClock::default();
        Self {
            limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            checks: AtomicU32::new(0),
        }
    }

    /// Takes a token. A client of unknown address has a bucket with all others of that kind.
    pub(super) fn take(&self, client: Option<IpAddr>) -> Result<(), Refusal> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP == SWEEP - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        let key = ClientKey::of(client);
        self.limiter
            .check_key(&key)
            .map_err(|until| Refusal::new(Code::RateLimited).after(until.wait_time_from(self.clock.now())))
    }
}
