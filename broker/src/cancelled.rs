//! Which jobs were cancelled lately, as far as this process said or heard it: they are not recovered (SPEC "Recovery").

use std::sync::{Mutex, MutexGuard, PoisonError};

use tempest_protocol::{JobId, limits};

use crate::Recent;

/// Ids, forgotten after [`limits::ID_MEMORY`], the oldest sooner when there are [`limits::CANCELLED_IDS_MAX`].
pub(crate) struct Cancelled(Mutex<Recent<JobId>>);

impl Default for Cancelled {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(limits::CANCELLED_IDS_MAX, limits::ID_MEMORY)))
    }
}

impl Cancelled {
    pub(crate) fn note(&self, id: &JobId) {
        self.ids().insert(id.clone());
    }

    pub(crate) fn has(&self, id: &JobId) -> bool {
        self.ids().contains(id)
    }

    fn ids(&self) -> MutexGuard<'_, Recent<JobId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
