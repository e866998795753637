//! The heartbeats of all event streams of a front, and their end when it stops: one task turns one wheel.
//!
//! Each stream sits in one of the slots, which the hand passes once in a heartbeat period: an idle stream costs no timer
//! of its own, and streams are called evenly spread over time, whenever they were opened. The wheel writes nothing; it
//! wakes a stream, which then learns by [`Place::poll`] what it was woken for.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tokio_util::sync::CancellationToken;

/// Slots of the wheel.
const SLOTS: u32 = 256;
/// From the slot of one stream to that of the next: the golden section of the wheel, odd, so that all slots are met and
/// few streams are spread over the whole period too.
const STRIDE: usize = 159;
/// The hand moves no more often than this; it passes several slots at once if it must.
const TICK_MIN: Duration = Duration::from_millis(10);
/// Nor less often, so that a new period is noticed soon.
const TICK_MAX: Duration = Duration::from_secs(1);
/// A front that stops ends its streams spread over this time.
const END_SPREAD: Duration = Duration::from_secs(1);

/// Clients come back after this long at least, in milliseconds.
const RETRY_MS_MIN: u32 = 1_000;
/// Over this long at least their return is spread, in milliseconds ...
const RETRY_SPREAD_MS_MIN: u32 = 3_000;
/// ... at most over this long ...
const RETRY_SPREAD_MS_MAX: u32 = 60_000;
/// ... and in between so that about this many come back in a millisecond.
const RETURNS_PER_MS: usize = 5;

/// No call; calls above [`BEAT`] are ends with a time to come back.
const NONE: u32 = 0;
const BEAT: u32 = 1;

/// When a client should come back, in milliseconds: drawn evenly from a range that grows with the streams there are, so
/// that whoever takes over is not stormed.
pub(crate) fn retry_ms(streams: usize) -> u32 {
    let spread = u32::try_from(streams / RETURNS_PER_MS).unwrap_or(RETRY_SPREAD_MS_MAX);
    RETRY_MS_MIN + fastrand::u32(0..=spread.clamp(RETRY_SPREAD_MS_MIN, RETRY_SPREAD_MS_MAX))
}

/// The streams of a front, each in its slot.
pub(crate) struct Wheel {
    slots: Box<[Mutex<Vec<Weak<Seat>>>]>,
    /// Where the next stream sits.
    next: AtomicUsize,
    stopping: CancellationToken,
}

/// What a stream and the wheel share.
struct Seat {
    call: AtomicU32,
    waker: AtomicWaker,
}

/// A stream's place on the wheel; dropping it leaves the wheel.
pub(crate) struct Place(Arc<Seat>);

/// What a stream is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// It is time for a heartbeat.
    Beat,
    /// The front stops: the stream ends, and its client should come back after this many milliseconds.
    End { retry_ms: u32 },
}

impl Wheel {
    /// A wheel that ends its streams when `stopping` is cancelled. Somebody must [`Wheel::turn`] it.
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        let slots = (0..SLOTS).map(|_| Mutex::default()).collect();
        Self { slots, next: AtomicUsize::new(0), stopping }
    }

    /// A place for a new stream. Every slot is met before one is met again, so they hold about the same number of streams.
    pub(crate) fn join(&self) -> Place {
        let seat = Arc::new(Seat { call: AtomicU32::new(NONE), waker: AtomicWaker::new() });
        let mut slot = self.slot(self.next.fetch_add(STRIDE, Ordering::Relaxed));
        if slot.len() == slot.capacity() {
            slot.retain(|seat| seat.strong_count() > 0); // no more memory than for those who are there
        }
        slot.push(Arc::downgrade(&seat));
        // Asked while the slot is held: if the hand has passed it for the last time, this is already so.
        if self.stopping.is_cancelled() {
            seat.call.store(retry_ms(0), Ordering::Release);
        }
        Place(seat)
    }

    /// Turns until the front stops, then once more to end all streams, then returns. `period` is asked at each tick for
    /// the time of one turn; none stops the wheel.
    pub(crate) async fn turn(&self, period: impl Fn() -> Option<Duration>) {
        let mut hand = Hand::at(0, Instant::now());
        while let Some(period) = period() {
            let tick = (period / SLOTS).clamp(TICK_MIN, TICK_MAX);
            if self.stopping.run_until_cancelled(tokio::time::sleep(tick)).await.is_none() {
                return self.end().await;
            }
            for _ in 0..hand.pass(Instant::now(), period) {
                self.call(hand.step(), || BEAT);
            }
        }
    }

    async fn end(&self) {
        let alive = |at| self.slot(at).iter().filter(|seat| seat.strong_count() > 0).count();
        let streams = (0..self.slots.len()).map(alive).sum();
        if streams == 0 {
            return; // whoever joins from here on is called at once
        }
        let mut hand = Hand::at(0, Instant::now());
        let mut left = SLOTS;
        while left > 0 {
            tokio::time::sleep(TICK_MIN).await;
            for _ in 0..hand.pass(Instant::now(), END_SPREAD).min(left) {
                self.call(hand.step(), || retry_ms(streams));
                left -= 1;
            }
        }
    }

    /// Wakes the streams of a slot, and forgets those that have left.
    fn call(&self, at: usize, call: impl Fn() -> u32) {
        self.slot(at).retain(|seat| {
            let Some(seat) = seat.upgrade() else { return false };
            seat.call.store(call(), Ordering::Release);
            seat.waker.wake();
            true
        });
    }

    fn slot(&self, at: usize) -> MutexGuard<'_, Vec<Weak<Seat>>> {
        self.slots[at % self.slots.len()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What the stream is called for; each call is seen once.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Call> {
        self.0.waker.register(context.waker());
        match self.0.call.swap(NONE, Ordering::AcqRel) {
            NONE => Poll::Pending,
            BEAT => Poll::Ready(Call::Beat),
            retry_ms => Poll::Ready(Call::End { retry_ms }),
        }
    }
}

/// The hand of the wheel: how many slots it passes in the time that has gone by.
struct Hand {
    slot: usize,
    /// Up to when the slots that are due have been passed.
    passed: Instant,
}

impl Hand {
    fn at(slot: usize, now: Instant) -> Self {
        Self { slot, passed: now }
    }

    /// How many slots are due; at most one turn, whatever the process has slept through.
    fn pass(&mut self, now: Instant, period: Duration) -> u32 {
        let slot_time = (period / SLOTS).max(Duration::from_nanos(1));
        let gone = now.saturating_duration_since(self.passed);
        let due = u32::try_from(gone.as_nanos() / slot_time.as_nanos()).unwrap_or(u32::MAX);
        if due > SLOTS {
            self.passed = now;
            return SLOTS;
        }
        self.passed += slot_time * due;
        due
    }

    /// Goes on to the next slot.
    fn step(&mut self) -> usize {
        self.slot = self.slot.wrapping_add(1);
        self.slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(place: &Place) -> Poll<Call> {
        place.poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    fn called(places: &[Place]) -> usize {
        places.iter().filter(|place| poll(place) == Poll::Ready(Call::Beat)).count()
    }

    #[test]
    fn every_stream_is_called_once_a_turn_and_evenly_spread() {
        let wheel = Wheel::new(CancellationToken::new());
        let places: Vec<_> = (0..SLOTS * 3).map(|_| wheel.join()).collect();
        for slot in 0..SLOTS as usize {
            wheel.call(slot, || BEAT);
            assert_eq!(called(&places), 3, "slot {slot}");
        }
        assert_eq!(called(&places), 0, "a call is seen once");
    }

    #[test]
    fn few_streams_are_spread_over_the_whole_period() {
        let wheel = Wheel::new(CancellationToken::new());
        let places: Vec<_> = (0..16).map(|_| wheel.join()).collect();
        for quarter in 0..4 {
            (quarter * 64..(quarter + 1) * 64).for_each(|slot| wheel.call(slot, || BEAT));
            let called = called(&places);
            assert!((3..=5).contains(&called), "quarter {quarter}: {called}");
        }
    }

    #[test]
    fn those_who_left_are_forgotten_even_if_the_hand_never_comes() {
        let wheel = Wheel::new(CancellationToken::new());
        let _stays: Vec<_> = (0..SLOTS).map(|_| wheel.join()).collect();
        for _ in 0..SLOTS * 1_000 {
            drop(wheel.join());
        }
        let held: usize = (0..SLOTS as usize).map(|slot| wheel.slot(slot).len()).sum();
        assert!(held < 10 * SLOTS as usize, "{held}");
        wheel.call(7, || BEAT);
        assert_eq!(wheel.slot(7).len(), 1);
    }

    #[test]
    fn the_hand_keeps_the_period_however_unevenly_it_is_moved() {
        let (start, period) = (Instant::now(), Duration::from_millis(2_560));
        let mut hand = Hand::at(0, start);
        let passed: u32 = [3, 14, 15, 92, 65, 358, 979, 1_034]
            .iter()
            .scan(Duration::ZERO, |gone, step| {
                *gone += Duration::from_millis(*step);
                Some(hand.pass(start + *gone, period))
            })
            .sum();
        assert_eq!(passed, SLOTS, "one turn in one period");
        assert_eq!(hand.pass(start + period * 1_000, period), SLOTS, "at most one turn after a long sleep");
        assert_eq!(hand.pass(start + period * 1_000, period), 0);
    }

    #[test]
    fn clients_come_back_over_a_time_that_grows_with_their_number() {
        for (streams, last) in [(0, 4_000), (10_000, 4_000), (100_000, 21_000), (usize::MAX, 61_000)] {
            let drawn: Vec<_> = (0..2_000).map(|_| retry_ms(streams)).collect();
            let (min, max) = (drawn.iter().min().copied().unwrap(), drawn.iter().max().copied().unwrap());
            assert!(min >= 1_000 && min < 1_000 + (last - 1_000) / 4, "{streams}: {min}");
            assert!(max <= last && max > last - last / 4, "{streams}: {max}");
        }
    }

    #[tokio::test]
    async fn a_new_period_takes_effect_soon() {
        let (stopping, begun) = (CancellationToken::new(), Instant::now());
        let wheel = Wheel::new(stopping.clone());
        let place = wheel.join();
        let period =
            || Some(Duration::from_millis(if begun.elapsed().as_millis() < 50 { 3_600_000 } else { 50 }));
        let beaten = std::future::poll_fn(|context| place.poll(context));
        let beaten = async { (beaten.await, stopping.cancel()).0 };
        let limited = tokio::time::timeout(Duration::from_secs(20), beaten);
        let (call, ()) = futures_util::future::join(limited, wheel.turn(period)).await;
        assert_eq!(call.expect("in time"), Call::Beat);
    }

    #[tokio::test]
    async fn a_stop_ends_all_of_them_and_those_who_come_later() {
        let stopping = CancellationToken::new();
        let wheel = Wheel::new(stopping.clone());
        let places: Vec<_> = (0..1_000).map(|_| wheel.join()).collect();
        stopping.cancel();
        wheel.turn(|| Some(Duration::from_secs(3_600))).await;
        for place in places.iter().chain([&wheel.join()]) {
            assert!(matches!(poll(place), Poll::Ready(Call::End { retry_ms: 1_000.. })));
        }
    }
}
