//! Claims from queues that have limits, and jobs that exclude each other by a key (SPEC "Background jobs", Limits).
//!
//! What the limits have given out is counted in sets of slots. Nobody takes a slot out at the end of its job: one whose
//! run list is empty counts no more. It is taken out when it asks for its next job, or swept out when others want a place.

use std::time::Duration;

use bytes::Bytes;
use redis::{Value, cmd};
use tempest_protocol::{Job, JobId, Keys, Lane, Queue, Tag, limits};

use crate::{
    Broker, Error,
    claim::{RunList, read},
    clock::millis,
    script::Run,
};

/// Keys of a queue that are looked after in one go.
const KEYS_MAX: usize = 100;

/// What a claim under limits came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Took {
    /// Jobs, in the order of the run lists they lie in now; none: nothing waits.
    Jobs(Vec<Bytes>),
    /// The rate is used up: not before so long.
    Wait(Duration),
    /// As many jobs run as may.
    Full,
    /// The queue is paused.
    Paused,
}

/// Whether a job of a key may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It may.
    Runs,
    /// It was set aside: enough of its key run.
    SetAside,
    /// It was taken away meanwhile.
    TakenAway,
}

impl Broker {
    /// Claims a job for each of these run lists of one queue, as far as the lane has any and the limits of the queue allow.
    /// Does not block.
    ///
    /// Errors: any; some jobs may have been claimed all the same, so look into the run lists.
    pub async fn take_within_limits(&self, lane: Lane, runs: &[RunList]) -> Result<Took, Error> {
        let Some(first) = runs.first() else { return Ok(Took::Jobs(Vec::new())) };
        if let Some(took) = self.take_once(lane, runs).await? {
            return Ok(took);
        }
        let took = match self.sweep(first.queue(), &self.keys().running(first.queue())).await? {
            true => self.take_once(lane, runs).await?,
            false => None,
        };
        Ok(took.unwrap_or(Took::Full))
    }

    /// None: as many jobs run as may, and it is ours to look whether they do: of all who ask, one each 100 ms.
    async fn take_once(&self, lane: Lane, runs: &[RunList]) -> Result<Option<Took>, Error> {
        let (keys, queue) = (self.keys(), runs[0].queue());
        let (lane, limits) = (keys.lane(queue, lane), keys.limits(queue));
        let (running, rate, swept) = (keys.running(queue), keys.rate(queue), keys.swept(queue));
        let mut names = vec![lane.as_str(), &limits, &running, &rate, &swept];
        names.extend(runs.iter().map(RunList::key));
        let slots: Vec<_> = runs.iter().map(|run| run.slot().as_bytes()).collect();
        let answer = self.scripts().take.value(self, &Run { keys: &names, args: &slots }).await?;
        let Value::Array(mut answer) = answer else { return Err(Error::Away("take gave no list".into())) };
        let jobs = answer.split_off(1);
        Ok(Some(match read::<i64>(Ok(answer.pop().unwrap_or(Value::Nil)))? {
            0 => {
                let jobs = jobs.into_iter().map(|job| read::<Vec<u8>>(Ok(job)).map(Bytes::from));
                Took::Jobs(jobs.collect::<Result<_, _>>()?)
            }
            -1 => Took::Paused,
            -2 => Took::Full,
            -3 => return Ok(None),
            wait_ms => Took::Wait(Duration::from_millis(wait_ms.unsigned_abs())),
        }))
    }

    /// Sweeps slots out of a set that hold no job any more. Gives whether there were any.
    async fn sweep(&self, queue: &Queue, set: &str) -> Result<bool, Error> {
        let slots = self.slots_in(set).await?;
        let runs: Vec<_> = slots.iter().map(|slot| self.keys().run_entry(queue, slot)).collect();
        let names: Vec<_> = std::iter::once(set).chain(runs.iter().map(String::as_str)).collect();
        let args: Vec<_> = slots.iter().map(String::as_bytes).collect();
        let left = self.scripts().sweep.run(self, &Run { keys: &names, args: &args }).await?;
        Ok(usize::try_from(left).is_ok_and(|left| left < slots.len()))
    }

    async fn slots_in(&self, set: &str) -> Result<Vec<String>, Error> {
        let slots: Vec<String> = self.link().ask(cmd("SMEMBERS").arg(set)).await?;
        Ok(slots.into_iter().filter(|slot| Keys::worker_of(slot).is_some()).collect())
    }

    /// Asks whether a claimed job of a key may run; if not it is set aside, in the same step. With the id of a background
    /// job its record says for which key it waits then.
    ///
    /// Errors: [`Error::Away`]: unknown, look into the run list; Redis is away or refuses.
    pub async fn admit(
        &self,
        run: &RunList,
        frame: &Bytes,
        key: &Tag,
        id: Option<&JobId>,
    ) -> Result<Admitted, Error> {
        let (keys, queue) = (self.keys(), run.queue());
        let (record, age) = (id.map(|id| keys.record(queue, id)), millis(limits::RECORD_AGE_MAX).to_string());
        let (set, aside) = (keys.key(queue, key), keys.aside(queue, key));
        let (asides, limits) = (keys.asides(queue), keys.limits(queue));
        let slots = self.slots_in(&set).await?;
        let runs: Vec<_> = slots.iter().map(|slot| keys.run_entry(queue, slot)).collect();
        let mut names = vec![run.key(), &set, &aside, &asides, &limits];
        names.push(record.as_deref().unwrap_or(run.key()));
        names.extend(runs.iter().map(String::as_str));
        let mut args: Vec<&[u8]> =
            vec![run.slot().as_bytes(), frame, key.as_str().as_bytes(), age.as_bytes()];
        args.extend(slots.iter().map(String::as_bytes));
        Ok(match self.scripts().admit.run(self, &Run { keys: &names, args: &args }).await? {
            1 => Admitted::Runs,
            0 => Admitted::SetAside,
            _ => Admitted::TakenAway,
        })
    }

    /// A slot runs a job of this key no more: returns one that was set aside to its lane. Without a slot it does that only
    /// if fewer of the key run than may. Gives whether there was one.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn release(&self, queue: &Queue, key: &Tag, ended: Option<&RunList>) -> Result<bool, Error> {
        let keys = self.keys();
        let (set, aside) = (keys.key(queue, key), keys.aside(queue, key));
        let (asides, limits) = (keys.asides(queue), keys.limits(queue));
        let (mut slot, mut seen) = (ended.map_or("", RunList::slot), None);
        loop {
            let first: Option<Vec<u8>> = self.link().ask(cmd("LINDEX").arg(&aside).arg(0)).await?;
            // One may have been set aside since the last look, while the slot still stood there.
            if seen.as_ref() == Some(&first) {
                return Ok(false);
            }
            let frame = first.clone().unwrap_or_default();
            let job = Job::decode(Bytes::from(frame.clone()), keys);
            let lane = keys.lane(queue, job.map(|job| job.envelope.lane).unwrap_or_default());
            let run = Run {
                keys: &[&set, &aside, &asides, &lane, &limits],
                args: &[slot.as_bytes(), &frame, key.as_str().as_bytes()],
            };
            if self.scripts().release.run(self, &run).await? == 1 {
                return Ok(true);
            }
            (slot, seen) = ("", Some(first));
        }
    }

    /// Returns what was set aside for keys of which nothing runs any more: their workers died. Gives how many jobs.
    ///
    /// Errors: Redis is away or refuses; the last one, all keys are tried nevertheless.
    pub(crate) async fn release_forgotten(&self, queue: &Queue) -> Result<u64, Error> {
        // A few each time: with a great many keys it is each one's turn all the same.
        let mut some = cmd("SRANDMEMBER");
        some.arg(self.keys().asides(queue)).arg(KEYS_MAX);
        let names: Vec<String> = self.link().ask(&some).await?;
        let mut released = 0;
        let mut wrong = Ok(());
        for key in names.into_iter().filter_map(|name| Tag::new(name).ok()) {
            match self.release_if_forgotten(queue, &key).await {
                Ok(is_released) => released += u64::from(is_released),
                // One key harms no other.
                Err(error) => wrong = Err(error),
            }
        }
        wrong.map(|()| released)
    }

    async fn release_if_forgotten(&self, queue: &Queue, key: &Tag) -> Result<bool, Error> {
        self.sweep(queue, &self.keys().key(queue, key)).await?;
        self.release(queue, key, None).await
    }
}
