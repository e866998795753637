//! Queues that are paused or have limits: what is claimed of them, and when (SPEC "Background jobs", Limits).

use bytes::Bytes;
use tempest_broker::{Control, Error, QueueLimits, RunList, Took};
use tempest_protocol::{Lane, Queue, limits};
use tokio::time::Instant;
use tracing::debug;

use super::Desk;

impl Desk {
    /// Carries out a control line.
    pub(super) async fn obey(&mut self, control: &Control) {
        if *control == Control::Limits {
            self.read_limits().await;
        } else if self.shared.obey(control, self.lease.worker()) {
            self.drain.cancel();
        }
    }

    /// Looks for lost claims and for other limits, in one write: it is writes that a worker at rest costs Redis.
    pub(super) async fn look_after_beat(&mut self) {
        let (shared, queues) = (self.shared.clone(), self.queues());
        let (limits, ()) = tokio::join!(shared.broker.limits_of(&queues), self.look_everywhere());
        self.heed(limits).await;
    }

    /// Learns which queues have limits.
    pub(super) async fn read_limits(&mut self) {
        let limits = self.shared.broker.limits_of(&self.queues()).await;
        self.heed(limits).await;
    }

    fn queues(&self) -> Vec<Queue> {
        self.places.iter().map(|place| place.queue().clone()).collect()
    }

    /// A claim that blocks on a queue that has limits without heeding them is called back.
    async fn heed(&mut self, limits: Result<Vec<QueueLimits>, Error>) {
        let limits = match limits {
            Ok(limits) => limits,
            Err(error) => {
                debug!(%error, "the limits of the queues could not be read");
                return;
            }
        };
        let news =
            self.places.iter_mut().zip(limits).map(|(place, limits)| place.govern(limits.is_limited()));
        if news.fold(false, |any, is_news| any | is_news) {
            self.wake_claims().await;
        }
    }

    /// Claims as far as the limits allow; if they do not, this lane is left alone for as long as they say.
    pub(super) async fn take_within_limits(
        &mut self,
        place: usize,
        source: usize,
        lane: Lane,
        runs: &[RunList],
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let wait = match self.shared.broker.take_within_limits(lane, runs).await? {
            Took::Jobs(jobs) => return Ok(jobs.into_iter().map(Some).collect()),
            // No longer than limits stay unread: they may be other ones by then.
            Took::Wait(wait) => wait.min(limits::BEAT),
            Took::Full => {
                self.places[place].wait_for_an_end(source, Instant::now() + limits::LIMITED_PAUSE);
                return Ok(Vec::new());
            }
            Took::Paused => limits::BEAT,
        };
        self.places[place].wait(source, Instant::now() + wait);
        Ok(Vec::new())
    }
}
