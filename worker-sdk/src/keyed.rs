//! Jobs that exclude each other by a key: whether one may run, and who comes next (SPEC "Background jobs", Limits).

use std::time::Duration;

use tempest_broker::{Admitted, Error, RunList};
use tempest_protocol::{Job, Tag};
use tracing::debug;

use crate::shared::{Held, Shared};

/// How often a question is asked that Redis refuses; then it waits for the keeper's next look.
const TRIES: u32 = 5;

/// Asks until it is known whether a claimed job may run. False: it lies in the run list no more.
pub(crate) async fn admit(shared: &Shared, held: &Held, job: &Job, key: &Tag) -> bool {
    let mut failures = 0;
    loop {
        match shared.broker.admit(&held.run, &held.frame, key, job.envelope.record_id()).await {
            Ok(admitted) => return admitted == Admitted::Runs,
            Err(error) => pause(&error, &mut failures).await,
        }
    }
}

/// Lets the next job of the key come.
pub(crate) async fn release(shared: &Shared, run: &RunList, key: &Tag) {
    let mut failures = 0;
    while let Err(error) = shared.broker.release(run.queue(), key, Some(run)).await {
        // While Redis is away nothing else goes on either. What it refuses a human must mend.
        if failures >= TRIES && matches!(error, Error::Refused { .. }) {
            return;
        }
        pause(&error, &mut failures).await;
    }
}

async fn pause(error: &Error, failures: &mut u32) {
    *failures += 1;
    debug!(%error, failures, "a key is not answered for; trying on");
    let pause = error.trouble().pause(*failures).min(Duration::from_secs(1));
    tokio::time::sleep(pause.max(Duration::from_millis(5))).await;
}
