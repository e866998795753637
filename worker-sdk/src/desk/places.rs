//! The slots and lanes of one queue: which jobs lie where, which claims block.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use tempest_broker::{Beats, Broker, ClaimId, ClaimLink, Error, Lookout, Odd, RunList};
use tempest_protocol::{Job, Keys, Lane, Queue, WorkerId};
use tokio::{sync::watch, time::Instant};

/// Jobs in a row that may come with the ack of the one before.
const CHAIN_MAX: u32 = 16;

/// A claim that is answered sooner than this found a job waiting.
const AT_ONCE: Duration = Duration::from_micros(200);

/// A slot of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) place: usize,
    slot: usize,
}

/// A queue this worker works for.
pub(super) struct Place {
    queue: Queue,
    worker: WorkerId,
    /// What is in trouble while nothing can be claimed.
    claims_part: String,
    /// The queue is paused or has limits: what comes is claimed as far as they allow.
    is_governed: bool,
    slots: Vec<Slot>,
    sources: Vec<Source>,
}

struct Slot {
    run: RunList,
    /// Jobs that lie in the run list and that this worker answers for: started, or in the backlog.
    known: Vec<Bytes>,
    /// A claim is under way that would put a job here: what lies here may be its answer.
    claiming: bool,
    /// How many jobs in a row came with the ack of the one before.
    chained: u32,
}

/// A lane jobs are claimed from.
pub(super) struct Source {
    lane: Lane,
    /// Away while a claim is under way.
    link: Option<ClaimLink>,
    pub(super) id: ClaimId,
    /// The claim under way was told to come back.
    pub(super) woken: bool,
    /// The last claim waited in vain: the next one may wait longer.
    idle: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// Until then, or until a job ends here: as many run as may.
    full: bool,
}

/// What a claim came back with.
pub(super) struct Came {
    pub(super) spot: Spot,
    pub(super) source: usize,
    /// The lease's lapses when it was sent.
    pub(super) lapses: u64,
    /// Whether its lane was empty when it was sent.
    pub(super) waited: bool,
    /// What was not as it should be when it began to wait.
    pub(super) odd: Option<Odd>,
    /// It only waited for something to lie in the lane, and claimed nothing.
    pub(super) peeked: bool,
    link: ClaimLink,
    answer: Result<Option<Bytes>, Error>,
}

impl Place {
    pub(super) fn new(
        broker: &Broker,
        queue: &Queue,
        worker: &WorkerId,
        slots: usize,
        lanes: &[Lane],
    ) -> Self {
        let slot = |slot| Slot {
            run: broker.run_list(queue, worker, slot),
            known: Vec::new(),
            claiming: false,
            chained: 0,
        };
        let source = |lane: &Lane| {
            let link = broker.claim_link();
            let id = link.id();
            Source {
                lane: *lane,
                link: Some(link),
                id,
                woken: false,
                idle: false,
                failures: 0,
                not_before: None,
                full: false,
            }
        };
        Self {
            claims_part: format!("claims of {queue}"),
            is_governed: false,
            queue: queue.clone(),
            worker: worker.clone(),
            slots: (0..slots).map(slot).collect(),
            sources: lanes.iter().map(source).collect(),
        }
    }

    pub(super) fn is_governed(&self) -> bool {
        self.is_governed
    }

    /// Gives whether that is news.
    pub(super) fn govern(&mut self, is_governed: bool) -> bool {
        std::mem::replace(&mut self.is_governed, is_governed) != is_governed
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What is in trouble while nothing can be claimed.
    pub(super) fn claims_part(&self) -> &str {
        &self.claims_part
    }

    pub(super) fn run(&self, spot: Spot) -> &RunList {
        &self.slots[spot.slot].run
    }

    /// How many jobs of a slot are known.
    pub(super) fn known(&self, spot: Spot) -> usize {
        self.slots[spot.slot].known.len()
    }

    pub(super) fn know(&mut self, spot: Spot, frame: Bytes) {
        self.slots[spot.slot].known.push(frame);
    }

    pub(super) fn forget(&mut self, spot: Spot, frame: &Bytes) {
        let known = &mut self.slots[spot.slot].known;
        if let Some(index) = known.iter().position(|other| other == frame) {
            known.remove(index);
        }
    }

    /// Lets the job of a slot take the next one with its ack, if the lane is the only one: then no order of lanes is
    /// passed over. What lies in the slot is then its business until it ends. Now and then it is refused, so that a
    /// look comes in between.
    pub(super) fn chain(&mut self, spot: Spot) -> Option<Lane> {
        let [source] = &self.sources[..] else { return None };
        let slot = &mut self.slots[spot.slot];
        slot.chained = (slot.chained + 1) % CHAIN_MAX;
        if slot.chained == 0 || slot.known.len() > 1 {
            return None;
        }
        slot.claiming = true;
        Some(source.lane)
    }

    /// The job of a slot has ended.
    pub(super) fn ended(&mut self, spot: Spot, frame: &Bytes) {
        self.forget(spot, frame);
        self.slots[spot.slot].claiming = false;
        for source in self.sources.iter_mut().filter(|source| source.full) {
            (source.not_before, source.full) = (None, false);
        }
    }

    /// How many jobs are known in all.
    pub(super) fn jobs(&self) -> usize {
        self.slots.iter().map(|slot| slot.known.len()).sum()
    }

    /// Those of `frames` that are not known, each as often as it lies there too often.
    pub(super) fn unknown(&self, spot: Spot, frames: Vec<Bytes>) -> Vec<Bytes> {
        let mut known = self.slots[spot.slot].known.clone();
        let mut is_known = |frame: &Bytes| {
            let index = known.iter().position(|other| other == frame);
            index.map(|index| known.swap_remove(index)).is_some()
        };
        frames.into_iter().filter(|frame| !is_known(frame)).collect()
    }

    /// Slots no claim is under way to: what lies in them is known, or its claim's answer was lost.
    pub(super) fn idle(&self, place: usize) -> Vec<Spot> {
        let idle = self.slots.iter().enumerate().filter(|(_, slot)| !slot.claiming);
        idle.map(|(slot, _)| Spot { place, slot }).collect()
    }

    /// Up to `count` slots that nothing lies in, and the lane of a source.
    pub(super) fn free(&self, place: usize, source: usize, count: usize) -> (Lane, Vec<Spot>) {
        let free = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_free());
        (self.sources[source].lane, free.map(|(slot, _)| Spot { place, slot }).take(count).collect())
    }

    /// Whether a lane is left on which no claim blocks and that need not wait after a failure.
    pub(super) fn may_claim(&self) -> bool {
        self.sources.iter().any(Source::is_ready)
    }

    /// When the next lane has waited long enough after a failure.
    pub(super) fn next_claim(&self) -> Option<Instant> {
        self.sources
            .iter()
            .filter(|source| source.link.is_some())
            .filter_map(|source| source.not_before)
            .min()
    }

    /// A claim for each lane that may have one and finds a free slot.
    pub(super) fn claims(
        &mut self,
        place: usize,
        beats: &watch::Receiver<Beats>,
    ) -> Vec<BoxFuture<'static, Came>> {
        let mut claims = Vec::new();
        for (index, source) in self.sources.iter_mut().enumerate().filter(|(_, source)| source.is_ready()) {
            let Some(slot) = self.slots.iter().position(Slot::is_free) else { break };
            let Some(mut link) = source.link.take() else { continue };
            let lookout = source.idle.then(|| {
                let empty = self.slots.iter().filter(|slot| slot.is_free());
                Lookout { worker: self.worker.clone(), empty: empty.map(|slot| slot.run.clone()).collect() }
            });
            let peeked = self.is_governed;
            self.slots[slot].claiming = !peeked;
            (source.woken, source.not_before) = (false, None);
            let (run, lane, beats) = (self.slots[slot].run.clone(), source.lane, beats.clone());
            let claim = async move {
                let (lapses, asked) = (beats.borrow().lapses, Instant::now());
                let came = match lookout {
                    _ if peeked => link.peek(lane, run.queue()).await.map(|_| (None, None)),
                    None => link.claim(lane, &run).await.map(|job| (job, None)),
                    Some(lookout) => link.claim_idle(lane, &run, &lookout).await,
                };
                let (answer, odd) = came.map_or_else(|error| (Err(error), None), |(job, odd)| (Ok(job), odd));
                let waited = asked.elapsed() > AT_ONCE;
                Came { spot: Spot { place, slot }, source: index, lapses, waited, odd, peeked, link, answer }
            };
            claims.push(claim.boxed());
        }
        claims
    }

    /// Takes back the link of a claim. Gives its answer.
    pub(super) fn came(&mut self, came: Came) -> Result<Option<Bytes>, Error> {
        let source = &mut self.sources[came.source];
        source.link = Some(came.link);
        source.idle = !source.woken && matches!(came.answer, Ok(None));
        source.woken = false;
        if came.answer.is_ok() {
            source.failures = 0;
        }
        self.slots[came.spot.slot].claiming &= came.peeked;
        came.answer
    }

    /// Counts a failure of a source. Gives how many there were since its last success.
    pub(super) fn failed(&mut self, source: usize) -> u32 {
        let source = &mut self.sources[source];
        source.failures = source.failures.saturating_add(1);
        source.failures
    }

    /// Claims nothing from a source before then.
    pub(super) fn wait(&mut self, source: usize, until: Instant) {
        let source = &mut self.sources[source];
        (source.not_before, source.full) = (Some(until), false);
    }

    /// The same, if no job ends here before: then there is a place for the next one.
    pub(super) fn wait_for_an_end(&mut self, source: usize, until: Instant) {
        let source = &mut self.sources[source];
        (source.not_before, source.full) = (Some(until), true);
    }

    /// Sources whose claim blocks and was not woken yet.
    pub(super) fn blocking(&mut self) -> impl Iterator<Item = &mut Source> {
        self.sources.iter_mut().filter(|source| source.link.is_none() && !source.woken)
    }

    /// The lane a job is to go back to: its own, if it can be read.
    pub(super) fn lane_of(&self, frame: &Bytes, keys: &Keys) -> Lane {
        Job::decode(frame.clone(), keys).map(|job| job.envelope.lane).unwrap_or_default()
    }
}

impl Slot {
    /// Whether nothing lies in it and no claim is under way that would put something there.
    fn is_free(&self) -> bool {
        self.known.is_empty() && !self.claiming
    }
}

impl Source {
    fn is_ready(&self) -> bool {
        self.link.is_some() && self.not_before.is_none_or(|until| until <= Instant::now())
    }
}

/// All lanes of all places in the order in which they are looked at: by rank, queues of one rank in turn.
pub(super) fn order(places: &[Place], from_below: bool, turn: u64) -> Vec<(usize, usize)> {
    let count = places.len();
    let first = usize::try_from(turn).unwrap_or(0) % count.max(1);
    let lanes = places.first().map_or(0, |place| place.sources.len());
    let mut order = Vec::with_capacity(count * lanes);
    for lane in 0..lanes {
        let lane = if from_below { lanes - 1 - lane } else { lane };
        order.extend((0..count).map(|place| ((first + place) % count, lane)));
    }
    order
}
