//! What a caller does with a queue: push, take back, cancel (SPEC "Push", "Cancel").

use std::time::Duration;

use bytes::Bytes;
use redis::{cmd, pipe};
use tempest_protocol::{Job, JobId, Lane, Queue, Topic, limits};

use crate::{Broker, Error, Pushing, Whereabouts, claim::next, clock::millis};

/// What a lane may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Jobs waiting.
    pub jobs: u64,
    /// Bytes waiting, as last seen.
    pub bytes: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self { jobs: limits::LANE_JOBS_MAX, bytes: limits::LANE_BYTES_MAX }
    }
}

impl Broker {
    /// Puts a job frame at the end of its lane. Gives the depth of the lane, this job included.
    ///
    /// Errors: [`Error::QueueFull`] if the lane held as much as it may; [`Error::Down`]: nothing was sent;
    /// [`Error::Away`]: it may have been pushed. Not cancel-safe: a dropped push may have happened.
    pub async fn push(&self, queue: &Queue, lane: Lane, frame: &Bytes, caps: &Caps) -> Result<u64, Error> {
        let depth = self.push_soon(queue, lane, frame, caps).answer().await?;
        self.within_caps(queue, lane, frame, caps, depth).await
    }

    /// The same without waiting: the push leaves in one write with those of others. Nothing is taken back if the lane
    /// holds too much; that is [`Broker::within_caps`].
    pub fn push_soon(&self, queue: &Queue, lane: Lane, frame: &Bytes, caps: &Caps) -> Pushing {
        self.link().gather().push(&self.keys().lane(queue, lane), frame, caps.jobs)
    }

    /// Takes a job back that made its lane deeper than it may be. Gives the depth if there was room, or if the job is
    /// under way already.
    ///
    /// Errors: [`Error::QueueFull`]: it was taken back; those of [`Broker::take_back`].
    pub async fn within_caps(
        &self,
        queue: &Queue,
        lane: Lane,
        frame: &Bytes,
        caps: &Caps,
        depth: u64,
    ) -> Result<u64, Error> {
        if depth > caps.jobs && self.take_back(queue, lane, frame).await? {
            return Err(Error::QueueFull { queue: queue.to_string() });
        }
        Ok(depth)
    }

    /// Removes a job that no worker has claimed yet. False: it was claimed, so somebody works on it.
    pub async fn take_back(&self, queue: &Queue, lane: Lane, frame: &Bytes) -> Result<bool, Error> {
        let mut remove = cmd("LREM");
        remove.arg(self.keys().lane(queue, lane)).arg(-1).arg(frame.as_ref());
        // With the pushes, so that it cannot overtake the one it takes back.
        let removed: u64 = self.link().gather().ask(remove).await?;
        Ok(removed > 0)
    }

    /// Removes a job that was to run later. False: it is not there, so it may have been promoted.
    pub async fn take_back_later(&self, queue: &Queue, frame: &Bytes) -> Result<bool, Error> {
        let mut remove = cmd("ZREM");
        remove.arg(self.keys().later(queue)).arg(frame.as_ref());
        Ok(self.link().ask::<u64>(&remove).await? > 0)
    }

    /// Cancels a job nobody waits for any more: out of a short lane, or of those that are set aside for its key, or by
    /// telling whoever runs it.
    /// `depth` is the depth of the lane as last seen. Gives whether it was still waiting; if not, see
    /// [`Broker::tell_cancelled`].
    pub async fn cancel(
        &self,
        queue: &Queue,
        lane: Lane,
        frame: &Bytes,
        id: &JobId,
        depth: u64,
        kill_after: Option<Duration>,
    ) -> Result<bool, Error> {
        if depth < limits::CANCEL_DEPTH_MAX && self.take_back(queue, lane, frame).await? {
            return Ok(true);
        }
        if self.take_back_aside(queue, lane, frame).await? {
            return Ok(true);
        }
        self.tell_cancelled(queue, id, kill_after).await?;
        Ok(false)
    }

    /// Removes a job that was set aside for its key. False: it has none, or is not there.
    async fn take_back_aside(&self, queue: &Queue, lane: Lane, frame: &Bytes) -> Result<bool, Error> {
        let Ok(job) = Job::decode(frame.clone(), self.keys()) else { return Ok(false) };
        let key = job.envelope.background.as_ref().and_then(|said| said.key.clone());
        let Some(key) = key else { return Ok(false) };
        self.take_away(queue, &Whereabouts::SetAside { lane, key }, &job).await
    }

    /// Tells whoever runs a job that nobody waits for it any more. With `kill_after` the supervisor of the worker that
    /// still holds the job after that time is asked, in the same write, to end that worker: from 0 to 24 hours. Gives how
    /// many heard the first.
    pub async fn tell_cancelled(
        &self,
        queue: &Queue,
        id: &JobId,
        kill_after: Option<Duration>,
    ) -> Result<u64, Error> {
        self.cancelled().note(id);
        let channel = self.keys().control(queue);
        let mut commands = pipe();
        commands.cmd("PUBLISH").arg(&channel).arg(format!("cancel {id}"));
        if let Some(after) = kill_after {
            commands.cmd("PUBLISH").arg(&channel).arg(format!("kill {id} {}", millis(after)));
        }
        let mut heard = self.link().ask_all(&commands).await?.into_iter();
        next(&mut heard)
    }

    /// Says a line on the control channel of a queue. Gives how many heard it.
    pub async fn control(&self, queue: &Queue, line: &str) -> Result<u64, Error> {
        self.link().ask(cmd("PUBLISH").arg(self.keys().control(queue)).arg(line)).await
    }

    /// Makes queues known to whoever recovers and inspects.
    pub async fn announce(&self, queues: &[Queue]) -> Result<(), Error> {
        if queues.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = queues.iter().map(Queue::as_str).collect();
        self.link().ask::<u64>(cmd("SADD").arg(self.keys().queues()).arg(names)).await.map(drop)
    }

    /// Publishes a live event. Gives how many connections heard it (fronts, not browsers).
    pub async fn publish(&self, topic: &Topic, payload: &[u8]) -> Result<u64, Error> {
        self.link().ask(cmd("PUBLISH").arg(self.channel(topic)).arg(payload)).await
    }

    /// The channel of a topic.
    pub(crate) fn channel(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.settings().topic_prefix)
    }

    /// Sends a reply to the mailbox a job names. Fronts and callers only read; this is for recovery and tests.
    pub async fn reply(&self, reply_to: &str, frame: &Bytes) -> Result<(), Error> {
        let mut commands = pipe();
        commands.cmd("RPUSH").arg(reply_to).arg(frame.as_ref());
        self.link().ask_all(&commands).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }
}
