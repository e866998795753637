//! What a front counts. Each request costs a few additions to numbers that its route holds ready; names, labels and text
//! come into play only when somebody asks (`page`).
//!
//! Not here: what is counted on the bus (`tempest_broker::Stats`).

mod connections;
mod jobs;
mod page;
mod process;
#[cfg(test)]
mod published;
mod pushes;
mod samples;
mod table;
mod traffic;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tempest_broker::Counter;
use tempest_protocol::Code;

pub(crate) use connections::{Carried, Connections};
pub(crate) use jobs::{Jobs, Outcome};
pub(crate) use page::page;
pub(crate) use pushes::{PushOutcome, Pushes};
pub(crate) use traffic::{CLIENT_LEFT, RouteName, Traffic, method_slot};

/// The content type of [`page`]'s text (OpenMetrics 1.0).
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a front counts.
pub(crate) struct Metrics {
    /// Refusals by their code, in the order of [`Code::ALL`].
    refusals: [Counter; Code::ALL.len()],
    pub(crate) connections: Connections,
    /// Requests that found no route.
    pub(crate) unrouted: Arc<Traffic>,
    /// Those of routes. A route that is in no table any more is forgotten with its last request.
    routes: Mutex<HashMap<RouteName, Weak<Traffic>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            refusals: std::array::from_fn(|_| Counter::default()),
            connections: Connections::default(),
            unrouted: Arc::new(Traffic::new(RouteName::default())),
            routes: Mutex::default(),
        }
    }
}

impl Metrics {
    /// A client was refused.
    pub(crate) fn refused(&self, code: Code) {
        if let Some(counter) = self.refusals.get(code as usize) {
            counter.count();
        }
    }

    /// The numbers of a route: those it had before, if it was in the table before.
    pub(crate) fn traffic(&self, route: RouteName) -> Arc<Traffic> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|_, traffic| traffic.strong_count() > 0);
        let known = routes.get(&route).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let traffic = Arc::new(Traffic::new(route.clone()));
            routes.insert(route, Arc::downgrade(&traffic));
            traffic
        })
    }

    /// All that is known of requests, in the order of the routes' names.
    fn all_traffic(&self) -> Vec<Arc<Traffic>> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = routes.values().filter_map(Weak::upgrade).collect();
        drop(routes);
        all.push(self.unrouted.clone());
        all.sort_by(|one, other| one.route.cmp(&other.route));
        all
    }

    /// Codes and how many refusals had them.
    fn refusals(&self) -> impl Iterator<Item = (Code, u64)> {
        Code::ALL.iter().copied().zip(self.refusals.iter().map(Counter::value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_number_of_its_own() {
        let metrics = Metrics::default();
        Code::ALL.iter().for_each(|code| metrics.refused(*code));
        assert!(metrics.refusals().all(|(_, count)| count == 1));
    }

    #[test]
    fn a_route_keeps_its_numbers_over_a_reload_and_is_forgotten_when_it_is_gone() {
        let metrics = Metrics::default();
        let name = |route: &str| RouteName { route: route.into(), ..RouteName::default() };
        let before = metrics.traffic(name("/a"));
        before.answered(0, 200);
        let after = metrics.traffic(name("/a"));
        assert!(Arc::ptr_eq(&before, &after));
        drop((before, after));
        let anew = metrics.traffic(name("/a"));
        assert_eq!(anew.counted().count(), 0);
        assert_eq!(metrics.all_traffic().len(), 2, "this one and what found no route");
    }
}
