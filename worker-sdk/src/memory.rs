//! What a worker remembers for a minute: ids that were cancelled, and starts it has finished (SPEC "Cancel",
//! "At most once").

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use tempest_protocol::{JobId, limits};

/// Starts that are remembered at most; at higher rates than this a minute the oldest are forgotten sooner.
const FINISHED_MAX: usize = 500_000;

/// Remembers both kinds, bounded by time and number.
pub(crate) struct Memory {
    hasher: RandomState,
    cancelled: Recent,
    finished: Recent,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            cancelled: Recent::new(limits::CANCELLED_IDS_MAX, limits::ID_MEMORY),
            finished: Recent::new(FINISHED_MAX, limits::ID_MEMORY),
        }
    }
}

impl Memory {
    pub(crate) fn cancel(&mut self, id: &JobId) {
        self.cancelled.insert(self.hasher.hash_one(id));
    }

    pub(crate) fn is_cancelled(&mut self, id: &JobId) -> bool {
        // None are, nearly always.
        !self.cancelled.is_empty() && self.cancelled.contains(self.hasher.hash_one(id))
    }

    pub(crate) fn finish(&mut self, id: &JobId, attempt: u64) {
        self.finished.insert(self.hasher.hash_one((id, attempt)));
    }

    pub(crate) fn has_finished(&mut self, id: &JobId, attempt: u64) -> bool {
        self.finished.contains(self.hasher.hash_one((id, attempt)))
    }
}

/// A set of hashes that forgets. 64 bits of a keyed hash: two of a million being equal is one in ten million million.
struct Recent {
    known: HashSet<u64>,
    order: VecDeque<(Instant, u64)>,
    count_max: usize,
    age_max: Duration,
}

impl Recent {
    fn new(count_max: usize, age_max: Duration) -> Self {
        Self { known: HashSet::new(), order: VecDeque::new(), count_max, age_max }
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn insert(&mut self, hash: u64) {
        self.forget();
        if self.known.insert(hash) {
            self.order.push_back((Instant::now(), hash));
        }
    }

    fn contains(&mut self, hash: u64) -> bool {
        self.forget();
        self.known.contains(&hash)
    }

    fn forget(&mut self) {
        while let Some((since, hash)) = self.order.front() {
            if self.order.len() <= self.count_max && since.elapsed() < self.age_max {
                break;
            }
            self.known.remove(hash);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_by_number_and_by_age() {
        let mut few = Recent::new(2, Duration::from_secs(60));
        (1..=4).for_each(|hash| few.insert(hash));
        assert_eq!([1, 2, 3, 4].map(|hash| few.contains(hash)), [false, false, true, true]);
        let mut short = Recent::new(10, Duration::ZERO);
        short.insert(1);
        assert!(!short.contains(1));
    }

    #[test]
    fn an_attempt_is_remembered_by_itself() {
        let mut memory = Memory::default();
        let id = JobId::new("a").expect("an id");
        memory.finish(&id, 1);
        assert!(memory.has_finished(&id, 1));
        assert!(!memory.has_finished(&id, 2));
        assert!(!memory.is_cancelled(&id));
        memory.cancel(&id);
        assert!(memory.is_cancelled(&id));
    }
}
