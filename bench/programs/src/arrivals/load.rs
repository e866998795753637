//! Who asks: arrivals that wait for nobody, or clients that wait for their answer.

use std::{
    cell::RefCell,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, LocalSet},
    time::timeout,
};

use crate::{
    connection::Connection,
    record::{Answer, Record},
    schedule::{self, Phase},
};

/// Who is asked, and for what.
pub(crate) struct Target {
    port: u16,
    request: Vec<u8>,
    patience: Duration,
    /// How many requests may wait at once. Whoever comes then waits for its turn, and that counts as its wait.
    places: Semaphore,
    /// Connections on which nobody waits: the last one that was used is used first.
    idle: RefCell<Vec<Connection>>,
    records: RefCell<Vec<Record>>,
    begin: Instant,
}

impl Target {
    /// Opens the connections; time begins when all are open.
    ///
    /// Errors: one of them does not open.
    pub(crate) async fn open(
        port: u16,
        path: &str,
        patience: Duration,
        connections: usize,
    ) -> anyhow::Result<Rc<Self>> {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: text/plain\r\n\r\n").into_bytes();
        let mut idle = Vec::with_capacity(connections);
        for _ in 0..connections {
            idle.push(Connection::open(port).await.context("a connection does not open")?);
        }
        let (idle, records, places) = (RefCell::new(idle), RefCell::default(), Semaphore::new(connections));
        Ok(Rc::new(Self { port, request, patience, places, idle, records, begin: Instant::now() }))
    }

    /// One request that was due then, whatever becomes of it.
    async fn ask(&self, due: Instant) {
        let sent = Instant::now();
        let answer = timeout(self.patience, self.answer()).await.unwrap_or_else(|_| Answer::none("hung"));
        let since = |at: Instant| at.duration_since(self.begin).as_micros();
        let record =
            Record { due_us: since(due), sent_us: since(sent), ended_us: since(Instant::now()), answer };
        self.records.borrow_mut().push(record);
    }

    async fn answer(&self) -> Answer {
        let Ok(_place) = self.places.acquire().await else { return Answer::none("unreached") };
        let kept = self.idle.borrow_mut().pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => match Connection::open(self.port).await {
                Ok(connection) => connection,
                Err(_) => return Answer::none("unreached"),
            },
        };
        match connection.ask(&self.request).await {
            Some((answer, stays)) => {
                if stays {
                    self.idle.borrow_mut().push(connection);
                }
                answer
            }
            None => Answer::none("cut"),
        }
    }

    fn records(&self) -> Vec<Record> {
        self.records.take()
    }
}

/// Asks whenever a request is due.
///
/// Errors: the thread that keeps the times failed.
pub(crate) async fn open(target: Rc<Target>, phases: &[Phase], seed: u64) -> anyhow::Result<Vec<Record>> {
    let (begin, times) = (target.begin, schedule::times(phases, seed));
    let (ring, mut due) = mpsc::unbounded_channel();
    let clock = thread::spawn(move || schedule::ring(begin, times, &ring));
    let asker = target.clone();
    LocalSet::new()
        .run_until(async move {
            let mut asked = JoinSet::new();
            while let Some(at) = due.recv().await {
                let asker = asker.clone();
                asked.spawn_local(async move { asker.ask(at).await });
                while asked.try_join_next().is_some() {}
            }
            while asked.join_next().await.is_some() {}
        })
        .await;
    clock.join().map_err(|_| anyhow!("the clock failed"))?;
    Ok(target.records())
}

/// A client for each connection asks for this time, again as soon as it was answered.
pub(crate) async fn closed(target: Rc<Target>, time: Duration) -> Vec<Record> {
    let (end, asker) = (target.begin + time, target.clone());
    let clients = target.places.available_permits();
    LocalSet::new()
        .run_until(async move {
            let mut asking = JoinSet::new();
            for _ in 0..clients {
                let asker = asker.clone();
                asking.spawn_local(async move {
                    while Instant::now() < end {
                        asker.ask(Instant::now()).await;
                    }
                });
            }
            while asking.join_next().await.is_some() {}
        })
        .await;
    target.records()
}
