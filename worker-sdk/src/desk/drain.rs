//! The end of a worker: nothing new, give back, let finish, cut short, leave (SPEC "Drain").

use std::time::Duration;

use futures_util::StreamExt;
use tempest_protocol::limits;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::{Desk, places::Place};
use crate::Report;

/// How long one step of the end that needs Redis may take.
const STEP: Duration = Duration::from_secs(2);
/// How often claims that block are told to come back: the first time they may not have begun to block.
const WAKE: Duration = Duration::from_millis(20);

impl Desk {
    pub(super) async fn end(mut self) -> Report {
        let running = self.tasks.len();
        info!(running, "draining: no new jobs");
        let until = Instant::now() + self.grace;
        self.about["state"] = "draining".into();
        if timeout(STEP, self.lease.set_about(&self.about)).await.is_err() {
            warn!("Redis does not answer; draining without it");
        }
        self.give_back_backlog().await;
        self.bring_claims_home().await;
        self.let_finish(until).await;
        if !self.tasks.is_empty() {
            warn!(running = self.tasks.len(), "the time to finish is over; what runs is cut short");
            self.shared.abort.cancel();
            self.let_finish(Instant::now() + limits::BLOCK_ANSWER).await;
        }
        self.shared.kept.close();
        if timeout(until.saturating_duration_since(Instant::now()).max(STEP), self.shared.kept.wait())
            .await
            .is_err()
        {
            warn!(replies = self.shared.kept.len(), "replies that Redis refused are given up");
        }
        self.leave().await
    }

    async fn give_back_backlog(&mut self) {
        while let Some((spot, frame, lapses)) = self.backlog.pop_back() {
            match self.is_fenced(lapses) {
                true => self.places[spot.place].forget(spot, &frame),
                false => self.give_back(spot, &frame).await,
            }
        }
    }

    /// Wakes the claims that block, reads their answers and gives back what they bring.
    async fn bring_claims_home(&mut self) {
        let home = async {
            while !self.claims.is_empty() {
                self.wake_claims().await;
                tokio::select! {
                    Some(came) = self.claims.next() => self.take_in(came).await,
                    () = sleep(WAKE) => {}
                }
            }
        };
        if timeout(limits::BLOCK_IDLE + 2 * STEP, home).await.is_err() {
            warn!("a claim did not come back; its connection is closed");
        }
        self.claims.clear();
        self.give_back_backlog().await;
    }

    /// Waits for the jobs that run. Cancels still reach them.
    async fn let_finish(&mut self, until: Instant) {
        let mut ended = Vec::new();
        while !self.tasks.is_empty() {
            tokio::select! {
                _ = self.ends.recv_many(&mut ended, 64) => self.release(&mut ended),
                control = self.controls.next() => {
                    self.shared.obey(&control, self.lease.worker());
                }
                () = sleep_until(until) => return,
                () = sleep(WAKE) => {} // a task is counted a moment longer than it reports
            }
        }
        while let Ok(one) = self.ends.try_recv() {
            ended.push(one);
        }
        self.release(&mut ended);
    }

    /// Gives back what still came, then leaves; unless something of this worker's is left: then its slots stay
    /// registered and its lease runs out, so that recovery finds it.
    async fn leave(mut self) -> Report {
        let last_look = async {
            self.unsure = false;
            self.look_everywhere().await;
            self.give_back_backlog().await;
        };
        let looked = timeout(STEP, last_look).await.is_ok() && !self.unsure;
        let left = self.places.iter().map(Place::jobs).sum::<usize>();
        let report =
            self.shared.counts.report(self.started.elapsed(), u64::try_from(left).unwrap_or(u64::MAX));
        if looked && left == 0 {
            match timeout(STEP, self.lease.leave()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "could not leave; the lease runs out by itself"),
                Err(_) => warn!("could not leave in time; the lease runs out by itself"),
            }
        } else {
            warn!(jobs = left, "jobs are left behind; recovery finds them");
        }
        report
    }
}
