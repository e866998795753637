//! The background jobs that routes of a front pushed, by what became of that.

use tempest_broker::Counter;
use tempest_protocol::Code;

/// What became of a request that was to be a background job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// It is one.
    Pushed,
    /// Its `Idempotency-Key` is that of another one, or a push whose answer was lost had come through.
    Known,
    QueueFull,
    RedisAway,
    /// It was refused for something else: its body, for instance.
    Failed,
}

impl PushOutcome {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Pushed, "pushed"),
        (Self::Known, "known"),
        (Self::QueueFull, "queue_full"),
        (Self::RedisAway, "redis_away"),
        (Self::Failed, "failed"),
    ];

    /// Of a refusal.
    pub(crate) fn of(code: Code) -> Self {
        match code {
            Code::QueueFull => Self::QueueFull,
            Code::RedisAway => Self::RedisAway,
            _ => Self::Failed,
        }
    }
}

/// Pushes by their outcome.
#[derive(Default)]
pub(crate) struct Pushes([Counter; PushOutcome::ALL.len()]);

impl Pushes {
    /// One is over.
    pub(crate) fn ended(&self, outcome: PushOutcome) {
        self.0[outcome as usize].count();
    }

    /// How many became a job.
    pub(crate) fn total(&self) -> u64 {
        self.0[PushOutcome::Pushed as usize].value()
    }

    /// Outcomes and how many pushes had them.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PushOutcome::ALL.iter().map(|(_, name)| *name).zip(self.0.iter().map(Counter::value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_name() {
        let pushes = Pushes::default();
        for (turn, (outcome, _)) in PushOutcome::ALL.iter().enumerate() {
            (0..=turn).for_each(|_| pushes.ended(*outcome));
        }
        let names = PushOutcome::ALL.iter().map(|(_, name)| *name);
        assert!(pushes.counted().eq(names.zip(1..)));
    }
}
