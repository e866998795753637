//! Queues that are paused or have limits: what is claimed of them, and when (SPEC "Background jobs", Limits).

use bytes::Bytes;
use tempest_broker::{Control, Error, RunList, Took};
use tempest_protocol::{Lane, limits};
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

    /// Learns which queues have limits. A claim that blocks on one of them without heeding it is called back.
    pub(super) async fn read_limits(&mut self) {
        let queues: Vec<_> = self.places.iter().map(|place| place.queue()).collect();
        let are_governed = match self.shared.broker.are_governed(&queues).await {
            Ok(are_governed) => are_governed,
            Err(error) => {
                debug!(%error, "the limits of the queues could not be read");
                return;
            }
        };
        let news = self.places.iter_mut().zip(are_governed).map(|(place, is)| place.govern(is));
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
            Took::Full => limits::LIMITED_PAUSE,
            Took::Paused => limits::BEAT,
        };
        self.places[place].wait(source, Instant::now() + wait);
        Ok(Vec::new())
    }
}
