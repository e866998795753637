//! A set that forgets: what happened lately, bounded by number and by age.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    time::{Duration, Instant},
};

/// Remembers so many values for so long; when there are more, the oldest are forgotten sooner.
#[derive(Debug)]
pub struct Recent<T> {
    known: HashSet<T>,
    order: VecDeque<(Instant, T)>,
    count_max: usize,
    age_max: Duration,
}

impl<T: Clone + Eq + Hash> Recent<T> {
    /// Remembers nothing yet.
    pub fn new(count_max: usize, age_max: Duration) -> Self {
        Self { known: HashSet::new(), order: VecDeque::new(), count_max, age_max }
    }

    /// Whether nothing is remembered, as far as that is known without looking at the time.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Remembers a value from now on. One that is remembered already keeps its age.
    pub fn insert(&mut self, value: T) {
        self.forget();
        if self.known.insert(value.clone()) {
            self.order.push_back((Instant::now(), value));
        }
    }

    /// Whether this value is remembered.
    pub fn contains(&mut self, value: &T) -> bool {
        self.forget();
        self.known.contains(value)
    }

    fn forget(&mut self) {
        while let Some((since, value)) = self.order.front() {
            if self.order.len() <= self.count_max && since.elapsed() < self.age_max {
                break;
            }
            self.known.remove(value);
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
        (1..=4).for_each(|value| few.insert(value));
        assert_eq!([1, 2, 3, 4].map(|value| few.contains(&value)), [false, false, true, true]);
        let mut short = Recent::new(10, Duration::ZERO);
        short.insert(1);
        assert!(!short.contains(&1));
    }
}
