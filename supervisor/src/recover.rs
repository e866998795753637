//! Recovery of what a child held, as soon as its death is known.

use std::time::Duration;

use tempest_broker::{Broker, Mode, Recovered};
use tempest_protocol::{JobId, RECONNECT};
use tracing::warn;

/// A claim or a beat that the child had sent when it died may reach Redis after the first look.
const SECOND_LOOK: Duration = Duration::from_millis(200);

/// What to recover.
pub(crate) struct Lost {
    /// The tag of a child that is gone.
    pub(crate) tag: String,
    /// How it died, for whoever waited.
    pub(crate) cause: String,
    /// Jobs that were cancelled: they are dropped.
    pub(crate) cancelled: Vec<JobId>,
}

/// Recovers until Redis has confirmed it, then once more.
pub(crate) async fn recover(broker: &Broker, lost: &Lost) -> Recovered {
    let mut recovered = insist(broker, lost).await;
    tokio::time::sleep(SECOND_LOOK).await;
    recovered += insist(broker, lost).await;
    recovered
}

/// Tags are never used again, so this stays right however late it succeeds.
async fn insist(broker: &Broker, lost: &Lost) -> Recovered {
    let Lost { tag, cause, cancelled } = lost;
    for failures in 1.. {
        match broker.recover_tag(tag, cause, Mode::Drop(cancelled)).await {
            Ok(recovered) => return recovered,
            Err(error) if failures == 1 => warn!(%error, tag, "cannot recover yet; trying again"),
            Err(_) => {}
        }
        tokio::time::sleep(RECONNECT.bound(failures).mul_f64(fastrand::f64())).await;
        broker.up().await;
    }
    unreachable!("the loop ends only with a recovery")
}
