//! Removes jobs for good: out of a lane or a shelf, with all that is known of them (script `discard`), and
//! out of their groups.

use bytes::Bytes;
use tempest_protocol::{Job, Queue, Tag};

use crate::{Broker, Error, Whereabouts, claim::read, record, script::Run};

/// Jobs of one place that are to be removed; some hundred at most.
pub(crate) struct Discard<'a> {
    pub(crate) queue: &'a Queue,
    /// Where they lie.
    pub(crate) key: &'a str,
    pub(crate) place: Place<'a>,
    /// Each as it lies there; and as a job, if it is one.
    pub(crate) jobs: &'a [(&'a Bytes, Option<&'a Job>)],
}

/// What sort of place that is.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    /// `later` or `dead`.
    Shelf,
    /// A lane; its jobs are near its head.
    Head,
    /// A lane; its jobs are near its end.
    End,
    /// Jobs of this key that are set aside, near the head.
    Aside(&'a Tag),
    /// The same, wherever they lie.
    AsideAnywhere(&'a Tag),
}

impl Broker {
    /// Removes jobs, then counts them as over in their groups. Says of each whether it was there.
    ///
    /// Errors: Redis is away or refuses; they may have been removed and not counted.
    pub(crate) async fn run_discard(&self, discard: &Discard<'_>) -> Result<Vec<bool>, Error> {
        if discard.jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (from, asides) = (discard.key.to_owned(), self.keys().asides(discard.queue));
        let (side, key) = match discard.place {
            Place::Shelf => ("", ""),
            Place::Head => ("1", ""),
            Place::End => ("-1", ""),
            Place::Aside(key) => ("1", key.as_str()),
            Place::AsideAnywhere(key) => ("-1", key.as_str()),
        };
        let mut keys = vec![from.clone(), if key.is_empty() { from } else { asides }];
        let mut args: Vec<&[u8]> = vec![side.as_bytes(), key.as_bytes()];
        for (entry, job) in discard.jobs {
            keys.extend(self.keys_of(discard, *job));
            args.extend([&entry[..], job.and_then(lets_go).map_or(&b""[..], |(id, _)| id.as_bytes())]);
        }
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let removed = self.scripts().discard.value(self, &Run { keys: &keys, args: &args }).await?;
        let removed: Vec<_> =
            read::<Vec<u64>>(Ok(removed))?.into_iter().map(|removed| removed == 1).collect();
        let gone = discard.jobs.iter().zip(&removed).filter(|(_, is_removed)| **is_removed);
        self.leave_groups(gone.filter_map(|((_, job), _)| *job)).await?;
        Ok(removed)
    }

    /// Removes a job that waits or is to run later from where it was seen, with all that is known of it. False: it is there
    /// no more, or runs, or is dead.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn take_away(&self, queue: &Queue, seen: &Whereabouts, job: &Job) -> Result<bool, Error> {
        let (key, place) = match seen {
            Whereabouts::Waiting(lane) => (self.keys().lane(queue, *lane), Place::End),
            Whereabouts::SetAside { key, .. } => (self.keys().aside(queue, key), Place::AsideAnywhere(key)),
            Whereabouts::Later => (self.keys().later(queue), Place::Shelf),
            Whereabouts::Held(_) | Whereabouts::Dead => return Ok(false),
        };
        let jobs = [(job.frame(), Some(job))];
        let removed = self.run_discard(&Discard { queue, key: &key, place, jobs: &jobs }).await?;
        Ok(removed == [true])
    }

    /// Its record, log, result and unique key; the place itself for what it has not.
    fn keys_of(&self, discard: &Discard<'_>, job: Option<&Job>) -> [String; 4] {
        let none = || discard.key.to_owned();
        let id = job.and_then(|job| job.envelope.id.as_ref());
        let of_job = id.map(|id| record::keys(self.keys(), discard.queue, id));
        let [record, log, result] = of_job.unwrap_or_else(|| [none(), none(), none()]);
        let unique = job.and_then(lets_go).map(|(_, key)| self.keys().unique(discard.queue, key));
        [record, log, result, unique.unwrap_or_else(none)]
    }
}

/// What a job lets go that ends: its id, and its unique key. One that holds it for a time does not.
fn lets_go(job: &Job) -> Option<(&str, &Tag)> {
    Some((job.envelope.id.as_ref()?.as_str(), job.envelope.unique_at_end()?))
}
