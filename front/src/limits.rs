//! How much of something one client may have, and all of them together.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tempest_protocol::Code;

use crate::Refusal;

/// What limits count for: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey(Option<IpAddr>);

impl ClientKey {
    pub(crate) fn of(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 => v4,
        }))
    }
}

/// Counts what is held, in all and for each client.
#[derive(Default)]
pub(crate) struct Census(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: usize,
    clients: HashMap<ClientKey, usize>,
}

/// Which of two limits was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// All clients together hold as much as they may.
    InAll,
    /// This client does.
    Client,
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Self {
        Self::new(match full {
            Full::InAll => Code::LimitReached,
            Full::Client => Code::RateLimited,
        })
    }
}

impl Census {
    /// Takes a place, unless a limit is reached. A client's limit of 0 is none.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: ClientKey,
        all_max: usize,
        client_max: usize,
    ) -> Result<Place, Full> {
        let mut counts = self.counts();
        if counts.all >= all_max {
            return Err(Full::InAll);
        }
        // Where nobody limits clients, nobody counts them.
        let counted = client_max > 0;
        if counted {
            let held = counts.clients.entry(client).or_default();
            if *held >= client_max {
                return Err(Full::Client);
            }
            *held += 1;
        }
        counts.all += 1;
        drop(counts);
        Ok(Place { census: self.clone(), client: counted.then_some(client) })
    }

    /// How many places are taken.
    pub(crate) fn len(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is given back when it is dropped.
pub(crate) struct Place {
    census: Arc<Census>,
    client: Option<ClientKey>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.census.counts();
        counts.all -= 1;
        let Some(client) = self.client else { return };
        if let Some(held) = counts.clients.get_mut(&client) {
            *held -= 1;
            if *held == 0 {
                counts.clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> ClientKey {
        ClientKey::of(Some(address.parse().unwrap()))
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:2"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn places_are_counted_for_each_client_and_given_back() {
        let census = Arc::new(Census::default());
        let enter = |address: &str| census.enter(key(address), 3, 2);
        let (one, two) = (enter("192.0.2.1"), enter("192.0.2.1"));
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Client));
        let three = enter("192.0.2.2");
        assert_eq!(enter("192.0.2.3").err(), Some(Full::InAll));
        drop((one, two));
        assert_eq!(census.len(), 1);
        assert!(enter("192.0.2.1").is_ok());
        drop(three);
        assert_eq!(census.len(), 0);
        assert!(census.counts().clients.is_empty(), "nobody is remembered");
    }
}
