//! From a claimed job to a task of its own, and back to a free slot.

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

use super::{Desk, places::Spot};
use crate::{
    running,
    shared::{Held, Next},
};

impl Desk {
    /// Starts what was found in run lists, unless others may have taken it away meanwhile.
    pub(super) fn start_backlog(&mut self) {
        while self.permits > 0
            && let Some((spot, frame, lapses)) = self.backlog.pop_front()
        {
            if self.is_fenced(lapses) {
                self.places[spot.place].forget(spot, &frame);
                self.unsure = true;
            } else {
                self.start(spot, frame);
            }
        }
    }

    /// Starts a job that its slot knows already. Needs a permit.
    pub(super) fn start(&mut self, spot: Spot, frame: Bytes) {
        self.permits -= 1;
        self.shared.rest(false);
        self.lease.wake();
        let is_governed = self.places[spot.place].is_governed();
        let chainable = self.loaded && self.places.len() == 1 && !is_governed && !self.drain.is_cancelled();
        let place = &mut self.places[spot.place];
        let chain = if chainable { place.chain(spot) } else { None };
        let run = place.run(spot).clone();
        let held = Held { run, frame: frame.clone(), chain, begun: Instant::now() };
        let next = if chain.is_some() { Next::Lost } else { Next::Unasked };
        let end = End { spot, frame, lapses: self.lease.lapses(), next };
        let (shared, mut telling) =
            (self.shared.clone(), Telling { end: Some(end), to: self.report.clone() });
        self.tasks.spawn(async move {
            let (ending, next) = running::run(&shared, held).await;
            shared.counts.add(ending);
            telling.with(next);
        });
    }

    /// Frees the slots of jobs that ended, and takes over what their acks brought along.
    pub(super) fn release(&mut self, ended: &mut Vec<End>) {
        for End { spot, frame, lapses, next } in ended.drain(..) {
            let place = &mut self.places[spot.place];
            place.ended(spot, &frame);
            self.permits += 1;
            match next {
                Next::Unasked => {}
                Next::Came(None) => self.loaded = false,
                Next::Came(Some(frame)) => {
                    place.know(spot, frame.clone());
                    self.backlog.push_back((spot, frame, lapses));
                }
                Next::Lost => self.unsure = true,
            }
        }
    }
}

/// A job that ended.
pub(super) struct End {
    spot: Spot,
    frame: Bytes,
    /// The lease's lapses when it began.
    lapses: u64,
    next: Next,
}

/// Tells the desk the end of a job, also if its task panicked.
struct Telling {
    end: Option<End>,
    to: mpsc::UnboundedSender<End>,
}

impl Telling {
    /// What the ack brought along.
    fn with(&mut self, next: Next) {
        if let Some(end) = &mut self.end {
            end.next = next;
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.to.send(end).ok(); // the desk is gone only when the worker has ended
        }
    }
}
