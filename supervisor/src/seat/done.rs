//! What a seat has done so far, and what it has left to others: children on their way out, and what they held.

use std::sync::{Arc, Mutex, PoisonError};

use tempest_broker::{Broker, Recovered};
use tempest_protocol::JobId;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::task::TaskTracker;

use super::{Ground, Started, note};
use crate::{
    Report,
    recover::{Lost, recover},
};

/// How long the end waits for recoveries while Redis is away. Any keeper finds what is left.
const LAST_RECOVERY: std::time::Duration = std::time::Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Done {
    pub(super) report: Report,
    recoveries: Recoveries,
    /// Children that finish what they hold. Each gives whether it had to be killed.
    leaving: JoinSet<bool>,
}

/// Recoveries under way, which do not hold up the next start.
#[derive(Clone, Default)]
struct Recoveries {
    tasks: TaskTracker,
    done: Arc<Mutex<Recovered>>,
}

impl Done {
    /// Lets a child finish what it holds, which holds up nobody. `cause`: why it had to go, if that is the reason why
    /// its jobs are lost.
    pub(super) fn leave(
        &mut self,
        ground: &Ground,
        label: &str,
        before: Started,
        cause: Option<String>,
        cancelled: Vec<JobId>,
    ) {
        let (ground, label, recoveries) = (ground.clone(), label.to_owned(), self.recoveries.clone());
        let Started { mut child, tag, pulse } = before;
        self.leaving.spawn(async move {
            let (pid, death) = (child.id(), child.stop(ground.options.grace).await);
            child.kill_rest();
            drop(pulse);
            let told = cause.unwrap_or_else(|| death.cause.clone());
            recoveries.begin(&ground.broker, Lost { tag, cause: told, cancelled });
            child.drained().await;
            note(
                &ground.output,
                &label,
                format!("replaced (pid {}, {})", pid.unwrap_or_default(), death.cause),
            );
            death.killed
        });
    }

    /// First the group, so that nothing goes on beating; then at once what it held. Gives its last words.
    pub(super) async fn bury(
        &self,
        ground: &Ground,
        dead: Started,
        cause: String,
        cancelled: Vec<JobId>,
    ) -> String {
        let Started { child, tag, pulse } = dead;
        child.kill_rest();
        drop(pulse);
        self.recoveries.begin(&ground.broker, Lost { tag, cause, cancelled });
        child.drained().await;
        child.last_words()
    }

    /// Waits for what was left to others.
    pub(super) async fn finish(mut self) -> Report {
        while let Some(left) = self.leaving.join_next().await {
            self.report.killed += u64::from(left.unwrap_or_default());
        }
        self.report.recovered = self.recoveries.finish().await;
        self.report
    }
}

impl Recoveries {
    fn begin(&self, broker: &Broker, lost: Lost) {
        let (done, broker) = (self.done.clone(), broker.clone());
        self.tasks.spawn(async move {
            let recovered = recover(&broker, &lost).await;
            *done.lock().unwrap_or_else(PoisonError::into_inner) += recovered;
        });
    }

    async fn finish(self) -> Recovered {
        self.tasks.close();
        timeout(LAST_RECOVERY, self.tasks.wait()).await.ok();
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
