//! Where a job of some id is. Reads pages of lists, changes nothing.

use redis::pipe;
use tempest_protocol::{Job, JobId, Queue, WorkerId};

use crate::{Broker, Error, claim::next, look::Entry};

/// Jobs read of each run list; a worker claims at most 16 at once.
const HELD_MAX: isize = 64;
/// Run lists read in one write.
const SIDE_BY_SIDE: usize = 32;

impl Broker {
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
        for entries in entries.chunks(SIDE_BY_SIDE) {
            if let Some(entry) = self.holder_of(queue, id, entries).await? {
                return Ok(Some(entry.worker.clone()));
            }
        }
        Ok(None)
    }

    async fn holder_of<'a>(
        &self,
        queue: &Queue,
        id: &JobId,
        entries: &'a [Entry],
    ) -> Result<Option<&'a Entry>, Error> {
        let mut commands = pipe();
        for entry in entries {
            commands.cmd("LRANGE").arg(self.keys().run_entry(queue, &entry.name)).arg(0).arg(HELD_MAX - 1);
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        for entry in entries {
            let frames: Vec<Vec<u8>> = next(&mut answers)?;
            if frames.into_iter().any(|frame| self.is_of(frame, id)) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether a frame is a job of this id.
    fn is_of(&self, frame: Vec<u8>, id: &JobId) -> bool {
        Job::decode(frame.into(), self.keys()).is_ok_and(|job| job.envelope.id.as_ref() == Some(id))
    }
}
