//! Runs jobs of a shelf now, or removes them: in chunks, so that nobody else waits for a great many of them.

use redis::{Pipeline, pipe};
use tempest_protocol::{Job, Queue, dead, limits};

use super::{Filter, Shelf, Shelved, Walk};
use crate::{
    Broker, Error,
    claim::read,
    clock::millis,
    discard::{Discard, Place},
    script::Run,
};

/// What became of jobs that were to be run or removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// It was done.
    pub done: u64,
    /// Somebody else was quicker: they lie there no more.
    pub gone: u64,
    /// They are no jobs, so that nobody can run them; left where they are.
    pub no_jobs: u64,
}

impl Changed {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.done + self.gone + self.no_jobs
    }
}

impl std::ops::AddAssign for Changed {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.gone += other.gone;
        self.no_jobs += other.no_jobs;
    }
}

impl Broker {
    /// Moves jobs of a shelf to the end of their lanes. The attempts of dead ones begin anew, and a deadline that has
    /// passed is theirs no more; delayed ones stay as they are. A unique key that was let go is not taken again.
    ///
    /// Errors: Redis is away or refuses; those before it are moved.
    pub async fn revive(&self, shelf: Shelf, entries: &[Shelved]) -> Result<Changed, Error> {
        let now_ms = self.now_ms();
        let job = |entry: &Shelved| match shelf {
            Shelf::Dead => dead::revived(&entry.entry, now_ms, self.keys()).ok(),
            Shelf::Later => entry.job.clone(),
        };
        let jobs = entries.iter().filter_map(|entry| Some((entry, job(entry)?)));
        let mut commands = pipe();
        jobs.for_each(|(entry, job)| self.add_revival(&mut commands, shelf, entry, &job));
        let moved = self.link().ask_all(&commands).await?;
        let mut changed = Changed { no_jobs: number(entries.len() - commands.len()), ..Changed::default() };
        for answer in moved {
            match read::<i64>(answer)? {
                1 => changed.done += 1,
                _ => changed.gone += 1,
            }
        }
        Ok(changed)
    }

    /// Removes jobs of a shelf with their records, logs and results.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn discard(&self, shelf: Shelf, entries: &[Shelved]) -> Result<Changed, Error> {
        let mut changed = Changed::default();
        for entries in entries.chunk_by(|one, other| one.queue == other.queue) {
            let Some(Shelved { queue, .. }) = entries.first() else { continue };
            let key = shelf.key(self, queue);
            let jobs: Vec<_> = entries.iter().map(|entry| (&entry.entry, entry.job.as_ref())).collect();
            let removed =
                self.run_discard(&Discard { queue, key: &key, place: Place::Shelf, jobs: &jobs }).await?;
            let done = removed.iter().filter(|is_removed| **is_removed).count();
            changed += Changed { done: number(done), gone: number(jobs.len() - done), no_jobs: 0 };
        }
        Ok(changed)
    }

    /// Moves all jobs of a shelf that a filter means to the end of their lanes, 100 with one write; else as
    /// [`Broker::revive`].
    ///
    /// Errors: Redis is away or refuses; those before it are moved.
    pub async fn revive_all(&self, queue: &Queue, shelf: Shelf, filter: &Filter) -> Result<Changed, Error> {
        let (mut walk, mut changed) = (Walk::new(self, queue, shelf, filter), Changed::default());
        while let Some(mut page) = walk.next().await? {
            page.retain(|entry| filter.means(entry));
            changed += self.revive(shelf, &page).await?;
            page.retain(|entry| entry.job.is_some());
            walk.gone(&page);
        }
        Ok(changed)
    }

    /// Removes all jobs of a shelf that a filter means, 100 with one write; else as [`Broker::discard`].
    ///
    /// Errors: Redis is away or refuses; those before it are removed.
    pub async fn discard_all(&self, queue: &Queue, shelf: Shelf, filter: &Filter) -> Result<Changed, Error> {
        let (mut walk, mut changed) = (Walk::new(self, queue, shelf, filter), Changed::default());
        while let Some(mut page) = walk.next().await? {
            page.retain(|entry| filter.means(entry));
            changed += self.discard(shelf, &page).await?;
            walk.gone(&page);
        }
        Ok(changed)
    }

    /// The first brings the script along for all behind it.
    fn add_revival(&self, commands: &mut Pipeline, shelf: Shelf, entry: &Shelved, job: &Job) {
        let (queue, envelope) = (&entry.queue, &job.envelope);
        let (from, lane) = (shelf.key(self, queue), self.keys().lane(queue, envelope.lane));
        let of_job =
            envelope.id.as_ref().map(|id| [self.keys().record(queue, id), self.keys().result(queue, id)]);
        let [record, result] = of_job.unwrap_or_else(|| [from.clone(), from.clone()]);
        let age = millis(limits::RECORD_AGE_MAX).to_string();
        let queued_at = envelope.queued_at_ms.unwrap_or_else(|| self.now_ms()).to_string();
        let about =
            ["action", envelope.action.as_str(), "lane", envelope.lane.as_str(), "queued_at", &queued_at];
        let mut args: Vec<&[u8]> = vec![&entry.entry, job.frame(), age.as_bytes()];
        args.extend(about.iter().map(|word| word.as_bytes()));
        let run = Run { keys: &[&from, &lane, &record, &result], args: &args };
        let script = &self.scripts().revive;
        commands.add_command(if commands.is_empty() { script.long(&run) } else { script.short(&run) });
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
