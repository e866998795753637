//! Moves jobs to their lanes when they are due: at that moment, as far as the keeper has seen them wait, else with its next
//! look. A task of its own, so that a hundred thousand that are due at once hold up nothing else.

use std::time::Duration;

use tempest_protocol::Queue;
use tokio::sync::watch;
use tracing::debug;

use crate::{Broker, Error};

/// What is in trouble while nothing is promoted.
const PART: &str = "jobs that are due";
/// How long it sleeps at least: what is due within this time goes together.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Promotes what is due, for ever. `looks` counts the looks of the keeper.
pub(super) async fn promote(broker: Broker, mut looks: watch::Receiver<u64>) {
    let mut due_in: Option<Duration> = None;
    loop {
        tokio::select! {
            changed = looks.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(due_in.unwrap_or_default().max(PAUSE_MIN)), if due_in.is_some() => {}
        }
        due_in = match promote_all(&broker).await {
            Ok(due_in) => {
                broker.stats().faults.well(PART);
                due_in
            }
            Err(error) => {
                broker.stats().faults.failed(PART, &error);
                None
            }
        };
    }
}

/// Promotes what is due in the queues that have something for later. Gives when the next is due.
async fn promote_all(broker: &Broker) -> Result<Option<Duration>, Error> {
    let presence = broker.presence();
    let delayed: Vec<Queue> = presence.queues().filter(|queue| presence.later(queue) > 0).cloned().collect();
    let mut first: Option<u64> = None;
    for queue in &delayed {
        let promoted = broker.promote(queue).await?;
        if promoted > 0 {
            debug!(%queue, promoted, "jobs are due");
        }
        let due = broker.next_due_ms(queue).await?;
        first = first.into_iter().chain(due).min();
    }
    Ok(first.map(|due_ms| Duration::from_millis(due_ms.saturating_sub(broker.now_ms()))))
}
