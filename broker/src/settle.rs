//! How a claimed job leaves its run list: answered, acked, given back, put off or given up (SPEC "Ack", "Failures").
//!
//! Reply first, ack second: a crash between the two gives a duplicate, never a loss. The ack removes exactly the
//! bytes that were claimed and nothing else.

use bytes::Bytes;
use redis::{Cmd, Value, cmd, pipe};
use tempest_protocol::{JobId, Lane, limits};

use crate::{
    Broker, Error,
    claim::{RunList, next, read, take},
    clock::millis,
    record,
    script::Run,
};

/// What became of a reply and the ack behind it. The two are independent: Redis may take one and refuse the other.
#[derive(Debug)]
pub struct Settled {
    /// Whether the reply is in its mailbox. A refused one is to be sent again until the deadline.
    pub reply: Result<(), Error>,
    /// Whether the ack was carried out, and if so whether the job was still in the run list.
    pub ack: Result<Acked, Error>,
}

impl Settled {
    /// Of the answers to a reply and an ack.
    fn of(answers: Vec<Result<Value, Error>>) -> Self {
        let mut answers = answers.into_iter();
        Self { reply: next::<Value>(&mut answers).map(drop), ack: next(&mut answers).map(Acked::of) }
    }
}

/// What an ack found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acked {
    /// The job; it is gone now.
    Done,
    /// Nothing: it was taken away meanwhile (recovered, or acked before). No error.
    TakenAway,
}

impl Acked {
    pub(crate) fn of(removed: u64) -> Self {
        if removed > 0 { Self::Done } else { Self::TakenAway }
    }
}

impl Broker {
    /// Sends a reply and acks its job in one write.
    ///
    /// Errors: [`Error::Down`]: nothing was sent; [`Error::Away`]: unknown, do both again. Refusals by Redis stand in
    /// the two halves of [`Settled`].
    pub async fn answer_and_ack(
        &self,
        reply_to: &str,
        reply: &Bytes,
        run: &RunList,
        frame: &Bytes,
    ) -> Result<Settled, Error> {
        let answers = self.link().gather().ask_all(Some((reply_to, reply)), [remove(run, frame)]);
        Ok(Settled::of(answers.await?))
    }

    /// The same, and takes the next job of the lane into the run list behind it, in the same write: the slot is free
    /// by then. Gives that job beside what became of the first.
    ///
    /// Errors: as for [`Broker::answer_and_ack`]; after [`Error::Away`] look into the run list.
    pub async fn answer_ack_and_take(
        &self,
        reply_to: &str,
        reply: &Bytes,
        run: &RunList,
        frame: &Bytes,
        lane: Lane,
    ) -> Result<(Settled, Result<Option<Bytes>, Error>), Error> {
        let lane = self.keys().lane(run.queue(), lane);
        let commands = [remove(run, frame), take(&lane, run)];
        let mut answers = self.link().gather().ask_all(Some((reply_to, reply)), commands).await?;
        let next = answers.pop().map_or(Ok(None), |next| Ok(read::<Option<Vec<u8>>>(next)?.map(Bytes::from)));
        Ok((Settled::of(answers), next))
    }

    /// Acks a job: removes it from its run list.
    pub async fn ack(&self, run: &RunList, frame: &Bytes) -> Result<Acked, Error> {
        self.link().ask(&remove(run, frame)).await.map(Acked::of)
    }

    /// Returns a job that was not started to the head of its lane, bytes unchanged; not an attempt. It takes the
    /// oldest job of the run list, and gives what it moved: none if the list was empty.
    pub async fn give_back(&self, run: &RunList, lane: Lane) -> Result<Option<Bytes>, Error> {
        self.give_back_from("LEFT", run, lane).await
    }

    /// The same with the newest job of a run list that holds one that runs.
    pub async fn give_back_newest(&self, run: &RunList, lane: Lane) -> Result<Option<Bytes>, Error> {
        self.give_back_from("RIGHT", run, lane).await
    }

    async fn give_back_from(&self, end: &str, run: &RunList, lane: Lane) -> Result<Option<Bytes>, Error> {
        let mut give = cmd("LMOVE");
        give.arg(run.key()).arg(self.keys().lane(run.queue(), lane)).arg(end).arg("LEFT");
        Ok(self.link().ask::<Option<Vec<u8>>>(&give).await?.map(Bytes::from))
    }

    /// Puts a failed job off: `member` (its frame with `attempt` raised) becomes due at `due_ms` in Redis time.
    pub async fn retry_later(
        &self,
        run: &RunList,
        frame: &Bytes,
        member: &Bytes,
        due_ms: u64,
    ) -> Result<Acked, Error> {
        self.exchange(run, frame, &self.keys().later(run.queue()), member, due_ms).await
    }

    /// Gives a job up: `member` is kept in `dead` for a human.
    pub async fn bury(
        &self,
        run: &RunList,
        frame: &Bytes,
        member: &Bytes,
        died_ms: u64,
    ) -> Result<Acked, Error> {
        let dead = self.keys().dead(run.queue());
        let acked = self.exchange(run, frame, &dead, member, died_ms).await?;
        self.bound(&dead).await;
        Ok(acked)
    }

    /// Keeps `dead` from growing without bound.
    pub(crate) async fn bound(&self, dead: &str) {
        let keep = isize::try_from(limits::DEAD_JOBS_MAX).unwrap_or(isize::MAX);
        let trim: Result<u64, Error> =
            self.link().ask(cmd("ZREMRANGEBYRANK").arg(dead).arg(0).arg(-keep - 1)).await;
        if let Err(error) = trim {
            tracing::debug!(%error, "dead was not trimmed; the next tick does it");
        }
    }

    /// Puts a job that was started and will not end back to the head of its lane, as `member`, in one step. With the id of a
    /// background job its record says so.
    pub async fn restart(
        &self,
        run: &RunList,
        frame: &Bytes,
        member: &Bytes,
        lane: Lane,
        id: Option<&JobId>,
    ) -> Result<Acked, Error> {
        let (keys, own) = (self.keys(), run.key());
        let (lane, dead) = (keys.lane(run.queue(), lane), keys.dead(run.queue()));
        let record = id.map(|id| keys.record(run.queue(), id));
        let age = id.map_or(String::new(), |_| millis(limits::RECORD_AGE_MAX).to_string());
        let fields = record::waiting();
        // As if it was recovered from a worker that is known to be gone.
        let mut args: Vec<&[u8]> = vec![b"1", frame, member, b"", b"", age.as_bytes(), b""];
        args.extend(fields.iter().map(String::as_bytes));
        let run = Run { keys: &[own, &lane, own, &dead, record.as_deref().unwrap_or(own), own], args: &args };
        Ok(Acked::of(self.scripts().recover.run(self, &run).await?.unsigned_abs()))
    }

    /// Out of the run list and into a sorted set, both or none. Was it taken away before, the set does not keep it;
    /// but what stands there already stays: the same exchange may have been made before, and its answer lost.
    async fn exchange(
        &self,
        run: &RunList,
        frame: &Bytes,
        set: &str,
        member: &Bytes,
        score_ms: u64,
    ) -> Result<Acked, Error> {
        let mut commands = pipe();
        commands.cmd("ZADD").arg(set).arg(score_ms).arg(member.as_ref());
        commands.add_command(remove(run, frame));
        let (added, removed): (u64, u64) = self.link().transact(&commands).await?;
        if removed == 0 && added == 1 {
            self.link().ask::<u64>(cmd("ZREM").arg(set).arg(member.as_ref())).await?;
        }
        Ok(Acked::of(removed))
    }
}

pub(crate) fn remove(run: &RunList, frame: &Bytes) -> Cmd {
    let mut command = Cmd::with_capacity(4, 16 + run.key().len() + frame.len());
    command.arg("LREM").arg(run.key()).arg(1).arg(frame.as_ref());
    command
}
