//! How a worker is known to live: its slots stand in `workers`, its lease is renewed each second (SPEC "Leases").
//!
//! A beat is one write that repeats everything, so whatever Redis forgot (failover, FLUSHALL) is there again within
//! a second. Nothing here decides that somebody is dead; that is recovery. A worker that rests beats more rarely, or leaves
//! its lease to its supervisor ([`Rest`]).

use std::{
    collections::BTreeSet,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Pipeline, pipe};
use serde_json::{Map, Value};
use tempest_protocol::{Keys, Queue, WorkerId, limits};
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{Broker, Error, Rest, clock::millis, rest};

/// What is in trouble while beats are not confirmed.
const PART: &str = "beats";

/// What Redis has confirmed of a worker's beats.
#[derive(Clone, Copy, Debug)]
pub struct Beats {
    /// When the last confirmed beat was sent: the lease lasts at least [`limits::LEASE`] from here.
    pub sent: Instant,
    /// How many beats were confirmed.
    pub count: u64,
    /// How often more than a lease lay between two of them. A claim that was read when this had risen since it was
    /// sent must not be started: others may hold this worker for dead.
    pub lapses: u64,
}

/// A worker's registration and its beats. Dropping it stops the beats and leaves the registration to recovery; see
/// [`Lease::leave`] for a clean end.
pub struct Lease {
    shared: Arc<Shared>,
    beating: CancellationToken,
}

/// A worker as it stands in Redis: who it is, and its queues with the number of slots in each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The worker.
    pub worker: WorkerId,
    /// Its queues and how many run lists it has in each.
    pub places: Vec<(Queue, usize)>,
}

/// What the worker says of itself.
struct Said {
    about: Value,
    /// What the last confirmed beat said; null if nothing is sure.
    confirmed: Value,
}

/// What changes between two beats.
type Fields = dyn Fn() -> Map<String, Value> + Send + Sync;

struct Shared {
    broker: Broker,
    registered: Registered,
    said: Mutex<Said>,
    fields: OnceLock<(Rest, Box<Fields>)>,
    /// The last confirmed beat said that the worker rests.
    rests: AtomicBool,
    woken: Notify,
    beats: watch::Sender<Beats>,
}

impl Broker {
    /// Registers a worker with `slots` run lists in each queue and begins to beat. The first beat is answered before
    /// this returns. `about` is the lease's value: what the worker says of itself.
    ///
    /// Errors: those of the first beat. Later ones are tried again for ever.
    pub async fn lease(
        &self,
        worker: WorkerId,
        places: Vec<(Queue, usize)>,
        about: &Value,
    ) -> Result<Lease, Error> {
        let beats = Beats { sent: Instant::now(), count: 0, lapses: 0 };
        let shared = Arc::new(Shared {
            broker: self.clone(),
            registered: Registered { worker, places },
            said: Mutex::new(Said { about: about.clone(), confirmed: Value::Null }),
            fields: OnceLock::new(),
            rests: AtomicBool::new(false),
            woken: Notify::new(),
            beats: watch::Sender::new(beats),
        });
        shared.beat().await?;
        let beating = CancellationToken::new();
        let (task, stop) = (shared.clone(), beating.clone());
        self.spawn(async move {
            stop.run_until_cancelled(task.beats()).await;
        });
        Ok(Lease { shared, beating })
    }
}

impl Lease {
    /// The worker it is for.
    pub fn worker(&self) -> &WorkerId {
        &self.shared.registered.worker
    }

    /// What Redis has confirmed so far. Changes with each beat.
    pub fn beats(&self) -> watch::Receiver<Beats> {
        self.shared.beats.subscribe()
    }

    /// Whether a beat that was sent less than `age` ago (monotonic clock) was confirmed.
    pub fn confirmed_within(&self, age: Duration) -> bool {
        self.shared.beats.borrow().sent.elapsed() < age
    }

    /// How often the lease may have run out so far; see [`Beats::lapses`].
    pub fn lapses(&self) -> u64 {
        self.shared.beats.borrow().lapses
    }

    /// Beats once, out of turn.
    ///
    /// Errors: it was refused, or the connection is down.
    pub async fn beat_now(&self) -> Result<(), Error> {
        self.shared.beat().await
    }

    /// From now on each beat also says these fields of what the worker says of itself. The first call counts. While they
    /// say `"resting": true` the worker rests.
    pub fn tell(&self, rest: Rest, fields: impl Fn() -> Map<String, Value> + Send + Sync + 'static) {
        // A second one would be a mistake of the caller that harms nobody.
        self.shared.fields.set((rest, Box::new(fields))).ok();
    }

    /// There is something to do again: if the last beat said that the worker rests there is another one now.
    pub fn wake(&self) {
        if self.shared.rests.load(Ordering::Relaxed) {
            self.shared.woken.notify_one();
        }
    }

    /// Changes what the worker says of itself; beats once.
    ///
    /// Errors: the beat failed. The next one carries the new text all the same.
    pub async fn set_about(&self, about: &Value) -> Result<(), Error> {
        self.shared.said.lock().await.about = about.clone();
        self.shared.beat().await
    }

    /// Stops beating, takes the slots out of `workers` and deletes the lease. Call it when the run lists are empty:
    /// nobody looks into them afterwards but the hourly sweep.
    pub async fn leave(self) -> Result<(), Error> {
        self.beating.cancel();
        let _last = self.shared.said.lock().await; // a beat under way would register it again
        self.shared.broker.unregister(&self.shared.registered).await
    }
}

impl Registered {
    fn entries(&self, slots: usize) -> Vec<String> {
        (0..slots).map(|slot| Keys::entry(&self.worker, slot)).collect()
    }

    /// Adds a beat to a write: registration and lease. Whoever beats says the queues once for all.
    fn beat(&self, keys: &Keys, about: &str, lasts: Duration, commands: &mut Pipeline) {
        for (queue, slots) in &self.places {
            commands.cmd("SADD").arg(keys.workers(queue)).arg(self.entries(*slots));
            let lease = keys.lease(queue, &self.worker);
            commands.cmd("SET").arg(lease).arg(about).arg("PX").arg(millis(lasts));
        }
    }
}

impl Broker {
    /// Beats once for several workers, in one write; each with what it says of itself.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn beat_for(&self, workers: &[(Registered, Value)]) -> Result<(), Error> {
        let mut commands = pipe();
        let queues: BTreeSet<_> =
            workers.iter().flat_map(|(worker, _)| &worker.places).map(|(queue, _)| queue.as_str()).collect();
        if queues.is_empty() {
            return Ok(());
        }
        commands.cmd("SADD").arg(self.keys().queues()).arg(queues);
        for (worker, about) in workers {
            worker.beat(self.keys(), &about.to_string(), limits::LEASE, &mut commands);
        }
        self.link().do_all(&commands).await
    }

    /// Takes the slots of a worker out of `workers` and deletes its lease. Call it when its run lists are empty.
    ///
    /// Errors: Redis is away or refuses.
    async fn unregister(&self, worker: &Registered) -> Result<(), Error> {
        let mut commands = pipe();
        for (queue, slots) in &worker.places {
            commands.cmd("SREM").arg(self.keys().workers(queue)).arg(worker.entries(*slots));
            commands.cmd("DEL").arg(self.keys().lease(queue, &worker.worker));
        }
        self.link().do_all(&commands).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.beating.cancel();
    }
}

impl Shared {
    /// What the worker says of itself at this moment.
    fn now(&self, about: &Value) -> Value {
        match (about, self.fields.get()) {
            (Value::Object(fields), Some((_, more))) => {
                let mut fields = fields.clone();
                fields.extend(more());
                Value::Object(fields)
            }
            _ => about.clone(),
        }
    }

    fn beat_of(&self, about: &Value) -> Pipeline {
        let keys = self.broker.keys();
        let mut commands = pipe();
        let queues: Vec<_> = self.registered.places.iter().map(|(queue, _)| queue.as_str()).collect();
        commands.cmd("SADD").arg(keys.queues()).arg(queues);
        let lasts = if self.is_slow(about) { limits::LEASE_IDLE } else { limits::LEASE };
        self.registered.beat(keys, &about.to_string(), lasts, &mut commands);
        commands
    }

    /// One beat at a time; the text is locked for as long as it lasts.
    async fn beat(&self) -> Result<(), Error> {
        let mut said = self.said.lock().await;
        let sent = Instant::now();
        let now = self.now(&said.about);
        said.confirmed = Value::Null;
        self.broker.link().do_all(&self.beat_of(&now)).await?;
        self.rests.store(rest::rests(&now), Ordering::Relaxed);
        said.confirmed = now;
        self.beats.send_modify(|beats| {
            if beats.sent.elapsed() > limits::LEASE && beats.count > 0 {
                beats.lapses += 1;
            }
            (beats.sent, beats.count) = (sent, beats.count + 1);
        });
        Ok(())
    }

    async fn beats(&self) {
        let faults = &self.broker.stats().faults;
        loop {
            if !self.pause().await {
                continue;
            }
            let mut failures = 0;
            while let Err(error) = self.beat_when_up().await {
                faults.failed(PART, &error);
                failures += 1;
                let pause = match error {
                    Error::Down | Error::Away(_) => Duration::ZERO, // the connection itself backs off
                    refused => refused.trouble().pause(failures).min(limits::BEAT),
                };
                tokio::time::sleep(pause).await;
            }
            faults.well(PART);
        }
    }

    /// Waits for the next beat, as long as the last one lasts. Gives whether there is something to say.
    async fn pause(&self) -> bool {
        let slow = self.is_slow(&self.said.lock().await.confirmed);
        let pause = tokio::time::sleep(if slow { limits::BEAT_IDLE } else { limits::BEAT });
        tokio::select! {
            () = pause => {}
            () = self.woken.notified() => return true,
        }
        let said = self.said.lock().await;
        let is_kept = self.fields.get().is_some_and(|(rest, _)| *rest == Rest::Kept);
        !(is_kept && rest::rests(&said.confirmed) && self.now(&said.about) == said.confirmed)
    }

    /// Whether a worker that says this beats more rarely.
    fn is_slow(&self, about: &Value) -> bool {
        rest::rests(about) && self.fields.get().is_some_and(|(rest, _)| *rest == Rest::Slow)
    }

    async fn beat_when_up(&self) -> Result<(), Error> {
        self.broker.up().await;
        self.beat().await
    }
}
