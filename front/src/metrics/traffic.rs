//! The requests of one route, counted.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use http::Method;
use tempest_broker::{Counter, Durations};

use crate::parts::Parts;

/// What stands where a status would, for a client that left before there was one.
pub(crate) const CLIENT_LEFT: u16 = 499;

/// Methods that are told apart; the last stands for any other.
pub(super) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// Statuses that are told apart, in order.
const STATUSES: [u16; 41] = [
    101,
    200,
    201,
    202,
    203,
    204,
    205,
    206,
    300,
    301,
    302,
    303,
    304,
    307,
    308,
    400,
    401,
    402,
    403,
    404,
    405,
    406,
    408,
    409,
    410,
    411,
    412,
    413,
    414,
    415,
    416,
    422,
    429,
    431,
    CLIENT_LEFT,
    500,
    501,
    502,
    503,
    504,
    505,
];
/// What all others are called, by their first digit.
const CLASSES: [&str; 9] = ["1xx", "2xx", "3xx", "4xx", "5xx", "6xx", "7xx", "8xx", "9xx"];
const SLOTS: usize = STATUSES.len() + CLASSES.len();

/// Which route, as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RouteName {
    /// Host and path pattern; empty for requests that found no route.
    pub(crate) route: String,
    /// `queue`, `topic`, `static`; empty if there is no route.
    pub(crate) target: &'static str,
    /// The queue, where it leads to one.
    pub(crate) queue: String,
}

/// The requests of one route.
pub(crate) struct Traffic {
    pub(crate) route: RouteName,
    answered: [[Counter; SLOTS]; METHODS.len()],
    in_flight: AtomicU64,
    /// From the head of a request to that of its response.
    pub(super) duration: Durations,
    pub(super) front: Durations,
    pub(super) queue: Durations,
    pub(super) worker: Durations,
    pub(super) reply: Durations,
}

impl Traffic {
    pub(crate) fn new(route: RouteName) -> Self {
        Self {
            route,
            answered: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
            in_flight: AtomicU64::new(0),
            duration: Durations::default(),
            front: Durations::default(),
            queue: Durations::default(),
            worker: Durations::default(),
            reply: Durations::default(),
        }
    }

    /// A request has come.
    pub(crate) fn begun(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// It is over, however it ended.
    pub(crate) fn over(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a request of a method (see [`method_slot`]) by its status.
    pub(crate) fn answered(&self, method: usize, status: u16) {
        self.answered[method][status_slot(status)].count();
    }

    /// Adds where the time of a request went. The parts are told apart only where there was a job.
    pub(crate) fn took(&self, total: Duration, parts: &Parts) {
        self.duration.add(total);
        let known = [(&self.queue, parts.queue), (&self.worker, parts.worker), (&self.reply, parts.reply)];
        if parts.queue.is_some() || parts.worker.is_some() {
            self.front.add(parts.front);
        }
        for (durations, part) in known {
            if let Some(part) = part {
                durations.add(part);
            }
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Method, status, and how many; without those that never came.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static str, String, u64)> {
        METHODS.into_iter().zip(&self.answered).flat_map(|(method, counters)| {
            let counted = counters.iter().map(Counter::value).enumerate().filter(|(_, count)| *count > 0);
            counted.map(move |(slot, count)| (method, status_name(slot), count))
        })
    }
}

/// Where a method is counted.
pub(crate) fn method_slot(method: &Method) -> usize {
    METHODS.iter().position(|name| *name == method.as_str()).unwrap_or(METHODS.len() - 1)
}

fn status_slot(status: u16) -> usize {
    let class = || STATUSES.len() + usize::from(status / 100).clamp(1, CLASSES.len()) - 1;
    STATUSES.binary_search(&status).unwrap_or_else(|_| class())
}

fn status_name(slot: usize) -> String {
    match STATUSES.get(slot) {
        Some(status) => status.to_string(),
        None => CLASSES[slot - STATUSES.len()].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_name_it_can_be_found_under() {
        assert!(STATUSES.is_sorted());
        let expected = [
            (200, "200"),
            (499, "499"),
            (503, "503"),
            (504, "504"),
            (418, "4xx"),
            (599, "5xx"),
            (999, "9xx"),
            (100, "1xx"),
            (0, "1xx"),
            (u16::MAX, "9xx"),
        ];
        for (status, name) in expected {
            assert_eq!(status_name(status_slot(status)), name);
        }
    }

    #[test]
    fn requests_are_counted_by_method_and_status() {
        let traffic = Traffic::new(RouteName::default());
        let (get, brew) = (method_slot(&Method::GET), method_slot(&Method::from_bytes(b"BREW").unwrap()));
        for status in [200, 200, 418] {
            traffic.answered(get, status);
        }
        traffic.answered(brew, 501);
        let counted: Vec<_> = traffic.counted().collect();
        let expected =
            [("GET", "200", 2), ("GET", "4xx", 1), ("other", "501", 1)].map(|(m, s, n)| (m, s.to_owned(), n));
        assert_eq!(counted, expected);
    }
}
