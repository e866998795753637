//! The place of one child: start it, watch it, and start the next when it has died or when somebody wants a new one.

mod done;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use tempest_broker::{Broker, Registered};
use tempest_protocol::{JobId, WorkerId};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    Line, Options, Origin, Phase, Report, WorkerSpec,
    child::{Birth, Child, Death},
    machine::{self, OomKills},
    spawner::Spawner,
    view::{ChildState, LastDeath, Pulse, SeatId, Seen, Views},
};
use done::Done;

/// How long a child that is to take another's place may take to have its leases. One that still runs then is believed
/// to work without.
const COME_UP: Duration = Duration::from_secs(5);
/// A child whose lease the supervisor holds says nothing of itself: it works if it still runs after this time.
const COME_UP_BEATEN: Duration = Duration::from_secs(1);
/// How often its leases are looked for.
const LOOK: Duration = Duration::from_millis(50);

/// What all seats of a supervisor share.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) options: Options,
    pub(crate) broker: Broker,
    pub(crate) spawner: Arc<Spawner>,
    pub(crate) output: mpsc::Sender<Line>,
    pub(crate) views: Views,
    pub(crate) oom_kills: Arc<OomKills>,
}

/// What somebody wants of a seat.
pub(crate) enum Wish {
    /// Another child, of this kind from now on. What became of it is told.
    Replace { spec: Arc<WorkerSpec>, told: oneshot::Sender<Result<(), String>> },
    /// Another child of the same kind in the place of the one with this tag, because that has reached a limit.
    Renew { tag: String, why: String },
    /// The child with this tag is ended, another one started at once.
    End { tag: String, cause: String, cancelled: Vec<JobId> },
}

pub(crate) struct Seat {
    ground: Ground,
    spec: Arc<WorkerSpec>,
    id: SeatId,
    /// `<name>.<number>`
    label: String,
    number: usize,
    starts: u64,
    wishes: mpsc::UnboundedReceiver<Wish>,
    retired: CancellationToken,
    /// Who waits for a child that works.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

/// A child and the tag in its worker ids.
struct Started {
    child: Child,
    tag: String,
    pulse: Option<Pulse>,
}

/// Why a seat has no child any more.
enum Ended {
    /// It was asked to have none.
    Retired,
    /// Its child was ended; the next one is due at once.
    AtOnce,
    /// What went wrong.
    Failed(String),
}

/// What happens to a child.
enum Event {
    Died(Death),
    Wish(Wish),
    Retired,
}

impl Seat {
    /// A seat without a child. Gives how to tell it something.
    pub(crate) fn new(
        ground: Ground,
        spec: Arc<WorkerSpec>,
        number: usize,
        retired: CancellationToken,
    ) -> (Self, mpsc::UnboundedSender<Wish>) {
        let (sender, wishes) = mpsc::unbounded_channel();
        let state = ChildState {
            name: spec.name.clone(),
            number,
            phase: Phase::Waiting,
            since_ms: ground.broker.now_ms(),
            pid: None,
            tag: None,
            memory_bytes: None,
            restarts: 0,
            last_death: None,
        };
        let seen = Seen { state, spec: spec.clone(), started: Instant::now(), wishes: sender.clone() };
        let (id, label) = (SeatId::new(), format!("{}.{number}", spec.name));
        ground.views.seats().insert(id, seen);
        let seat = Self { ground, spec, id, label, number, starts: 0, wishes, retired, waiting: Vec::new() };
        (seat, sender)
    }

    /// Keeps the seat taken until it is retired.
    pub(crate) async fn run(mut self) -> Report {
        let mut done = Done::default();
        let mut failures = 0;
        while !self.retired.is_cancelled() {
            let begun = Instant::now();
            let ended = match self.start(&mut done).await {
                Ok(child) => self.live(child, &mut done).await,
                Err(trouble) => Ended::Failed(format!("cannot start: {trouble}")),
            };
            let trouble = match ended {
                Ended::Retired => break,
                Ended::AtOnce => continue,
                Ended::Failed(trouble) => trouble,
            };
            self.answer(&Err(trouble.clone()));
            failures = if begun.elapsed() >= self.ground.options.settled { 1 } else { failures + 1 };
            if self.pause(&trouble, failures).await {
                failures = 0;
            }
        }
        self.ground.views.seats().remove(&self.id);
        done.finish().await
    }

    /// Waits before the next start. Gives whether somebody did not want to wait.
    async fn pause(&mut self, trouble: &str, failures: u32) -> bool {
        let Options { crashes_max, crash_pause, backoff, .. } = self.ground.options;
        let loops = crashes_max > 0 && failures >= crashes_max;
        let pause = if loops {
            crash_pause.mul_f64(0.75 + fastrand::f64() / 2.0)
        } else {
            backoff.bound(failures).mul_f64(fastrand::f64())
        };
        self.show(|state| state.phase = if loops { Phase::CrashLoop } else { Phase::Waiting });
        if loops {
            error!(worker = self.label, failures, trouble, "crash loop: starting it again only now and then");
            let seconds = pause.as_secs();
            self.note(format!("{trouble}; crash loop: {failures} in a row, starting again in {seconds} s"));
        } else {
            self.note(format!("{trouble}; starting again in {} ms", pause.as_millis()));
        }
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = self.retired.cancelled() => return false,
                () = &mut over => return false,
                Some(wish) = self.wishes.recv() => if self.wants_another(wish, None) { return true },
            }
        }
    }

    /// Takes a wish into account. Gives whether it asks for another child than the one with this tag.
    fn wants_another(&mut self, wish: Wish, now: Option<&str>) -> bool {
        match wish {
            Wish::Replace { spec, told } => {
                self.spec = spec;
                self.waiting.push(told);
                true
            }
            Wish::Renew { tag, why } if now == Some(&tag) => {
                self.note(format!("{why}; starting the next"));
                true
            }
            Wish::Renew { .. } | Wish::End { .. } => false,
        }
    }

    async fn start(&mut self, done: &mut Done) -> Result<Started, String> {
        let tag = new_tag();
        let registered = self.spec.is_beaten_for.then(|| registered(&self.spec, self.number, &tag));
        let registered = registered.transpose()?;
        let pulse = match &registered {
            Some(registered) => {
                let pulse = self.ground.views.pulse(&tag, registered.clone());
                let about = json!({"state": "running"});
                // One that fails is repeated within a second.
                self.ground.broker.beat_for(&[(registered.clone(), about)]).await.ok();
                Some(pulse)
            }
            None => None,
        };
        let child = Child::start(Birth {
            spec: &self.spec,
            label: &self.label,
            tag: &tag,
            registered: registered.as_ref().map(|registered| registered.worker.as_str()),
            settings: self.ground.broker.settings(),
            spawner: &self.ground.spawner,
            output: &self.ground.output,
            oom_kills: &self.ground.oom_kills,
        });
        let child = child.await?;
        pulse.iter().for_each(|pulse| pulse.of(child.id()));
        done.report.started += 1;
        self.note(format!("started (pid {})", child.id().unwrap_or_default()));
        Ok(Started { child, tag, pulse })
    }

    /// The seat's child is this one from now on.
    fn present(&mut self, now: &Started) {
        self.starts += 1;
        let (spec, restarts) = (self.spec.clone(), self.starts - 1);
        if let Some(seen) = self.ground.views.seats().get_mut(&self.id) {
            (seen.spec, seen.started) = (spec, Instant::now());
            let state = &mut seen.state;
            (state.phase, state.since_ms) = (Phase::Running, self.ground.broker.now_ms());
            (state.pid, state.tag) = (now.child.id(), Some(now.tag.clone()));
            (state.restarts, state.memory_bytes) = (restarts, None);
        }
    }

    fn show(&self, change: impl FnOnce(&mut ChildState)) {
        let mut seats = self.ground.views.seats();
        if let Some(seen) = seats.get_mut(&self.id) {
            change(&mut seen.state);
            seen.state.since_ms = self.ground.broker.now_ms();
        }
    }

    /// Watches a child, and those that take its place, to the end.
    async fn live(&mut self, mut now: Started, done: &mut Done) -> Ended {
        if self.waiting.is_empty() {
            self.present(&now);
        } else {
            now = match self.come_up_alone(now, done).await {
                Ok(works) => works,
                Err(ended) => return ended,
            };
        }
        loop {
            let event = tokio::select! {
                biased;
                () = self.retired.cancelled() => Event::Retired,
                death = now.child.ended() => Event::Died(death),
                Some(wish) = self.wishes.recv() => Event::Wish(wish),
            };
            match event {
                Event::Retired => return self.retire(now, done).await,
                Event::Died(death) => return self.died(now, death, done).await,
                Event::Wish(Wish::End { tag, cause, cancelled }) if tag == now.tag => {
                    self.note(format!("{cause}; ending it (pid {})", now.child.id().unwrap_or_default()));
                    done.leave(&self.ground, &self.label, now, Some(cause), cancelled);
                    return Ended::AtOnce;
                }
                Event::Wish(wish) => {
                    if self.wants_another(wish, Some(&now.tag)) {
                        now = match self.replace(now, done).await {
                            Ok(works) => works,
                            Err(ended) => return ended,
                        };
                    }
                }
            }
        }
    }

    async fn retire(&mut self, mut now: Started, done: &mut Done) -> Ended {
        self.show(|state| state.phase = Phase::Stopping);
        let death = now.child.stop(self.ground.options.grace).await;
        done.report.killed += u64::from(death.killed);
        self.note(death.cause.clone());
        done.bury(&self.ground, now, death.cause, Vec::new()).await;
        Ended::Retired
    }

    /// A child that nobody had asked to end.
    async fn died(&mut self, now: Started, death: Death, done: &mut Done) -> Ended {
        let (at_ms, cause) = (self.ground.broker.now_ms(), death.cause.clone());
        self.show(|state| {
            state.last_death = Some(LastDeath { cause, at_ms });
            (state.pid, state.tag, state.memory_bytes) = (None, None, None);
        });
        self.count_death(&death, done);
        let words = done.bury(&self.ground, now, death.cause.clone(), Vec::new()).await;
        warn!(worker = self.label, cause = death.cause, stderr = words, "a worker died");
        Ended::Failed(death.cause)
    }

    fn count_death(&self, death: &Death, done: &mut Done) {
        done.report.died += 1;
        self.ground.broker.stats().deaths.count(&death.cause);
    }

    /// Starts the next child; when it works, the one before finishes what it holds. Gives the one that works, or why
    /// there is none.
    async fn replace(&mut self, mut now: Started, done: &mut Done) -> Result<Started, Ended> {
        // All that was wished until now is met by the next start.
        while let Ok(wish) = self.wishes.try_recv() {
            self.wants_another(wish, None);
        }
        let mut next = match self.start(done).await {
            Ok(next) => next,
            Err(trouble) => return Ok(self.keep(now, &format!("cannot start: {trouble}"))),
        };
        let next_died = tokio::select! {
            biased;
            death = now.child.ended() => {
                // What it held is not left waiting until the next one works.
                self.died(now, death, done).await;
                return self.come_up_alone(next, done).await;
            }
            death = self.come_up(&mut next) => death,
        };
        if let Some(death) = next_died {
            self.count_death(&death, done);
            done.bury(&self.ground, next, death.cause.clone(), Vec::new()).await;
            return Ok(self.keep(now, &format!("{} before it took a job", death.cause)));
        }
        self.present(&next);
        self.answer(&Ok(()));
        done.leave(&self.ground, &self.label, now, None, Vec::new());
        Ok(next)
    }

    /// Waits for a child that has nobody beside it any more.
    async fn come_up_alone(&mut self, mut next: Started, done: &mut Done) -> Result<Started, Ended> {
        self.present(&next);
        if let Some(death) = self.come_up(&mut next).await {
            return Err(self.died(next, death, done).await);
        }
        self.answer(&Ok(()));
        Ok(next)
    }

    /// The child before works on, because the next one does not.
    fn keep(&mut self, now: Started, trouble: &str) -> Started {
        self.note(format!("{trouble}; the one before works on until the next change"));
        self.answer(&Err(trouble.to_owned()));
        now
    }

    /// Waits until a child works, but not for long: it may have no lease at all. Gives how it died if it did.
    async fn come_up(&self, next: &mut Started) -> Option<Death> {
        let works = async {
            match next.pulse {
                Some(_) => tokio::time::sleep(COME_UP_BEATEN).await,
                None => self.has_leases(&next.tag).await,
            }
        };
        tokio::select! {
            death = next.child.ended() => Some(death),
            () = works => None,
            () = self.retired.cancelled() => None,
        }
    }

    async fn has_leases(&self, tag: &str) {
        let there = async {
            loop {
                let states = self.ground.broker.worker_states().await.unwrap_or_default();
                let mine = || states.iter().filter(|state| state.is_alive() && state.has_tag(tag));
                if self.spec.queues.iter().all(|queue| mine().any(|state| state.queue == *queue)) {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        timeout(COME_UP, there).await.ok();
    }

    /// Tells whoever waits for a child that works.
    fn answer(&mut self, what: &Result<(), String>) {
        for told in self.waiting.drain(..) {
            told.send(what.clone()).ok(); // who gave the order need not wait
        }
    }

    fn note(&self, text: String) {
        note(&self.ground.output, &self.label, text);
    }
}

/// Says something about a child. Never waits: whoever reads slowly misses it.
fn note(output: &mpsc::Sender<Line>, label: &str, text: String) {
    output.try_send(Line { label: label.to_owned(), origin: Origin::Supervisor, text }).ok();
}

/// Names one start of one child, for ever.
fn new_tag() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The name under which the supervisor registers a child.
fn registered(spec: &WorkerSpec, number: usize, tag: &str) -> Result<Registered, String> {
    let name = format!("{}-{}.{number}-{tag}", machine::host(), spec.name);
    let worker = WorkerId::new(name).map_err(|error| error.detail().to_owned())?;
    Ok(Registered { worker, places: spec.queues.iter().map(|queue| (queue.clone(), 1)).collect() })
}
