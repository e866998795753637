//! Fronts, a lane and workers in a time that only the test moves: what twice the capacity comes to, whatever machine
//! this runs on.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use tempest_broker::{Load as LaneLoad, Prospect};

use super::Load;

const SECOND_US: u64 = 1_000_000;

/// What is played.
struct Play {
    fronts: usize,
    slots: u32,
    deadline_us: u64,
    /// How long a job takes, given a number from 0 to 1.
    work_us: fn(f64) -> f64,
    /// Its mean.
    work_mean_us: f64,
    /// Arrivals per second as a share of the capacity, and until when.
    phases: &'static [(f64, u64)],
}

/// What came of it.
#[derive(Default)]
struct Outcome {
    refused: u32,
    /// Answered in time, by second.
    good: Vec<u32>,
    /// Accepted, but not answered in time.
    late: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Done { job: usize, work_us: u64 },
    Deadline { job: usize },
    Look,
}

struct Job {
    front: usize,
    deadline_us: u64,
    is_ended: bool,
}

struct Stage<'a> {
    play: &'a Play,
    begin: Instant,
    random: fastrand::Rng,
    loads: Vec<Load>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    jobs: Vec<Job>,
    lane: VecDeque<usize>,
    busy: u32,
    /// How deep the lane was at the last look, and when that was.
    looked: (u64, u64),
    outcome: Outcome,
}

impl Play {
    fn capacity(&self) -> f64 {
        f64::from(self.slots) / self.work_mean_us * 1e6
    }

    fn end_us(&self) -> u64 {
        self.phases.last().map_or(0, |(_, until_s)| until_s * SECOND_US)
    }

    fn run(&self, seed: u64) -> Outcome {
        let mut stage = Stage {
            play: self,
            begin: Instant::now(),
            random: fastrand::Rng::with_seed(seed),
            loads: (0..self.fronts).map(|_| Load::default()).collect(),
            events: BinaryHeap::from([Reverse((0, Event::Arrival)), Reverse((0, Event::Look))]),
            jobs: Vec::new(),
            lane: VecDeque::new(),
            busy: 0,
            looked: (0, 0),
            outcome: Outcome::default(),
        };
        while let Some(Reverse((now_us, event))) = stage.events.pop() {
            stage.happens(event, now_us);
        }
        stage.outcome
    }

    /// The share of the capacity that is answered in time in the seconds from one to the other, and its worst second.
    fn goodput(&self, outcome: &Outcome, from_s: usize, to_s: usize) -> (f64, f64) {
        let seconds = &outcome.good[from_s..to_s];
        let shares: Vec<f64> = seconds.iter().map(|good| f64::from(*good) / self.capacity()).collect();
        let worst = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let count = u32::try_from(shares.len()).expect("few seconds");
        (shares.iter().sum::<f64>() / f64::from(count), worst)
    }
}

impl Stage<'_> {
    fn at(&self, us: u64) -> Instant {
        self.begin + Duration::from_micros(us)
    }

    fn later(&mut self, us: u64, event: Event) {
        self.events.push(Reverse((us, event)));
    }

    fn happens(&mut self, event: Event, now_us: u64) {
        match event {
            Event::Arrival => self.arrives(now_us),
            Event::Done { job, work_us } => self.done(job, work_us, now_us),
            Event::Deadline { job } if !self.jobs[job].is_ended => {
                self.outcome.late += 1;
                self.ended(job, None, now_us);
            }
            Event::Deadline { .. } => {}
            Event::Look => {
                self.looked = (self.lane.len() as u64, now_us);
                if now_us < self.play.end_us() {
                    self.later(now_us + SECOND_US, Event::Look);
                }
            }
        }
    }

    fn arrives(&mut self, now_us: u64) {
        let Some((factor, _)) = self.play.phases.iter().find(|(_, until_s)| now_us < until_s * SECOND_US)
        else {
            return;
        };
        let pause_s = -(1.0 - self.random.f64()).ln() / (self.play.capacity() * factor);
        self.later(now_us + 1 + micros(pause_s), Event::Arrival);
        let front = self.random.usize(..self.loads.len());
        let deadline = Duration::from_micros(self.play.deadline_us);
        let load = LaneLoad { jobs: self.looked.0, ..LaneLoad::default() };
        let (prospect, looked) = (Prospect { slots: self.play.slots, load }, Some(self.at(self.looked.1)));
        if self.loads[front].too_late(prospect, looked, deadline, self.at(now_us)).is_some() {
            self.outcome.refused += 1;
            return;
        }
        self.loads[front].begun();
        let deadline_us = now_us + self.play.deadline_us;
        self.jobs.push(Job { front, deadline_us, is_ended: false });
        self.lane.push_back(self.jobs.len() - 1);
        self.later(deadline_us, Event::Deadline { job: self.jobs.len() - 1 });
        self.claim(now_us);
    }

    fn claim(&mut self, now_us: u64) {
        while self.busy < self.play.slots {
            let Some(job) = self.lane.pop_front() else { return };
            if self.jobs[job].is_ended {
                continue; // nobody waits any more: dropped unrun
            }
            let work_us = micros((self.play.work_us)(self.random.f64()) / 1e6);
            self.busy += 1;
            self.later(now_us + work_us, Event::Done { job, work_us });
        }
    }

    fn done(&mut self, job: usize, work_us: u64, now_us: u64) {
        self.busy -= 1;
        if !self.jobs[job].is_ended {
            assert!(now_us <= self.jobs[job].deadline_us);
            let second = usize::try_from(now_us / SECOND_US).expect("short");
            self.outcome.good.resize(self.outcome.good.len().max(second + 1), 0);
            self.outcome.good[second] += 1;
            self.ended(job, Some(Duration::from_micros(work_us)), now_us);
        }
        self.claim(now_us);
    }

    fn ended(&mut self, job: usize, work: Option<Duration>, now_us: u64) {
        let now = self.at(now_us);
        self.jobs[job].is_ended = true;
        self.loads[self.jobs[job].front].ended(work.is_some(), work, self.play.slots, now);
    }
}

fn micros(seconds: f64) -> u64 {
    Duration::from_secs_f64(seconds).as_micros().try_into().expect("short")
}

fn regular(_: f64) -> f64 {
    10_000.0
}

fn without_memory(at: f64) -> f64 {
    -(1.0 - at).ln() * 10_000.0
}

/// One in twenty takes a hundred times as long as the others.
fn seldom_long(at: f64) -> f64 {
    if at < 0.95 { 1_681.0 } else { 168_067.0 }
}

const TWICE: &[(f64, u64)] = &[(2.0, 20)];

fn twice(fronts: usize, slots: u32, deadline_ms: u64, work_us: fn(f64) -> f64) {
    let play = Play {
        fronts,
        slots,
        deadline_us: deadline_ms * 1_000,
        work_us,
        work_mean_us: 10_000.0,
        phases: TWICE,
    };
    let outcome = play.run(7);
    let (goodput, worst) = play.goodput(&outcome, 1, 20);
    let accepted = outcome.late + outcome.good.iter().sum::<u32>();
    let about = format!("{fronts} fronts, {slots} slots, {deadline_ms} ms");
    assert!(goodput > 0.95, "{about}: {goodput:.3} of the capacity is answered in time");
    assert!(worst > 0.8, "{about}: {worst:.3} in the worst second");
    let late = f64::from(outcome.late) / f64::from(accepted);
    assert!(late < 0.01, "{about}: {late:.4} of the accepted are late");
    assert!(outcome.refused > accepted / 2, "{about}: {} refused, {accepted} accepted", outcome.refused);
}

#[test]
fn at_twice_the_capacity_it_is_used_and_who_is_accepted_is_in_time() {
    for deadline_ms in [250, 1_000, 5_000] {
        for work_us in [regular, without_memory] {
            twice(1, 16, deadline_ms, work_us);
        }
    }
}

#[test]
fn so_it_is_with_several_fronts() {
    for deadline_ms in [250, 1_000] {
        twice(3, 16, deadline_ms, without_memory);
    }
}

#[test]
fn so_it_is_where_few_jobs_take_most_of_the_time() {
    twice(1, 64, 2_000, seldom_long);
}

#[test]
fn who_can_be_served_is_not_refused() {
    for work_us in [regular, without_memory] {
        let phases = &[(0.85, 30)];
        let play =
            Play { fronts: 1, slots: 16, deadline_us: SECOND_US, work_us, work_mean_us: 10_000.0, phases };
        let outcome = play.run(7);
        assert_eq!((outcome.refused, outcome.late), (0, 0));
    }
}

#[test]
fn after_a_crowd_all_are_served_again_at_once() {
    let phases = &[(0.5, 5), (2.0, 15), (0.5, 30)];
    let play = Play {
        fronts: 1,
        slots: 16,
        deadline_us: SECOND_US,
        work_us: without_memory,
        work_mean_us: 10_000.0,
        phases,
    };
    let outcome = play.run(7);
    let (during, worst) = play.goodput(&outcome, 5, 15);
    assert!(during > 0.95 && worst > 0.85, "{during:.3}, worst {worst:.3}");
    let (calm, worst) = play.goodput(&outcome, 17, 29);
    assert!((0.48..0.52).contains(&calm) && worst > 0.45, "{calm:.3}, worst {worst:.3}");
}
