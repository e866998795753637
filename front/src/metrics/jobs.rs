//! The jobs a front made for one queue, by what became of them.

use tempest_broker::Counter;
use tempest_protocol::{Code, Content, Reply};

use crate::Refusal;

/// What became of a job, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With a response or a result.
    Answered,
    /// With an error of its handler, or with a reply that cannot be used.
    Failed,
    WorkerLost,
    Timeout,
    /// Its client left.
    Cancelled,
    /// It was not pushed, or was taken back: the lane was full or its wait would have been too long.
    QueueFull,
    /// The same: nobody serves the queue.
    NoWorker,
    /// The same: Redis is away or refuses.
    RedisAway,
}

impl Outcome {
    pub(super) const ALL: [(Self, &'static str); 8] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::WorkerLost, "worker_lost"),
        (Self::Timeout, "timeout"),
        (Self::Cancelled, "cancelled"),
        (Self::QueueFull, "queue_full"),
        (Self::NoWorker, "no_worker"),
        (Self::RedisAway, "redis_away"),
    ];

    /// Of how the wait for a reply ended.
    pub(crate) fn of(answer: &Result<Reply, Refusal>) -> Self {
        let code = match answer {
            Ok(Reply { content: Content::Error(failure), .. }) => failure.known_code(),
            Ok(_) => return Self::Answered,
            Err(refusal) => refusal.code(),
        };
        match code {
            Code::WorkerLost => Self::WorkerLost,
            Code::Timeout => Self::Timeout,
            Code::QueueFull => Self::QueueFull,
            Code::NoWorker => Self::NoWorker,
            Code::RedisAway => Self::RedisAway,
            _ => Self::Failed,
        }
    }
}

/// Jobs by their outcome.
#[derive(Default)]
pub(crate) struct Jobs([Counter; Outcome::ALL.len()]);

impl Jobs {
    /// A job is over.
    pub(crate) fn ended(&self, outcome: Outcome) {
        self.0[outcome as usize].count();
    }

    /// How many are over.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(Counter::value).sum()
    }

    /// Outcomes and how many jobs had them.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Outcome::ALL.iter().map(|(_, name)| *name).zip(self.0.iter().map(Counter::value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_under_its_name() {
        let jobs = Jobs::default();
        for (turn, (outcome, _)) in Outcome::ALL.iter().enumerate() {
            (0..=turn).for_each(|_| jobs.ended(*outcome));
        }
        let names = Outcome::ALL.iter().map(|(_, name)| *name);
        assert!(jobs.counted().eq(names.zip(1..)));
    }

    #[test]
    fn a_refusal_tells_what_became_of_the_job() {
        let of = |code| Outcome::of(&Err(Refusal::new(code)));
        assert_eq!(of(Code::QueueFull), Outcome::QueueFull);
        assert_eq!(of(Code::BadReply), Outcome::Failed);
        assert_eq!(of(Code::Timeout), Outcome::Timeout);
    }
}
