//! What somebody wants of a running supervisor.

use std::collections::BTreeSet;

use tempest_protocol::{JobId, Queue};
use tokio::sync::{mpsc, oneshot};

use crate::{ChildState, WorkerSpec, view::Views};

/// Orders to a running supervisor, and what is to be seen of it. Cheap to clone.
///
/// An order is given by the call; the future tells what became of it and need not be awaited. Orders to workers of one
/// name are obeyed one after the other.
#[derive(Clone)]
pub struct Orders {
    sender: mpsc::UnboundedSender<Order>,
    views: Views,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// There is no worker of this name.
    Unknown(String),
    /// A child did not come up; those before it were replaced, it and those after it work on as before.
    Failed(String),
    /// The supervisor stops.
    Stopping,
}

impl std::fmt::Display for OrderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no worker {name:?}"),
            Self::Failed(trouble) => f.write_str(trouble),
            Self::Stopping => f.write_str("the supervisor stops"),
        }
    }
}

impl std::error::Error for OrderError {}

/// What becomes of an order.
pub(crate) type Told<T> = oneshot::Sender<Result<T, OrderError>>;

pub(crate) enum Order {
    Restart { name: String, told: Told<usize> },
    Scale { name: String, count: usize, told: Told<usize> },
    Apply { workers: Vec<WorkerSpec>, told: Told<Applied> },
    End { tag: String, cause: String, cancelled: Vec<JobId> },
}

/// What other `[[worker]]`s changed. Names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// New ones; their children are being started.
    pub added: Vec<String>,
    /// Those that are gone; their children finish what they hold.
    pub removed: Vec<String>,
    /// Those that do something else now; their children are being replaced.
    pub changed: Vec<String>,
    /// Those that have another number of children only.
    pub scaled: Vec<String>,
}

impl Orders {
    pub(crate) fn new(sender: mpsc::UnboundedSender<Order>, views: Views) -> Self {
        Self { sender, views }
    }

    /// Replaces the children of the worker of this name, one after the other: the next one is started first, and when
    /// it works the one before is told to finish what it holds, which nobody waits for. Gives how many were replaced.
    ///
    /// Errors: there is no such worker; a child did not come up, and the roll ends there.
    pub fn restart(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<usize, OrderError>> + Send + 'static + use<> {
        heard(self.give(|told| Order::Restart { name: name.to_owned(), told }))
    }

    /// Starts or ends children of the worker of this name until there are so many. Those that end finish what they
    /// hold, which nobody waits for. Gives how many there were.
    ///
    /// Errors: there is no such worker.
    pub fn scale(
        &self,
        name: &str,
        count: usize,
    ) -> impl Future<Output = Result<usize, OrderError>> + Send + 'static + use<> {
        heard(self.give(|told| Order::Scale { name: name.to_owned(), count, told }))
    }

    /// Runs these workers from now on. Children of those that do something else now are replaced as by
    /// [`Orders::restart`], which is not waited for.
    ///
    /// Errors: the supervisor stops.
    pub fn apply(
        &self,
        workers: Vec<WorkerSpec>,
    ) -> impl Future<Output = Result<Applied, OrderError>> + Send + 'static + use<> {
        heard(self.give(|told| Order::Apply { workers, told }))
    }

    /// Ends the child with this tag, if it still runs: `SIGTERM`, grace, `SIGKILL`. Another takes its place at once.
    /// `cause` is told to whoever waits for what it held, but the cancelled jobs among that vanish.
    pub(crate) fn end(&self, tag: &str, cause: &str, cancelled: Vec<JobId>) {
        // Without a supervisor no child runs.
        let (tag, cause) = (tag.to_owned(), cause.to_owned());
        self.sender.send(Order::End { tag, cause, cancelled }).ok();
    }

    /// Every seat and its child, in order of name and number.
    pub fn states(&self) -> Vec<ChildState> {
        self.views.states()
    }

    /// The queues that children work on.
    pub(crate) fn queues(&self) -> BTreeSet<Queue> {
        self.views.seats().values().flat_map(|seen| seen.spec.queues.clone()).collect()
    }

    fn give<T>(&self, order: impl FnOnce(Told<T>) -> Order) -> oneshot::Receiver<Result<T, OrderError>> {
        let (told, heard) = oneshot::channel();
        // A supervisor that is gone drops the order, and with it the other end.
        self.sender.send(order(told)).ok();
        heard
    }
}

async fn heard<T>(answer: oneshot::Receiver<Result<T, OrderError>>) -> Result<T, OrderError> {
    answer.await.unwrap_or(Err(OrderError::Stopping))
}
