//! The subscribers of a topic in portions, and the events that some of a portion have yet to be given.
//!
//! Writing to a socket is what an event costs; it is done here, for many subscribers in one task, not by a task for each.
//! The task goes round its portion and gives each subscriber all there is for it by then in one write: an event that
//! comes while another is being written goes out with it to those who are still to come, and starts no round of its own.
//! The more there is to do, the less each event costs. Portions are written to at the same time, by different threads.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::inbound::{Inbound, Live, Pushed, fitting, together};

/// So few are left to their own tasks: they can do nothing together that would be worth one more task.
const FEW: usize = 8;
/// Subscribers that are written to before others have their turn: some hundred microseconds.
const TURN: usize = 32;
/// Memory of events that may wait for a portion, in bytes: the same for all its subscribers. Past it they are cut: events
/// come faster than this process can write.
const BACKLOG_BYTES_MAX: usize = 16 << 20;

/// Whom events reached.
#[derive(Default)]
pub(super) struct Reached {
    /// Events times subscribers that were written, or wait for a subscriber.
    pub(super) given: u64,
    /// Subscribers for whom it was too much.
    pub(super) cut: u64,
}

impl Reached {
    pub(super) fn count(&mut self, pushed: Pushed, events: u64) {
        match pushed {
            Pushed::Given => self.given += events,
            Pushed::Cut => self.cut += 1,
            Pushed::Lost => {}
        }
    }
}

impl std::ops::AddAssign for Reached {
    fn add_assign(&mut self, more: Self) {
        self.given += more.given;
        self.cut += more.cut;
    }
}

/// What came of an event for a portion.
pub(super) enum Fanned {
    /// All is done.
    Out(Reached),
    /// It waits, and whoever writes to the portion comes to it.
    Waits,
    /// It waits, and nobody writes: somebody must take [`Shard::round`]s until there is none.
    Begins,
}

/// A portion of the subscribers of a topic.
#[derive(Default)]
pub(super) struct Shard {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order in which they are written to; those who left have left their places free.
    members: Vec<Option<Member>>,
    /// Where each is, by its address: a hundred thousand may leave at once, and none is searched for.
    places: HashMap<usize, usize>,
    free: Vec<usize>,
    /// Whose turn is next.
    turn: usize,
    /// Events that somebody has yet to be given.
    waiting: VecDeque<Live>,
    /// The number of the first of them.
    first: u64,
    bytes: usize,
    /// Somebody writes.
    is_written: bool,
}

struct Member {
    inbound: Weak<Inbound>,
    /// The number of the event it is given next.
    next: u64,
}

impl Shard {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a subscriber, which is given what is heard from now on.
    pub(super) fn join(&self, inbound: &Arc<Inbound>) {
        let mut state = self.state();
        let member = Some(Member { inbound: Arc::downgrade(inbound), next: state.end() });
        let place = match state.free.pop() {
            Some(place) => {
                state.members[place] = member;
                place
            }
            None => {
                state.members.push(member);
                state.members.len() - 1
            }
        };
        state.places.insert(Arc::as_ptr(inbound).addr(), place);
    }

    /// Forgets a subscriber. True if it was here.
    pub(super) fn leave(&self, inbound: &Arc<Inbound>) -> bool {
        let mut state = self.state();
        let Some(place) = state.places.remove(&Arc::as_ptr(inbound).addr()) else { return false };
        state.members[place] = None;
        state.free.push(place);
        true
    }

    /// How many there are; those that left a moment ago may still count.
    pub(super) fn count(&self) -> usize {
        self.state().places.len()
    }

    /// Gives an event to everybody here, now or in its turn.
    pub(super) fn fan_out(&self, live: &Live) -> Fanned {
        let mut state = self.state();
        if !state.is_written && state.places.len() <= FEW {
            let mut reached = Reached::default();
            for member in state.present() {
                reached.count(member.push(live.clone(), 1), 1);
            }
            return Fanned::Out(reached);
        }
        state.bytes += live.weight(1);
        if state.bytes > BACKLOG_BYTES_MAX && !state.waiting.is_empty() {
            return Fanned::Out(state.cut());
        }
        state.waiting.push_back(live.clone());
        match std::mem::replace(&mut state.is_written, true) {
            true => Fanned::Waits,
            false => Fanned::Begins,
        }
    }

    /// Who is to be written to next, and what. After none it is nobody's turn.
    pub(super) fn round(&self) -> Option<Round> {
        let mut state = self.state();
        let round = state.round();
        if round.is_empty() {
            state.is_written = false;
            let end = state.end();
            state.forget(end);
            return None;
        }
        Some(Round(round))
    }
}

impl State {
    fn present(&self) -> impl Iterator<Item = Arc<Inbound>> {
        self.members.iter().flatten().filter_map(|member| member.inbound.upgrade())
    }

    /// The number of the event that is heard next.
    fn end(&self) -> u64 {
        self.first + u64::try_from(self.waiting.len()).unwrap_or_default()
    }

    /// Goes on until it has found enough who lack an event, or has come round.
    fn round(&mut self) -> Vec<(Arc<Inbound>, Batch)> {
        let (end, mut round) = (self.end(), Vec::with_capacity(TURN));
        let mut last: Option<(u64, Batch)> = None;
        for _ in 0..self.members.len() {
            if self.turn >= self.members.len() {
                self.turn = 0;
                self.forget(self.given_to_all());
            }
            let (first, waiting) = (self.first, &self.waiting);
            let member = self.members[self.turn].as_mut();
            self.turn += 1;
            let Some(member) = member.filter(|member| member.next < end) else { continue };
            // Most lack the same events: these are put together once.
            let batch = match &last {
                Some((next, batch)) if *next == member.next => batch.clone(),
                _ => {
                    let skipped = usize::try_from(member.next - first).unwrap_or(usize::MAX);
                    let Some(batch) = Batch::of(waiting, skipped) else { continue };
                    last.insert((member.next, batch)).1.clone()
                }
            };
            member.next += batch.entries;
            round.extend(member.inbound.upgrade().map(|inbound| (inbound, batch)));
            if round.len() == TURN {
                break;
            }
        }
        round
    }

    /// The number of the first event that somebody lacks.
    fn given_to_all(&self) -> u64 {
        self.members.iter().flatten().map(|member| member.next).min().unwrap_or_else(|| self.end())
    }

    /// Forgets the events before this one.
    fn forget(&mut self, number: u64) {
        while self.first < number
            && let Some(live) = self.waiting.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(live.weight(1));
            self.first += 1;
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new(); // a topic at rest holds no memory for a burst of before
        }
    }

    /// Gives everybody up.
    fn cut(&mut self) -> Reached {
        let mut reached = Reached::default();
        for member in self.present() {
            reached.count(member.cut(), 0);
        }
        let end = self.end();
        self.members.iter_mut().flatten().for_each(|member| member.next = end);
        self.forget(end);
        self.bytes = 0;
        reached
    }
}

/// What is written to a subscriber at once: events, or an end.
#[derive(Clone)]
struct Batch {
    live: Live,
    entries: u64,
    events: u64,
}

impl Batch {
    /// The first of what waits behind those that are skipped.
    fn of(waiting: &VecDeque<Live>, skipped: usize) -> Option<Self> {
        let mut waiting = waiting.iter().skip(skipped);
        let first = match waiting.next()? {
            Live::Events(first) => first,
            other => return Some(Self { live: other.clone(), entries: 1, events: 0 }),
        };
        let more = fitting(first.len(), waiting);
        let events = u64::try_from(more.len()).unwrap_or_default() + 1;
        Some(Self { live: Live::Events(together(first.clone(), &more)), entries: events, events })
    }
}

/// Some subscribers of a portion, and what is written to each.
pub(super) struct Round(Vec<(Arc<Inbound>, Batch)>);

impl Round {
    /// Writes. What a subscriber has no room for waits for it.
    pub(super) fn write(self) -> Reached {
        let mut reached = Reached::default();
        for (subscriber, batch) in self.0 {
            reached.count(subscriber.write(&batch.live, batch.events), batch.events);
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use std::sync::PoisonError;

    use bytes::Bytes;

    use super::*;

    type Written = Arc<Mutex<Vec<Vec<u8>>>>;

    /// A subscriber, and each of its writes; it has room for so many bytes.
    fn subscriber(shard: &Shard, room: usize) -> (Arc<Inbound>, Written) {
        let (inbound, written) = (Arc::new(Inbound::default()), Written::default());
        let (into, room) = (written.clone(), Mutex::new(room));
        inbound.set_outlet(Some(Box::new(move |bytes| {
            let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
            let some = bytes.len().min(*room);
            *room -= some;
            into.lock().unwrap_or_else(PoisonError::into_inner).push(bytes[..some].to_vec());
            some
        })));
        assert!(next(&inbound).is_none(), "nothing waits");
        shard.join(&inbound);
        (inbound, written)
    }

    fn next(inbound: &Inbound) -> Option<Live> {
        match inbound.poll_next(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(live) => Some(live),
            std::task::Poll::Pending => None,
        }
    }

    fn said(written: &Written) -> Vec<String> {
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        written.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    fn event(text: &'static str) -> Live {
        Live::Events(Bytes::from_static(text.as_bytes()))
    }

    fn write_all(shard: &Shard) -> u64 {
        std::iter::from_fn(|| shard.round()).map(|round| round.write().given).sum()
    }

    #[test]
    fn an_event_that_comes_during_a_round_goes_out_with_the_one_before() {
        let shard = Shard::default();
        let crowd: Vec<_> = (0..TURN * 3).map(|_| subscriber(&shard, usize::MAX)).collect();
        assert!(matches!(shard.fan_out(&event("a")), Fanned::Begins));
        assert_eq!(shard.round().expect("a round").write().given, 32);
        assert!(matches!(shard.fan_out(&event("b")), Fanned::Waits));
        assert_eq!(write_all(&shard), 32 * 5);
        for (number, (_, written)) in crowd.iter().enumerate() {
            let expected = if number < TURN { vec!["a", "b"] } else { vec!["ab"] };
            assert_eq!(said(written), expected, "{number}");
        }
        let state = shard.state();
        assert_eq!((state.waiting.len(), state.bytes, state.is_written), (0, 0, false));
    }

    #[test]
    fn what_a_subscriber_has_no_room_for_waits_for_it_in_order() {
        let shard = Shard::default();
        let crowd: Vec<_> = (0..=FEW).map(|_| subscriber(&shard, 3)).collect();
        for text in ["aa", "bb", "cc"] {
            shard.fan_out(&event(text));
            write_all(&shard);
        }
        for (inbound, written) in &crowd {
            assert_eq!(said(written), ["aa", "b"]);
            assert_eq!(next(inbound), Some(event("bcc")));
            assert_eq!(inbound.handed(), 3);
        }
    }

    #[test]
    fn who_joins_hears_what_comes_and_who_left_no_more() {
        let shard = Shard::default();
        let mut crowd: Vec<_> = (0..=FEW).map(|_| subscriber(&shard, usize::MAX)).collect();
        shard.fan_out(&event("a"));
        let (left, heard_by_left) = crowd.remove(3);
        assert!(shard.leave(&left) && !shard.leave(&left));
        let (_late, heard_late) = subscriber(&shard, usize::MAX);
        shard.fan_out(&event("b"));
        write_all(&shard);
        assert_eq!((said(&heard_by_left), said(&heard_late)), (vec![], vec!["b".to_owned()]));
        assert!(crowd.iter().all(|(_, written)| said(written) == ["ab"]));
        assert_eq!(shard.count(), FEW + 1);
        assert_eq!(shard.state().members.len(), FEW + 1, "the place was free");
    }

    #[test]
    fn an_end_is_apart_from_events() {
        let shard = Shard::default();
        let crowd: Vec<_> = (0..=FEW).map(|_| subscriber(&shard, usize::MAX)).collect();
        shard.fan_out(&event("a"));
        shard.fan_out(&Live::End(Bytes::from_static(b"end")));
        write_all(&shard);
        for (inbound, written) in &crowd {
            assert_eq!(said(written), ["a"]);
            assert_eq!(next(inbound), Some(Live::End(Bytes::from_static(b"end"))));
        }
    }

    #[test]
    fn a_backlog_is_bounded() {
        let shard = Shard::default();
        let crowd: Vec<_> = (0..=FEW).map(|_| subscriber(&shard, usize::MAX)).collect();
        let large = Live::Events(vec![b'x'; 1 << 20].into());
        let cut = (0..=16).find_map(|_| match shard.fan_out(&large) {
            Fanned::Out(reached) => Some(reached.cut),
            _ => None,
        });
        assert_eq!(cut, Some(9));
        assert_eq!(write_all(&shard), 0);
        assert!(crowd.iter().all(|(inbound, _)| next(inbound) == Some(Live::Overrun)));
    }
}
