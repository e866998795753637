//! What a supervisor does once a second: beat for children that do not, look at what all of them use, end or replace
//! those beyond their limits, and say how they are.

mod facts;

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use rustix::process::getpid;
use serde_json::json;
use tempest_protocol::{Lane, WorkerId, limits};
use tokio::time::MissedTickBehavior;
use tracing::debug;

use crate::{
    Limits, Orders,
    machine::{self, Process},
    seat::{Ground, Wish},
    view::{SeatId, Seen, Views},
};
use facts::{Facts, Work};

/// A child that was to be replaced and works on, because the next one did not come up, is judged again after this time.
const JUDGED_AGAIN: Duration = Duration::from_secs(60);

/// What this part of the process is called when Redis fails it.
const PART: &str = "supervisor";
/// Children that were started together are replaced over this part of the age they may reach.
const AGE_SPREAD: f64 = 0.1;

pub(crate) struct Watch {
    ground: Ground,
    name: WorkerId,
    orders: Orders,
    work: Work,
    /// Children that were judged, by their tags, and when.
    judged: HashMap<String, Instant>,
}

/// What is to happen to a child that is beyond a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// Another takes its place before it goes.
    Renew(String),
    /// It is ended first.
    End(String),
}

/// A child that runs, and what it may use.
struct Charge {
    seat: SeatId,
    tag: String,
    pid: Option<u32>,
    age: Duration,
    limits: Limits,
    lanes: Vec<Lane>,
}

impl Watch {
    pub(crate) fn new(ground: Ground, orders: Orders) -> Self {
        let name = format!("{}-{}-{:012x}", machine::host(), getpid(), fastrand::u64(..1 << 48));
        let name = WorkerId::new(name).expect("its parts are in the alphabet");
        Self { ground, name, orders, work: Work::default(), judged: HashMap::new() }
    }

    /// Looks each second, until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(limits::BEAT);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.ground.oom_kills.look();
            // Where there are thousands it takes a while.
            let processes = tokio::task::spawn_blocking(machine::processes).await.unwrap_or_default();
            remember_memory(&self.ground.views, &processes);
            self.ground.broker.shelter(awake(&self.ground.views, &processes));
            self.say(&processes).await;
            self.judge(&processes).await;
        }
    }

    /// The name under which it says how its children are.
    pub(crate) fn name(&self) -> WorkerId {
        self.name.clone()
    }

    /// Beats for those that do not, and says how all are.
    async fn say(&self, processes: &[Process]) {
        let broker = &self.ground.broker;
        let mut beaten = self.ground.views.beaten();
        beaten.retain(|child| !is_stopped(child.pid, processes));
        let about = |pid| json!({"pid": pid, "host": machine::host(), "slots": 1, "state": "running"});
        let beats: Vec<_> = beaten.into_iter().map(|child| (child.registered, about(child.pid))).collect();
        let workers: Vec<_> = self.orders.states().iter().map(crate::ChildState::to_json).collect();
        let said = json!({
            "host": machine::host(), "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION"), "workers": workers,
        });
        let said = tokio::try_join!(broker.beat_for(&beats), broker.tell_supervisor(&self.name, &said));
        match said {
            Ok(_) => broker.stats().faults.well(PART),
            Err(error) => broker.stats().faults.failed(PART, &error),
        }
    }

    async fn judge(&mut self, processes: &[Process]) {
        let charges = charges(&self.ground.views);
        let running: HashSet<_> = charges.iter().map(|charge| charge.tag.clone()).collect();
        self.judged.retain(|tag, at| running.contains(tag) && at.elapsed() < JUDGED_AGAIN);
        self.work.forget(&running);
        if charges.iter().any(|charge| charge.limits.needs_redis())
            && let Err(error) = self.work.look(&self.ground.broker, &charges).await
        {
            debug!(%error, "cannot see what the workers do");
        }
        for charge in charges {
            if self.judged.contains_key(&charge.tag) {
                continue;
            }
            let facts = self.facts_of(&charge, processes);
            let verdict = facts::judge(&charge.limits, &facts);
            // One whose limits are too narrow for any child must not be replaced without end.
            let is_young = charge.age < self.ground.options.settled;
            if let Some(verdict) = verdict.filter(|it| !is_young || matches!(it, Verdict::End(_))) {
                self.judged.insert(charge.tag.clone(), Instant::now());
                self.carry_out(&charge, verdict);
            }
        }
    }

    fn facts_of(&self, charge: &Charge, processes: &[Process]) -> Facts {
        let memory_bytes = charge.pid.map(|pid| memory_of(pid, processes));
        Facts { memory_bytes, age: charge.age, ..self.work.of(&charge.tag) }
    }

    fn carry_out(&self, charge: &Charge, verdict: Verdict) {
        let tag = charge.tag.clone();
        let wish = match verdict {
            Verdict::Renew(why) => Wish::Renew { tag, why },
            Verdict::End(cause) => Wish::End { tag, cause, cancelled: Vec::new() },
        };
        if let Some(seen) = self.ground.views.seats().get(&charge.seat) {
            seen.wishes.send(wish).ok(); // the seat was given up meanwhile
        }
    }
}

/// The children that have limits and run.
fn charges(views: &Views) -> Vec<Charge> {
    let seats = views.seats();
    let limited = seats.iter().filter(|(_, seen)| seen.spec.limits != Limits::default());
    let charge = |(seat, seen): (&SeatId, &Seen)| {
        let (tag, mut limits) = (seen.state.tag.clone()?, seen.spec.limits);
        limits.age = limits.age.map(|age| age.mul_f64(1.0 - spread(&tag) * AGE_SPREAD));
        let (pid, age, lanes) = (seen.state.pid, seen.started.elapsed(), seen.spec.lanes.clone());
        Some(Charge { seat: *seat, tag, pid, age, limits, lanes })
    };
    limited.filter_map(charge).collect()
}

/// A number from 0 to 1 that stays the same for a child.
fn spread(tag: &str) -> f64 {
    let number = tag.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    f64::from(number.unwrap_or_default()) / f64::from(u16::MAX)
}

/// The tags of the children that run and are not stopped.
fn awake(views: &Views, processes: &[Process]) -> HashSet<String> {
    let seats = views.seats();
    let awake = seats.values().filter(|seen| !is_stopped(seen.state.pid, processes));
    awake.filter_map(|seen| seen.state.tag.clone()).collect()
}

/// Whether a process does nothing any more; no, if it is not known.
fn is_stopped(pid: Option<u32>, processes: &[Process]) -> bool {
    let process = pid.and_then(|pid| processes.iter().find(|it| u32::try_from(it.id) == Ok(pid)));
    process.is_some_and(|process| process.is_stopped() || process.is_zombie())
}

fn remember_memory(views: &Views, processes: &[Process]) {
    for seen in views.seats().values_mut() {
        seen.state.memory_bytes =
            seen.state.pid.map(|pid| memory_of(pid, processes)).filter(|bytes| *bytes > 0);
    }
}

/// Of a whole process group, in bytes.
fn memory_of(leader: u32, processes: &[Process]) -> u64 {
    let members = processes.iter().filter(|process| u32::try_from(process.group) == Ok(leader));
    members.map(|process| process.resident_bytes).sum()
}
