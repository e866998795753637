//! Where a worker's jobs come in and go out: slots, claims, looks, the fence, the drain (SPEC "Claims", "Drain").
//!
//! One task owns all of this, so there is one truth about which job lies where. It never runs a handler and never
//! acks; jobs do that in tasks of their own and report back.

mod drain;
mod governed;
mod jobs;
mod places;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tempest_broker::{Beats, Controls, Error, Lease, Odd, Rest};
use tempest_protocol::{Queue, WorkerId, limits};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{Report, options::Options, shared::Shared};
use jobs::End;
use places::{Came, Place, Spot};

/// Jobs taken by the first look, and by one look at most.
const LOOK: usize = 8;
const LOOK_MAX: usize = 16;
/// Every so many looks one begins at the low end.
const FROM_BELOW: u64 = 16;
/// How long a worker does not rest after it has lost its lease.
const AWAKE: Duration = Duration::from_secs(30);

pub(crate) struct Desk {
    shared: Arc<Shared>,
    lease: Lease,
    beats: watch::Receiver<Beats>,
    controls: Controls,
    about: serde_json::Value,
    grace: Duration,
    started: std::time::Instant,
    drain: CancellationToken,
    places: Vec<Place>,
    /// Claims that block, each on a connection of its own.
    claims: FuturesUnordered<BoxFuture<'static, Came>>,
    /// Jobs found in run lists, not started yet.
    backlog: VecDeque<(Spot, Bytes, u64)>,
    /// How many jobs may run, and how many more.
    slots: usize,
    permits: usize,
    /// How many jobs the next look may take.
    look: usize,
    looks: u64,
    /// The last look found jobs, so there may be more where they came from.
    loaded: bool,
    /// The last claim had to wait for its job and found no other in hand: there is nothing to look for.
    idle: bool,
    /// Something was read that may not be true any more: beat and look before anything is started.
    unsure: bool,
    /// It beats for itself until then, whatever it has to do.
    awake_until: Option<Instant>,
    tasks: TaskTracker,
    /// Where jobs report their end: never more of them than there are slots.
    ends: mpsc::UnboundedReceiver<End>,
    report: mpsc::UnboundedSender<End>,
}

impl Desk {
    /// Registers the worker and begins to listen to its control channels.
    ///
    /// Errors: those of the first beat.
    pub(crate) async fn open(
        shared: Arc<Shared>,
        worker: WorkerId,
        options: &Options,
        drain: CancellationToken,
    ) -> Result<Self, Error> {
        let sources = options.queues.len() * options.lanes.len();
        // A claim that blocks needs a run list of its own, though only as many jobs run as there are permits.
        let slots =
            if sources == 1 { options.concurrency } else { options.concurrency + options.lanes.len() };
        let about = about(options.concurrency);
        let registered: Vec<(Queue, usize)> =
            options.queues.iter().map(|queue| (queue.clone(), slots)).collect();
        let lease = shared.broker.lease(worker.clone(), registered, &about).await?;
        let in_hand = shared.clone();
        let rest = if options.may_leave_lease(shared.broker.settings()) { Rest::Kept } else { Rest::Slow };
        lease.tell(rest, move || in_hand.told());
        let controls = shared.broker.controls(&options.queues).await;
        let (report, ends) = mpsc::unbounded_channel();
        let place = |queue| Place::new(&shared.broker, queue, &worker, slots, &options.lanes);
        Ok(Self {
            places: options.queues.iter().map(place).collect(),
            beats: lease.beats(),
            shared,
            lease,
            controls,
            about,
            grace: options.grace,
            started: std::time::Instant::now(),
            drain,
            claims: FuturesUnordered::new(),
            backlog: VecDeque::new(),
            slots: options.concurrency,
            permits: options.concurrency,
            look: LOOK,
            looks: 0,
            loaded: false,
            idle: false,
            unsure: true,
            awake_until: None,
            tasks: TaskTracker::new(),
            ends,
            report,
        })
    }

    /// Works until it is told to drain, and drains.
    pub(crate) async fn work(mut self) -> Report {
        let mut ended = Vec::new();
        self.read_limits().await;
        while !self.drain.is_cancelled() {
            if self.unsure {
                self.make_sure().await;
            }
            self.start_backlog();
            if !self.unsure && self.permits > 0 {
                self.look_and_claim().await;
            }
            if self.permits == 0 || self.unsure {
                self.wake_claims().await;
            }
            self.shared.rest(self.is_idle());
            let next_claim = self.places.iter().filter_map(Place::next_claim).min();
            tokio::select! {
                biased;
                () = self.drain.cancelled() => {}
                // Before what always comes under load: whoever runs for nobody is told at once.
                control = self.controls.next() => self.obey(&control).await,
                Some(came) = self.claims.next() => self.take_in(came).await,
                _ = self.ends.recv_many(&mut ended, 64) => self.release(&mut ended),
                _ = self.beats.changed() => self.look_after_beat().await,
                () = at(next_claim), if self.permits > 0 && !self.unsure => {}
            }
        }
        self.end().await
    }

    /// Beats, then looks at everything that lies in the run lists: only that is still this worker's. If it does not
    /// succeed the next beat that is confirmed tries again.
    async fn make_sure(&mut self) {
        for (spot, frame, _) in self.backlog.drain(..) {
            self.places[spot.place].forget(spot, &frame);
        }
        if let Err(error) = self.lease.beat_now().await {
            debug!(%error, "nothing is started until a beat is confirmed");
            return;
        }
        self.unsure = false;
        self.look_everywhere().await;
    }

    /// Whether what was read since then may be old: more than a lease passed without a confirmed beat, so that others
    /// may have taken this worker for dead and its jobs away.
    fn is_fenced(&self, lapses: u64) -> bool {
        self.lease.lapses() != lapses || !self.lease.confirmed_within(limits::LEASE)
    }

    /// Takes what waits, more the second time if there was enough, then leaves a claim on each lane.
    async fn look_and_claim(&mut self) {
        let looks = !std::mem::take(&mut self.idle);
        while looks && self.permits > 0 && !self.unsure && self.places.iter().any(Place::may_claim) {
            let budget = self.look.min(self.permits);
            let took = self.take(budget).await;
            self.loaded = took > 0;
            if took < budget {
                self.look = LOOK;
                break;
            }
            self.look = (self.look * 2).min(LOOK_MAX);
        }
        if self.permits > 0 && !self.unsure {
            let beats = &self.beats;
            let claims =
                self.places.iter_mut().enumerate().flat_map(|(index, place)| place.claims(index, beats));
            self.claims.extend(claims.collect::<Vec<_>>());
        }
    }

    /// Takes up to `budget` jobs without waiting, in order of the lanes. Gives how many.
    async fn take(&mut self, budget: usize) -> usize {
        self.looks += 1;
        let from_below = self.looks.is_multiple_of(FROM_BELOW);
        let mut took = 0;
        for (place, source) in places::order(&self.places, from_below, self.looks) {
            if took == budget {
                break;
            }
            let (lane, spots) = self.places[place].free(place, source, budget - took);
            let runs: Vec<_> = spots.iter().map(|spot| self.places[place].run(*spot).clone()).collect();
            let lapses = self.lease.lapses();
            let jobs = if self.places[place].is_governed() {
                self.take_within_limits(place, source, lane, &runs).await
            } else {
                self.shared.broker.take(lane, &runs).await
            };
            let jobs = match jobs {
                Ok(jobs) => jobs,
                Err(error) => {
                    self.trouble(place, source, &error);
                    return took;
                }
            };
            if self.is_fenced(lapses) {
                self.unsure = true;
                return took;
            }
            for (spot, frame) in spots.into_iter().zip(jobs) {
                let Some(frame) = frame else { continue };
                self.places[place].know(spot, frame.clone());
                self.start(spot, frame);
                took += 1;
            }
        }
        took
    }

    /// What a claim that blocked came back with.
    async fn take_in(&mut self, came: Came) {
        let (spot, source, lapses) = (came.spot, came.source, came.lapses);
        self.note(came.odd);
        self.idle = came.waited && !came.peeked && self.tasks.is_empty();
        let answer = self.places[spot.place].came(came);
        if answer.is_ok() {
            self.shared.broker.stats().faults.well(self.places[spot.place].claims_part());
        }
        match answer {
            Ok(Some(_)) if self.is_fenced(lapses) => self.unsure = true,
            Ok(Some(frame)) => {
                self.places[spot.place].know(spot, frame.clone());
                let is_free = !self.places[spot.place].is_governed();
                if is_free && self.permits > 0 && !self.drain.is_cancelled() {
                    self.start(spot, frame);
                } else {
                    self.give_back(spot, &frame).await;
                }
            }
            // The next claim on this lane looks before it waits.
            Ok(None) => {}
            Err(error) => self.trouble(spot.place, source, &error),
        }
    }

    /// Lost claims are looked for at once. Who has lost its lease beats for itself a while: its supervisor does not keep it.
    fn note(&mut self, odd: Option<Odd>) {
        if odd == Some(Odd::Lease) {
            self.awake_until = Some(Instant::now() + AWAKE);
        }
        self.unsure |= odd.is_some();
    }

    /// Whether there is nothing to do and nothing to say.
    fn is_idle(&self) -> bool {
        let sure = !self.unsure && self.awake_until.is_none_or(|until| until < Instant::now());
        sure && self.permits == self.slots && self.backlog.is_empty() && self.shared.kept.is_empty()
    }

    /// A claim or a look failed: wait before the next one on this lane, and be sure of nothing if the connection
    /// broke.
    fn trouble(&mut self, place: usize, source: usize, error: &Error) {
        let failures = self.places[place].failed(source);
        self.shared.broker.stats().faults.failed(self.places[place].claims_part(), error);
        self.places[place].wait(source, Instant::now() + error.trouble().pause(failures));
        self.unsure = true;
    }

    /// Wakes the claims that block: there is no slot for what they would bring.
    async fn wake_claims(&mut self) {
        for place in &mut self.places {
            for source in place.blocking() {
                match self.shared.broker.unblock(&source.id).await {
                    Ok(woken) => source.woken = woken,
                    Err(error) => debug!(%error, "a claim was not woken; it ends by itself"),
                }
            }
        }
    }

    /// Looks for jobs in this worker's run lists that it does not know: claims whose answer was lost.
    async fn look_everywhere(&mut self) {
        if self.unsure {
            return; // `make_sure` looks, after a beat of its own
        }
        for place in 0..self.places.len() {
            let spots = self.places[place].idle(place);
            let runs: Vec<_> = spots.iter().map(|spot| self.places[place].run(*spot).clone()).collect();
            match self.shared.broker.held(&runs).await {
                Ok(held) => {
                    for (spot, count) in spots.into_iter().zip(held) {
                        if count > self.places[place].known(spot) {
                            self.look_into(spot).await;
                        }
                    }
                }
                Err(error) => {
                    debug!(%error, "the run lists could not be looked at");
                    self.unsure = true;
                    return;
                }
            }
        }
    }

    async fn look_into(&mut self, spot: Spot) {
        let lapses = self.lease.lapses();
        let place = &mut self.places[spot.place];
        match self.shared.broker.look(place.run(spot)).await {
            Ok(frames) => {
                for frame in place.unknown(spot, frames) {
                    debug!(queue = %place.queue(), "found a claimed job whose claim was not answered");
                    place.know(spot, frame.clone());
                    self.backlog.push_back((spot, frame, lapses));
                }
            }
            Err(error) => {
                debug!(%error, "a run list could not be looked at");
                self.unsure = true;
            }
        }
    }

    /// Returns a claimed job that was not started to the head of its lane. If that fails it stays where it is and
    /// comes again with the next look.
    async fn give_back(&mut self, spot: Spot, frame: &Bytes) {
        let place = &mut self.places[spot.place];
        let lane = place.lane_of(frame, self.shared.broker.keys());
        let alone = place.known(spot) == 1;
        let run = place.run(spot);
        let moved = match alone {
            true => self.shared.broker.give_back(run, lane).await,
            false => self.shared.broker.give_back_newest(run, lane).await,
        };
        match moved {
            Ok(Some(moved)) if moved == *frame => self.shared.counts.give_back(),
            Ok(None) => debug!("a job that was to be given back was taken away before"),
            Ok(Some(_)) => warn!("another job than the newest was given back; it runs twice"),
            Err(error) => {
                warn!(%error, "a job could not be given back");
                self.unsure = true;
            }
        }
        self.places[spot.place].forget(spot, frame);
    }
}

/// What the worker says of itself (SPEC "Leases").
fn about(slots: usize) -> serde_json::Value {
    serde_json::json!({
        "lang": "rust",
        "pid": std::process::id(),
        "host": crate::identity::host(),
        "version": env!("CARGO_PKG_VERSION"),
        "slots": slots,
        "state": "running",
    })
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
