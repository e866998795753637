//! The seats of one `[[worker]]`: how many there are, and their replacement one after the other.

use std::sync::Arc;

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    OrderError, Report, WorkerSpec,
    orders::Told,
    seat::{Ground, Seat, Wish},
};

/// What is wanted of a crew. Obeyed one after the other.
pub(crate) enum CrewOrder {
    /// Replaces every child.
    Restart(Told<usize>),
    /// Another number of seats.
    Scale(usize, Told<usize>),
    /// Another kind of children, and their number.
    Change(Arc<WorkerSpec>),
}

pub(crate) struct Crew {
    ground: Ground,
    spec: Arc<WorkerSpec>,
    seats: Vec<Place>,
    running: JoinSet<Report>,
    shutdown: CancellationToken,
    report: Report,
}

/// How to tell a seat something.
struct Place {
    wishes: mpsc::UnboundedSender<Wish>,
    retired: CancellationToken,
}

impl Crew {
    pub(crate) fn new(ground: Ground, spec: Arc<WorkerSpec>, shutdown: CancellationToken) -> Self {
        let (seats, running, report) = Default::default();
        Self { ground, spec, seats, running, shutdown, report }
    }

    /// Keeps the seats taken until `shutdown`, or until nobody can give orders any more.
    pub(crate) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<CrewOrder>) -> Report {
        self.scale(self.spec.count);
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => break,
                },
                Some(seat) = self.running.join_next() => self.count(seat),
            }
        }
        self.scale(0);
        while let Some(seat) = self.running.join_next().await {
            self.count(seat);
        }
        self.report
    }

    fn count(&mut self, seat: Result<Report, tokio::task::JoinError>) {
        match seat {
            Ok(report) => self.report += report,
            Err(error) => error!(%error, worker = self.spec.name, "the watch over a worker failed"),
        }
    }

    async fn obey(&mut self, order: CrewOrder) {
        match order {
            CrewOrder::Scale(count, told) => {
                let before = self.seats.len();
                self.scale(count);
                told.send(Ok(before)).ok(); // who gave the order need not wait
            }
            CrewOrder::Restart(told) => {
                let rolled = self.roll().await;
                told.send(rolled).ok(); // as above
            }
            CrewOrder::Change(spec) => {
                let same = self.spec.does_as(&spec);
                self.spec = spec;
                // The first seats stay, whatever they hold; new ones begin as the new kind.
                self.retire_beyond(self.spec.count);
                if !same && let Err(error) = self.roll().await {
                    error!(worker = self.spec.name, %error, "not all children were replaced");
                }
                self.scale(self.spec.count);
            }
        }
    }

    /// Adds seats, or retires the last ones.
    fn scale(&mut self, count: usize) {
        self.retire_beyond(count);
        while self.seats.len() < count {
            let retired = self.shutdown.child_token();
            let number = self.seats.len() + 1;
            let (seat, wishes) = Seat::new(self.ground.clone(), self.spec.clone(), number, retired.clone());
            self.running.spawn(seat.run());
            self.seats.push(Place { wishes, retired });
        }
    }

    /// Children beyond this number finish what they hold, which nobody waits for.
    fn retire_beyond(&mut self, count: usize) {
        self.seats.drain(count.min(self.seats.len())..).for_each(|place| place.retired.cancel());
    }

    /// Replaces the children one after the other. Ends with the first that does not come up.
    async fn roll(&mut self) -> Result<usize, OrderError> {
        for (index, place) in self.seats.iter().enumerate() {
            let (told, heard) = oneshot::channel();
            let wish = Wish::Replace { spec: self.spec.clone(), told };
            if place.wishes.send(wish).is_err() {
                continue; // its watch failed, which was said
            }
            let heard = self.shutdown.run_until_cancelled(heard).await;
            match heard {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(trouble))) => {
                    let label = format!("{}.{}", self.spec.name, index + 1);
                    return Err(OrderError::Failed(format!("{label}: {trouble}")));
                }
                Some(Err(_)) | None => return Err(OrderError::Stopping),
            }
        }
        Ok(self.seats.len())
    }
}
