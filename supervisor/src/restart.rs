//! Restarts that somebody wants: who may ask, and how seats hear it.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

use crate::WorkerSpec;

/// Restarts workers of a supervisor while it runs. Cheap to clone.
///
/// A restart is one child after the other in the same seat: the next one is started first, and when it is there the one
/// before is told to finish what it holds. One that does not come up changes nothing.
#[derive(Clone, Debug)]
pub struct Restarts {
    wanted: Arc<BTreeMap<String, watch::Sender<()>>>,
}

impl Restarts {
    pub(crate) fn of(workers: &[WorkerSpec]) -> Self {
        let wanted = workers.iter().map(|worker| (worker.name.clone(), watch::Sender::new(()))).collect();
        Self { wanted: Arc::new(wanted) }
    }

    /// Restarts every child of the worker of this name. Does not wait; what becomes of it is said in the output. Several
    /// wishes that come before a child has been started count once.
    ///
    /// Gives whether there is such a worker.
    pub fn restart(&self, name: &str) -> bool {
        let wanted = self.wanted.get(name);
        wanted.is_some_and(|wanted| {
            wanted.send_replace(());
            true
        })
    }

    pub(crate) fn of_worker(&self, name: &str) -> Wanted {
        Wanted(self.wanted.get(name).map(watch::Sender::subscribe))
    }
}

/// What one seat hears of wishes for restarts.
pub(crate) struct Wanted(Option<watch::Receiver<()>>);

impl Wanted {
    /// Waits for a wish that came after the last [`Wanted::met`]. Cancel-safe.
    pub(crate) async fn heard(&mut self) {
        let heard = match &mut self.0 {
            Some(wanted) => wanted.changed().await.is_ok(),
            None => false,
        };
        if !heard {
            std::future::pending::<()>().await;
        }
    }

    /// A child that is started from here on meets all wishes so far.
    pub(crate) fn met(&mut self) {
        if let Some(wanted) = &mut self.0 {
            wanted.mark_unchanged();
        }
    }
}
