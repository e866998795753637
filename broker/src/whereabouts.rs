//! Where a job of some id is. Reads pages of lists and sets, changes nothing.
//!
//! Jobs move while they are looked for: one that is claimed, promoted or recovered in that moment can be missed.

use redis::{Cmd, cmd, pipe};
use tempest_protocol::{Job, JobId, Lane, Queue, Tag, WorkerId};

use crate::{Broker, Error, claim::next, look::Entry};

/// Jobs read of each run list; a worker claims at most 16 at once.
const HELD_MAX: isize = 64;
/// Run lists read in one write.
const SIDE_BY_SIDE: usize = 32;
/// Jobs read in one go from a lane, `later` or `dead`.
const PAGE: isize = 64;
/// Pages read of each: 102,400 jobs, ten times what a lane holds unless it is configured otherwise.
const PAGES_MAX: isize = 1_600;

/// A place where a job can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// In a lane: nobody has taken it.
    Waiting(Lane),
    /// Set aside: as many of its key run as may.
    SetAside {
        /// The lane it returns to.
        lane: Lane,
        /// Its key.
        key: Tag,
    },
    /// In a run list of this worker: it runs there, or was claimed together with what runs there.
    Held(WorkerId),
    /// Delayed, or to be tried again.
    Later,
    /// Given up. What is found is the member, a job with `error` and `died_at` beside its own fields.
    Dead,
}

impl Whereabouts {
    /// The lane in which it waits, or to which it returns; none: it does not wait.
    pub fn lane(&self) -> Option<Lane> {
        match self {
            Self::Waiting(lane) | Self::SetAside { lane, .. } => Some(*lane),
            Self::Held(_) | Self::Later | Self::Dead => None,
        }
    }
}

impl Broker {
    /// Where the job of this id is in a queue, and the job: first of what waits in these lanes, then what is set aside and
    /// returns to them, then what is held, then `later`, then `dead`. Of several with one id it is the newest of its
    /// place. Of each place the newest 102,400 jobs are looked at, 64 in one question.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn find(
        &self,
        queue: &Queue,
        id: &JobId,
        lanes: &[Lane],
    ) -> Result<Option<(Whereabouts, Job)>, Error> {
        for &lane in lanes {
            // From the end: workers take from the head, and what they take meanwhile moves nothing here.
            let key = self.keys().lane(queue, lane);
            if let Some(job) = self.find_in(id, |number| page_from_end(&key, number)).await? {
                return Ok(Some((Whereabouts::Waiting(lane), job)));
            }
        }
        if !lanes.is_empty()
            && let Some((key, job)) = self.find_aside(queue, id).await?
            && lanes.contains(&job.envelope.lane)
        {
            return Ok(Some((Whereabouts::SetAside { lane: job.envelope.lane, key }, job)));
        }
        let entries = self.entries(queue).await?;
        if let Some((entry, job)) = self.find_held(queue, id, &entries).await? {
            return Ok(Some((Whereabouts::Held(entry.worker.clone()), job)));
        }
        for (place, key) in
            [(Whereabouts::Later, self.keys().later(queue)), (Whereabouts::Dead, self.keys().dead(queue))]
        {
            let page = |number: isize| {
                cmd("ZRANGE").arg(&key).arg(number * PAGE).arg((number + 1) * PAGE - 1).arg("REV").take()
            };
            if let Some(job) = self.find_in(id, page).await? {
                return Ok(Some((place, job)));
            }
        }
        Ok(None)
    }

    /// The worker that holds a job of this id: it runs there, or was claimed together with what runs there. Only the run
    /// lists of workers for which `among` is true are read: one question for who is registered, one for each 32 slots.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn holder(
        &self,
        queue: &Queue,
        id: &JobId,
        among: impl Fn(&WorkerId) -> bool,
    ) -> Result<Option<WorkerId>, Error> {
        let mut entries = self.entries(queue).await?;
        entries.retain(|entry| among(&entry.worker));
        let found = self.find_held(queue, id, &entries).await?;
        Ok(found.map(|(entry, _)| entry.worker.clone()))
    }

    /// Reads the newest page of several keys in one write; more only where there is more.
    async fn find_aside(&self, queue: &Queue, id: &JobId) -> Result<Option<(Tag, Job)>, Error> {
        for tags in self.asides(queue).await?.chunks(SIDE_BY_SIDE) {
            let mut commands = pipe();
            for tag in tags {
                commands.add_command(page_from_end(&self.keys().aside(queue, tag), 0));
            }
            let mut answers = self.link().ask_all(&commands).await?.into_iter();
            for tag in tags {
                let frames: Vec<Vec<u8>> = next(&mut answers)?;
                let is_full = frames.len() >= PAGE.unsigned_abs();
                let mut found = frames.into_iter().rev().find_map(|frame| self.job_of(frame, id));
                if found.is_none() && is_full {
                    let key = self.keys().aside(queue, tag);
                    found = self.find_in(id, |number| page_from_end(&key, number + 1)).await?;
                }
                if let Some(job) = found {
                    return Ok(Some((tag.clone(), job)));
                }
            }
        }
        Ok(None)
    }

    /// Reads pages until one is not full.
    async fn find_in(&self, id: &JobId, page: impl Fn(isize) -> Cmd) -> Result<Option<Job>, Error> {
        for number in 0..PAGES_MAX {
            let frames: Vec<Vec<u8>> = self.link().ask(&page(number)).await?;
            let is_last = frames.len() < PAGE.unsigned_abs();
            let found = frames.into_iter().rev().find_map(|frame| self.job_of(frame, id));
            if found.is_some() || is_last {
                return Ok(found);
            }
        }
        Ok(None)
    }

    pub(crate) async fn find_held<'a>(
        &self,
        queue: &Queue,
        id: &JobId,
        entries: &'a [Entry],
    ) -> Result<Option<(&'a Entry, Job)>, Error> {
        for entries in entries.chunks(SIDE_BY_SIDE) {
            let mut commands = pipe();
            for entry in entries {
                let run = self.keys().run_entry(queue, &entry.name);
                commands.cmd("LRANGE").arg(run).arg(0).arg(HELD_MAX - 1);
            }
            let mut answers = self.link().ask_all(&commands).await?.into_iter();
            for entry in entries {
                let frames: Vec<Vec<u8>> = next(&mut answers)?;
                if let Some(job) = frames.into_iter().find_map(|frame| self.job_of(frame, id)) {
                    return Ok(Some((entry, job)));
                }
            }
        }
        Ok(None)
    }

    /// A frame as a job, if it is one of this id.
    pub(crate) fn job_of(&self, frame: Vec<u8>, id: &JobId) -> Option<Job> {
        let job = Job::decode(frame.into(), self.keys()).ok()?;
        (job.envelope.id.as_ref() == Some(id)).then_some(job)
    }
}

/// A page of a list, counted from its end.
fn page_from_end(key: &str, number: isize) -> Cmd {
    cmd("LRANGE").arg(key).arg(-(number + 1) * PAGE).arg(-number * PAGE - 1).take()
}
