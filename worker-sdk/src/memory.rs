//! What a worker remembers for a minute: ids that were cancelled, and starts it has finished (SPEC "Cancel",
//! "At most once").

use std::hash::{BuildHasher, RandomState};

use tempest_broker::Recent;
use tempest_protocol::{Envelope, JobId, limits};

/// Starts that are remembered at most; at higher rates than this a minute the oldest are forgotten sooner.
const FINISHED_MAX: usize = 500_000;

/// Which start of a job this is. One that was pushed again under the same id is another job.
#[derive(Clone, Copy, Hash)]
pub(crate) struct Start {
    attempt: u64,
    queued_at_ms: Option<u64>,
}

impl Start {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self { attempt: envelope.attempt, queued_at_ms: envelope.queued_at_ms }
    }
}

/// Remembers both kinds, bounded by time and number: as 64 bits of a keyed hash, of which two of a million are equal once in
/// ten million million times.
pub(crate) struct Memory {
    hasher: RandomState,
    cancelled: Recent<u64>,
    finished: Recent<u64>,
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
        !self.cancelled.is_empty() && self.cancelled.contains(&self.hasher.hash_one(id))
    }

    pub(crate) fn finish(&mut self, id: &JobId, start: Start) {
        self.finished.insert(self.hasher.hash_one((id, start)));
    }

    pub(crate) fn has_finished(&mut self, id: &JobId, start: Start) -> bool {
        self.finished.contains(&self.hasher.hash_one((id, start)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_remembered_by_itself() {
        let mut memory = Memory::default();
        let id = JobId::new("a").expect("an id");
        let start = |attempt, queued_at_ms| Start { attempt, queued_at_ms };
        memory.finish(&id, start(1, Some(7)));
        assert!(memory.has_finished(&id, start(1, Some(7))));
        assert!(!memory.has_finished(&id, start(2, Some(7))));
        assert!(!memory.has_finished(&id, start(1, Some(8))), "pushed again under the same id");
        assert!(!memory.is_cancelled(&id));
        memory.cancel(&id);
        assert!(memory.is_cancelled(&id));
    }
}
