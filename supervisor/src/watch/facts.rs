//! What children do, as Redis tells it, and whether that is beyond their limits.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use tempest_broker::{Broker, Error, WorkerState};
use tempest_protocol::{Envelope, Lane, Queue};

use super::{Charge, Verdict};
use crate::Limits;

/// What is known of a child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) memory_bytes: Option<u64>,
    pub(super) age: Duration,
    /// Jobs it has finished, if it tells.
    pub(super) done: Option<u64>,
    /// How long its longest job runs; zero without one.
    pub(super) longest: Duration,
    /// How long it has finished nothing although there was something to do.
    pub(super) stalled: Duration,
}

/// Which limit is exceeded first, if any.
pub(super) fn judge(limits: &Limits, facts: &Facts) -> Option<Verdict> {
    let over = |limit: Option<Duration>, time: Duration| limit.filter(|limit| time > *limit);
    if let Some(limit) = over(limits.run, facts.longest) {
        return Some(Verdict::End(format!("a job ran longer than {} ms", limit.as_millis())));
    }
    if let Some(limit) = over(limits.stall, facts.stalled) {
        return Some(Verdict::End(format!("no progress for {} ms", limit.as_millis())));
    }
    if let (Some(limit), Some(bytes)) = (limits.memory_bytes, facts.memory_bytes)
        && bytes > limit
    {
        let (uses, limit) = (bytes >> 20, limit >> 20);
        return Some(Verdict::Renew(format!("it uses {uses} MiB of memory, more than {limit}")));
    }
    if over(limits.age, facts.age).is_some() {
        return Some(Verdict::Renew(format!("it is {} s old", facts.age.as_secs())));
    }
    let done = facts.done.filter(|done| limits.jobs.is_some_and(|limit| *done >= limit));
    done.map(|done| Verdict::Renew(format!("it has finished {done} jobs")))
}

/// What children were seen doing at the last looks, by their tags.
#[derive(Default)]
pub(super) struct Work {
    seen: HashMap<String, Doing>,
}

/// What one child does.
struct Doing {
    /// Jobs it has finished, if it tells.
    done: Option<u64>,
    /// What it holds, and since when, as far as we saw.
    held: HashMap<String, Instant>,
    /// When it last finished something, or had nothing to do.
    progress: Instant,
}

/// One look at one child.
#[derive(Default)]
struct Look {
    done: Option<u64>,
    /// Names of jobs in hand, and how long they run if the child tells.
    held: HashMap<String, Option<Duration>>,
    /// Whether jobs wait that it could take.
    is_waited_for: bool,
}

impl Work {
    /// Forgets all children but these.
    pub(super) fn forget(&mut self, running: &HashSet<String>) {
        self.seen.retain(|tag, _| running.contains(tag));
    }

    /// Looks at what children do.
    ///
    /// Errors: Redis is away or refuses. Nothing is known then: what they did meanwhile cannot be told.
    pub(super) async fn look(&mut self, broker: &Broker, charges: &[Charge]) -> Result<(), Error> {
        let looks = looks(broker, charges).await.inspect_err(|_| self.seen.clear())?;
        looks.into_iter().for_each(|(tag, look)| self.remember(tag, look));
        Ok(())
    }

    fn remember(&mut self, tag: &str, look: Look) {
        let now = Instant::now();
        let doing = self.seen.entry(tag.to_owned()).or_insert_with(|| Doing {
            done: look.done,
            held: HashMap::new(),
            progress: now,
        });
        let gone = doing.held.keys().any(|name| !look.held.contains_key(name));
        let idle = look.held.is_empty() && !look.is_waited_for;
        if gone || idle || look.done != doing.done {
            doing.progress = now;
        }
        doing.done = look.done;
        let begun = |name: &String, told: Option<Duration>| {
            let seen = doing.held.get(name).copied().unwrap_or(now);
            // What the child tells is more exact than when we saw it first.
            told.and_then(|age| now.checked_sub(age)).unwrap_or(seen)
        };
        let held = look.held.into_iter().map(|(name, told)| (name.clone(), begun(&name, told))).collect();
        doing.held = held;
    }

    /// What is known of the child with this tag.
    pub(super) fn of(&self, tag: &str) -> Facts {
        let Some(doing) = self.seen.get(tag) else { return Facts::default() };
        let longest = doing.held.values().map(Instant::elapsed).max().unwrap_or_default();
        Facts { done: doing.done, longest, stalled: doing.progress.elapsed(), ..Facts::default() }
    }
}

/// A look at each of these children.
async fn looks<'a>(broker: &Broker, charges: &'a [Charge]) -> Result<Vec<(&'a str, Look)>, Error> {
    let (queues, mut workers) = broker.states().await?;
    workers.retain(|worker| charges.iter().any(|charge| worker.has_tag(&charge.tag)));
    let silent: Vec<_> = workers
        .iter()
        .filter(|worker| worker.hides_jobs())
        .map(|worker| (&worker.queue, &worker.worker, worker.slots))
        .collect();
    let in_hand = broker.jobs_in_hand(&silent).await?;
    let waits = |queue: &Queue, lanes: &[Lane]| {
        let state = queues.iter().find(|state| state.queue == *queue);
        let load = |lane: &Lane| state.map_or(0, |state| state.waiting[*lane as usize].jobs);
        lanes.iter().any(|lane| load(lane) > 0)
    };
    let now_ms = broker.now_ms();
    let look = |charge: &'a Charge| {
        let mut look = Look::default();
        for worker in workers.iter().filter(|worker| worker.has_tag(&charge.tag)) {
            look.add(worker, now_ms);
            look.is_waited_for |= waits(&worker.queue, &charge.lanes);
            let held = in_hand.iter().filter(|(owner, _)| *owner == worker.worker);
            look.held.extend(held.map(|(_, job)| (name(job), None)));
        }
        (charge.tag.as_str(), look)
    };
    Ok(charges.iter().map(look).collect())
}

/// What tells a job in hand apart. One without an id is known by its action: another of that name which follows at once
/// looks the same.
fn name(job: &Envelope) -> String {
    job.id.as_ref().map_or_else(|| job.action.to_string(), ToString::to_string)
}

impl Look {
    fn add(&mut self, worker: &WorkerState, now_ms: u64) {
        let about = worker.said();
        if let Some(done) = about["done"].as_u64() {
            // A worker on several queues says the same in each lease.
            self.done = Some(self.done.unwrap_or_default().max(done));
        }
        for job in about["jobs"].as_array().into_iter().flatten() {
            let since = job["since"].as_u64();
            let age = since.map(|since| Duration::from_millis(now_ms.saturating_sub(since)));
            let name = format!("{} {} {}", job["id"], job["action"], job["since"]);
            self.held.insert(name, age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_limit_has_its_verdict() {
        let none = Facts::default();
        let limits = Limits {
            memory_bytes: Some(10 << 20),
            age: Some(SECOND),
            jobs: Some(5),
            run: Some(SECOND),
            stall: Some(SECOND),
        };
        assert_eq!(judge(&limits, &none), None);
        assert_eq!(judge(&Limits::default(), &Facts { age: SECOND * 1_000, ..none }), None);
        let verdict = |facts| match judge(&limits, &facts) {
            Some(Verdict::Renew(why)) => format!("renew: {why}"),
            Some(Verdict::End(why)) => format!("end: {why}"),
            None => "none".to_owned(),
        };
        let twice = SECOND * 2;
        assert_eq!(
            verdict(Facts { memory_bytes: Some(11 << 20), ..none }),
            "renew: it uses 11 MiB of memory, more than 10"
        );
        assert_eq!(verdict(Facts { age: twice, ..none }), "renew: it is 2 s old");
        assert_eq!(verdict(Facts { done: Some(5), ..none }), "renew: it has finished 5 jobs");
        assert_eq!(verdict(Facts { longest: twice, ..none }), "end: a job ran longer than 1000 ms");
        assert_eq!(verdict(Facts { stalled: twice, ..none }), "end: no progress for 1000 ms");
    }

    #[test]
    fn progress_is_anything_that_was_finished_or_nothing_to_do() {
        let mut work = Work::default();
        let look = |held: &[&str], done, is_waited_for| Look {
            done,
            held: held.iter().map(|name| ((*name).to_owned(), None)).collect(),
            is_waited_for,
        };
        let mut see = |look: Look| {
            work.remember("t", look);
            let before = work.seen["t"].progress;
            std::thread::sleep(Duration::from_millis(2));
            before
        };
        let first = see(look(&["a"], None, false));
        assert_eq!(see(look(&["a"], None, true)), first, "it still holds the same");
        assert_eq!(see(look(&["a", "b"], None, true)), first, "to take one more is none");
        let second = see(look(&["b"], None, true));
        assert!(second > first, "one is gone");
        let third = see(look(&["b"], Some(1), true));
        assert!(third > second, "it tells so");
        assert_eq!(see(look(&["b"], Some(1), true)), third);
        assert!(see(look(&[], Some(1), false)) > third, "there is nothing to do");
        let idle = see(look(&[], Some(1), false));
        assert_eq!(see(look(&[], Some(1), true)), idle, "jobs wait and it takes none");
    }

    #[test]
    fn a_job_runs_since_it_was_first_seen_or_since_the_worker_says() {
        let mut work = Work::default();
        let held = |told| Look { held: [("a".to_owned(), told)].into(), ..Look::default() };
        work.remember("t", held(None));
        std::thread::sleep(Duration::from_millis(20));
        work.remember("t", held(None));
        assert!(work.of("t").longest >= Duration::from_millis(20));
        work.remember("t", held(Some(SECOND)));
        assert!(work.of("t").longest >= SECOND);
        assert_eq!(work.of("other"), Facts::default());
    }
}
