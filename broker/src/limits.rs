//! What limits a queue (SPEC "Background jobs", "Limits"), as people set it. Workers obey it where they claim.

use redis::{Pipeline, Value, cmd, pipe};
use tempest_protocol::Queue;

use crate::{Broker, Error, claim::next};

/// In which time `rate` jobs start unless the queue says another one, in ms.
const PER_MS: u64 = 1_000;
/// How many jobs of a key run at a time unless the queue says so.
const PER_KEY: u64 = 1;
/// The fields of the hash, in the order in which they are read.
const FIELDS: [&str; 5] = ["paused", "concurrency", "rate", "per", "per_key"];

/// What limits the background jobs of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Nothing is claimed.
    pub paused: bool,
    /// How many jobs run at a time; none: as many as there are slots.
    pub concurrency: Option<u64>,
    /// How many jobs start in `per_ms`; none: as many as come.
    pub rate: Option<u64>,
    /// The time that `rate` is of, in ms.
    pub per_ms: u64,
    /// How many jobs of one key run at a time.
    pub per_key: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { paused: false, concurrency: None, rate: None, per_ms: PER_MS, per_key: PER_KEY }
    }
}

impl QueueLimits {
    /// Of the values of [`FIELDS`]. What is no number from 1 counts as absent.
    fn of(values: &[Option<Vec<u8>>]) -> Self {
        let text = |field: usize| std::str::from_utf8(values.get(field)?.as_ref()?).ok();
        let number = |field: usize| text(field)?.parse().ok().filter(|number| *number > 0);
        Self {
            paused: text(0) == Some("1"),
            concurrency: number(1),
            rate: number(2),
            per_ms: number(3).unwrap_or(PER_MS),
            per_key: number(4).unwrap_or(PER_KEY),
        }
    }

    /// Whether jobs of the queue are claimed with the script `take`: one of the limits of all its jobs is set.
    pub fn is_limited(&self) -> bool {
        self.paused || self.concurrency.is_some() || self.rate.is_some()
    }
}

/// A change of one limit. Numbers are from 1; 0 counts as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitChange {
    /// Stops the claims, or lets them go on.
    Paused(bool),
    /// How many jobs run at a time; none: no limit.
    Concurrency(Option<u64>),
    /// How many jobs start, and in how many ms; none: no limit.
    Rate(Option<(u64, u64)>),
    /// How many jobs of one key run at a time; none: one.
    PerKey(Option<u64>),
}

impl LimitChange {
    /// The command that makes it.
    fn add_to(self, commands: &mut Pipeline, key: &str) {
        let set: Vec<(&str, u64)> = match self {
            Self::Paused(paused) => vec![("paused", paused.into())],
            Self::Concurrency(jobs) => vec![("concurrency", jobs.unwrap_or_default())],
            Self::Rate(rate) => {
                let (jobs, per_ms) = rate.filter(|(jobs, per_ms)| jobs.min(per_ms) > &0).unwrap_or_default();
                vec![("rate", jobs), ("per", per_ms)]
            }
            Self::PerKey(jobs) => vec![("per_key", jobs.unwrap_or_default())],
        };
        match set.iter().all(|(_, value)| *value > 0) {
            true => commands.cmd("HSET").arg(key).arg(&set),
            false => {
                commands.cmd("HDEL").arg(key).arg(set.iter().map(|(field, _)| field).collect::<Vec<_>>())
            }
        };
    }
}

impl Broker {
    /// What limits a queue.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn limits(&self, queue: &Queue) -> Result<QueueLimits, Error> {
        Ok(self.limits_of([queue]).await?.pop().unwrap_or_default())
    }

    /// What limits each of these queues, in their order. One write, with what others ask at that moment.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn limits_of<'a>(
        &self,
        queues: impl IntoIterator<Item = &'a Queue>,
    ) -> Result<Vec<QueueLimits>, Error> {
        let ask = |queue| cmd("HMGET").arg(self.keys().limits(queue)).arg(&FIELDS).take();
        let commands: Vec<_> = queues.into_iter().map(ask).collect();
        let answers = self.link().gather().ask_all(None, commands).await?.into_iter();
        let of = |answer: Result<Value, Error>| {
            let values: Vec<Option<Vec<u8>>> = next(&mut std::iter::once(answer))?;
            Ok(QueueLimits::of(&values))
        };
        answers.map(of).collect()
    }

    /// Changes limits of a queue, and tells its workers. What is not named stays. Gives how many heard it.
    ///
    /// Errors: Redis is away or refuses; what was changed then is to be seen in [`Broker::limits`].
    pub async fn set_limits(&self, queue: &Queue, changes: &[LimitChange]) -> Result<u64, Error> {
        let key = self.keys().limits(queue);
        let mut commands = pipe();
        // A queue that was never used is shown with its limits, too.
        commands.cmd("SADD").arg(self.keys().queues()).arg(queue.as_str());
        changes.iter().for_each(|change| change.add_to(&mut commands, &key));
        commands.cmd("PUBLISH").arg(self.keys().control(queue)).arg("limits");
        let mut answers = self.link().ask_all(&commands).await?;
        let heard = answers.pop().unwrap_or(Err(Error::Down));
        answers.into_iter().try_for_each(|answer| answer.map(drop))?;
        next(&mut std::iter::once(heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_limit_counts_as_none() {
        let of = |values: [&str; 5]| QueueLimits::of(&values.map(|value| Some(value.as_bytes().to_vec())));
        assert_eq!(of(["0", "0", "many", "-1", "0"]), QueueLimits::default());
        let set = of(["1", "2", "3", "4", "5"]);
        assert_eq!(
            (set.paused, set.concurrency, set.rate, set.per_ms, set.per_key),
            (true, Some(2), Some(3), 4, 5)
        );
        assert!(set.is_limited() && !QueueLimits { per_key: 7, ..QueueLimits::default() }.is_limited());
        assert_eq!(QueueLimits::of(&[None, None]), QueueLimits::default());
    }
}
