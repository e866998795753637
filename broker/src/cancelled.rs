//! Which jobs were cancelled lately, as far as this process said or heard it: they are not recovered (SPEC "Recovery").

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tempest_protocol::{JobId, limits};

/// Ids, forgotten after [`limits::ID_MEMORY`], the oldest sooner when there are [`limits::CANCELLED_IDS_MAX`].
#[derive(Default)]
pub(crate) struct Cancelled(Mutex<Ids>);

#[derive(Default)]
struct Ids {
    known: HashSet<JobId>,
    order: VecDeque<(Instant, JobId)>,
}

impl Cancelled {
    pub(crate) fn note(&self, id: &JobId) {
        let mut ids = self.ids();
        if ids.known.insert(id.clone()) {
            ids.order.push_back((Instant::now(), id.clone()));
        }
        ids.forget();
    }

    pub(crate) fn has(&self, id: &JobId) -> bool {
        let mut ids = self.ids();
        ids.forget();
        ids.known.contains(id)
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn forget(&mut self) {
        while let Some((since, id)) = self.order.front() {
            if self.order.len() <= limits::CANCELLED_IDS_MAX && since.elapsed() < limits::ID_MEMORY {
                break;
            }
            self.known.remove(id);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let (cancelled, id) =
            (Cancelled::default(), |number: usize| JobId::new(format!("j{number}")).unwrap());
        (0..=limits::CANCELLED_IDS_MAX).for_each(|number| cancelled.note(&id(number)));
        cancelled.note(&id(2));
        assert_eq!(
            [0, 1, 2, limits::CANCELLED_IDS_MAX].map(|number| cancelled.has(&id(number))),
            [false, true, true, true]
        );
    }
}
