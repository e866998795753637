//! Jobs that were cancelled and do not stop: the worker that holds one is ended, if the route wants it so (SPEC "Control").

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use tempest_broker::{Broker, Control, Controls, has_tag};
use tempest_protocol::{JobId, Queue};
use tokio::{task::JoinSet, time::interval};
use tracing::{debug, info};

use crate::Orders;

/// How often to look whether the children work on other queues now.
const LOOK: Duration = Duration::from_secs(1);
/// What is told to whoever waits for another job that the same worker held.
const CAUSE: &str = "ended because a cancelled job did not stop";

/// Listens to the control channels of the children's queues and ends those that hold a job for too long, until it is
/// dropped.
pub(crate) async fn obey(broker: &Broker, orders: &Orders) {
    let mut ending = JoinSet::new();
    let mut listening: Option<(BTreeSet<Queue>, Controls)> = None;
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            control = next(listening.as_mut().map(|(_, controls)| controls)) => {
                if let Control::Kill(id, after) = control {
                    let queues = listening.as_ref().map(|(queues, _)| queues.clone()).unwrap_or_default();
                    ending.spawn(end(broker.clone(), orders.clone(), queues, id, after));
                }
            }
            _ = look.tick() => {
                let queues = orders.queues();
                if !queues.is_empty() && listening.as_ref().is_none_or(|(heard, _)| *heard != queues) {
                    // The one before is heard until the new one is there.
                    let list: Vec<_> = queues.iter().cloned().collect();
                    listening = Some((queues, broker.controls(&list).await));
                }
            }
            Some(_) = ending.join_next() => {}
        }
    }
}

async fn next(controls: Option<&mut Controls>) -> Control {
    match controls {
        Some(controls) => controls.next().await,
        None => std::future::pending().await,
    }
}

/// Ends the child that holds this job, if one still does after this time.
async fn end(broker: Broker, orders: Orders, queues: BTreeSet<Queue>, id: JobId, after: Duration) {
    let asked = Instant::now();
    tokio::time::sleep(after).await;
    let tags: Vec<_> = orders.states().into_iter().filter_map(|state| state.tag).collect();
    for queue in &queues {
        let holder = broker.holder(queue, &id, |worker| tags.iter().any(|tag| has_tag(worker, tag))).await;
        match holder {
            Ok(Some(worker)) => {
                let Some(tag) = tags.iter().find(|tag| has_tag(&worker, tag)) else { continue };
                let waited_ms = asked.elapsed().as_millis();
                info!(%queue, %worker, %id, waited_ms, "a cancelled job does not stop; ending its worker");
                orders.end(tag, CAUSE, vec![id]);
                return;
            }
            Ok(None) => {}
            Err(error) => debug!(%queue, %error, "cannot see who holds a cancelled job"),
        }
    }
}
