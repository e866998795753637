//! All crews: which there are, and who is told what.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::{
    Applied, OrderError, Report, WorkerSpec,
    crew::{Crew, CrewOrder},
    orders::{Order, Told},
    seat::{Ground, Wish},
};

/// The crews, one for each `[[worker]]`.
pub(crate) struct Roster {
    ground: Ground,
    shutdown: CancellationToken,
    crews: BTreeMap<String, Enlisted>,
    running: JoinSet<Report>,
}

/// A crew, and what it was told last.
struct Enlisted {
    spec: Arc<WorkerSpec>,
    orders: mpsc::UnboundedSender<CrewOrder>,
}

impl Roster {
    /// Begins with these workers, which run as soon as it is polled.
    pub(crate) fn new(ground: Ground, workers: Vec<WorkerSpec>, shutdown: CancellationToken) -> Self {
        let mut roster = Self { ground, shutdown, crews: BTreeMap::new(), running: JoinSet::new() };
        roster.apply(workers);
        roster
    }

    /// Obeys until `shutdown`, then waits for all crews.
    pub(crate) async fn run(mut self, mut given: mpsc::UnboundedReceiver<Order>) -> Report {
        let mut report = Report::default();
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                Some(order) = given.recv() => self.obey(order),
                Some(crew) = self.running.join_next() => report += ended(crew),
            }
        }
        while let Some(crew) = self.running.join_next().await {
            report += ended(crew);
        }
        report
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Restart { name, told } => self.pass_on(&name, told, CrewOrder::Restart),
            Order::Scale { name, count, told } => {
                self.pass_on(&name, told, |told| CrewOrder::Scale(count, told));
            }
            Order::Apply { workers, told } => {
                told.send(Ok(self.apply(workers))).ok(); // who gave the order need not wait
            }
            Order::End { tag, cause, cancelled } => {
                let seats = self.ground.views.seats();
                if let Some(seen) = seats.values().find(|seen| seen.state.tag.as_ref() == Some(&tag)) {
                    // A seat that is being given up ends its child anyway.
                    seen.wishes.send(Wish::End { tag, cause, cancelled }).ok();
                }
            }
        }
    }

    fn pass_on(&self, name: &str, told: Told<usize>, order: impl FnOnce(Told<usize>) -> CrewOrder) {
        match self.crews.get(name) {
            // A crew that is gone drops the order, which tells so.
            Some(crew) => drop(crew.orders.send(order(told))),
            None => drop(told.send(Err(OrderError::Unknown(name.to_owned())))),
        }
    }

    /// Makes crews, ends crews and changes crews until they are as these workers want.
    fn apply(&mut self, workers: Vec<WorkerSpec>) -> Applied {
        let mut applied = Applied::default();
        let wanted: BTreeMap<_, _> =
            workers.into_iter().map(|spec| (spec.name.clone(), Arc::new(spec))).collect();
        self.crews.retain(|name, _| {
            let stays = wanted.contains_key(name);
            if !stays {
                applied.removed.push(name.clone());
            }
            stays
        });
        for (name, spec) in wanted {
            match self.crews.get_mut(&name) {
                None => {
                    self.enlist(spec);
                    applied.added.push(name);
                }
                Some(crew) if crew.spec != spec => {
                    let kind =
                        if crew.spec.does_as(&spec) { &mut applied.scaled } else { &mut applied.changed };
                    kind.push(name);
                    crew.spec = spec.clone();
                    crew.orders.send(CrewOrder::Change(spec)).ok(); // it ends only with the supervisor
                }
                Some(_) => {}
            }
        }
        applied
    }

    fn enlist(&mut self, spec: Arc<WorkerSpec>) {
        let (orders, given) = mpsc::unbounded_channel();
        let crew = Crew::new(self.ground.clone(), spec.clone(), self.shutdown.clone());
        self.running.spawn(crew.run(given));
        self.crews.insert(spec.name.clone(), Enlisted { spec, orders });
    }
}

fn ended(crew: Result<Report, JoinError>) -> Report {
    crew.unwrap_or_else(|error| {
        error!(%error, "the watch over the workers of one name failed");
        Report::default()
    })
}
