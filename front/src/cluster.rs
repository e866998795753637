//! What all services of a front share: the bus, the inbox, the topics, what is known of queues.
//!
//! A [`Cluster`] is also the way to put Tempest into an axum application of one's own: `work`, `sub`, `push_route` and
//! `status` are tower services.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tempest_broker::{Broker, Inbox, KeeperOptions, Rarely, Topics, Trouble};
use tempest_protocol::{Queue, limits};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Error, FrontConfig, Push, Route, Status, Sub, Work,
    limits::Census,
    load::Load,
    metrics::{Jobs, Metrics, Pushes},
    trace::Tracer,
    wheel::Wheel,
};

/// How long a start waits for a Redis that went away after it was reached.
const OPENING: Duration = Duration::from_secs(30);
/// Between two tries to open the mailbox.
const OPENING_PAUSE: Duration = Duration::from_millis(50);
/// How long a start waits for the first look at the queues.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Between two announcements of the same queues.
const ANNOUNCE: Duration = Duration::from_secs(30);

/// The bus as an HTTP process uses it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) broker: Broker,
    pub(crate) inbox: Inbox,
    pub(crate) topics: Topics,
    /// What may change while the front runs is read anew each time.
    pub(crate) config: ArcSwap<FrontConfig>,
    /// Event streams that are open hold a permit.
    pub(crate) streams: Arc<Census>,
    /// The front is about to stop: it is no longer ready, though it may still serve.
    draining: AtomicBool,
    /// The heartbeats of event streams, and their end.
    pub(crate) wheel: Arc<Wheel>,
    /// Ends event streams when the front stops.
    pub(crate) stopping: CancellationToken,
    /// Cancels that are on their way, and streams that took their socket over.
    pub(crate) tasks: TaskTracker,
    /// If requests are traced.
    pub(crate) tracer: Option<Tracer>,
    /// Replies that cannot be used.
    pub(crate) unusable: Rarely,
    pub(crate) metrics: Arc<Metrics>,
    /// When this front began.
    pub(crate) opened: Instant,
    queues: Mutex<HashMap<Queue, Arc<QueueState>>>,
    /// The queues of all routes.
    announced: watch::Sender<Vec<Queue>>,
}

/// What this front knows of a queue.
#[derive(Default)]
pub(crate) struct QueueState {
    pub(crate) load: Load,
    /// What became of its jobs.
    pub(crate) jobs: Jobs,
    /// What became of pushes of background jobs.
    pub(crate) pushes: Pushes,
    /// Until when it counts as served although nobody is known to have a lease.
    served: Mutex<Option<Instant>>,
}

impl QueueState {
    /// Somebody without a lease took a job: the queue counts as served for a minute.
    pub(crate) fn was_served(&self) {
        self.serves(limits::SERVED);
    }

    /// Somebody who has not been seen yet answered a job: the queue counts as served until the next looks at it.
    pub(crate) fn was_answered(&self) {
        self.serves(limits::LEASE);
    }

    fn serves(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        *served = (*served).max(Some(until));
    }

    pub(crate) fn served_lately(&self) -> bool {
        let served = *self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.is_some_and(|until| Instant::now() < until)
    }
}

/// A front listens by now: ended by a moment without Redis, it would cut those who have connected.
async fn open_inbox(broker: &Broker) -> Result<Inbox, Error> {
    let until = Instant::now() + OPENING;
    loop {
        match broker.open_inbox("front").await {
            Err(error) if error.trouble() == Trouble::Reconnect && Instant::now() < until => {
                tracing::warn!(%error, "the mailbox is not open yet; trying again");
            }
            opened => return Ok(opened?),
        }
        tokio::time::sleep(OPENING_PAUSE).await;
        tokio::time::timeout_at(until.into(), broker.up()).await.ok();
    }
}

/// A route that is given to the wrong service.
fn misplaced(route: &Route, why: &str) -> Error {
    Error::Routes(vec![format!("route {:?}: {why}", route.path)])
}

impl Cluster {
    /// Opens a mailbox and the connection for topics, and helps to keep the cluster (recovery, delayed jobs). A Redis that
    /// goes away meanwhile is waited for, up to 30 s.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn open(broker: Broker, config: FrontConfig) -> Result<Self, Error> {
        let inbox = open_inbox(&broker).await?;
        let topics = broker.topics(inbox.mailbox());
        inbox.listen(&topics);
        let mut keeper = broker.keep(KeeperOptions::default());
        // Without a first look every queue would count as unserved.
        if tokio::time::timeout(FIRST_LOOK, keeper.looked(1)).await.is_err() {
            tracing::warn!("nothing is known of the queues yet");
        }

        let stopping = CancellationToken::new();
        let tracer = config.traces.then(Tracer::new);
        let shared = Shared {
            inbox,
            topics,
            streams: Arc::default(),
            draining: AtomicBool::new(false),
            config: ArcSwap::from_pointee(config),
            wheel: Arc::new(Wheel::new(stopping.clone())),
            stopping,
            tasks: TaskTracker::new(),
            tracer,
            unusable: Rarely::default(),
            metrics: Arc::default(),
            opened: Instant::now(),
            queues: Mutex::default(),
            announced: watch::Sender::default(),
            broker,
        };
        let cluster = Self { shared: Arc::new(shared) };
        cluster.keep_announcing();
        cluster.turn_wheel();
        Ok(cluster)
    }

    /// A tower service that hands every request to workers of a queue and answers with their reply.
    ///
    /// Errors: `bad_name` for a name that no queue can have.
    pub fn work(&self, queue: &str) -> Result<Work, Error> {
        self.work_route(&Route { path: "/".into(), queue: Some(queue.into()), ..Route::default() })
    }

    /// The same with everything a route to workers can say; its `path`, `host` and `methods` are not looked at.
    ///
    /// Errors: every mistake of the route; `background` is for [`push_route`](Self::push_route), `jobs` for
    /// [`status`](Self::status).
    pub fn work_route(&self, route: &Route) -> Result<Work, Error> {
        if route.background || route.jobs {
            return Err(misplaced(route, "background and jobs have services of their own"));
        }
        self.work_under(&self.shared.config.load(), route)
    }

    /// The same under a configuration that is not yet in force.
    pub(crate) fn work_under(&self, config: &FrontConfig, route: &Route) -> Result<Work, Error> {
        let plan = route.work(config).map_err(Error::Routes)?;
        let state = self.shared.queue(&plan.queue);
        Ok(Work::new(self.clone(), plan, state))
    }

    /// A tower service that makes a background job of every request, as a route with `background` says it; its `path`,
    /// `host` and `methods` are not looked at. Where the status of its jobs is served says `status_path`.
    ///
    /// Errors: every mistake of the route.
    pub fn push_route(&self, route: &Route) -> Result<Push, Error> {
        if !route.background {
            return Err(misplaced(route, "a push needs background = true"));
        }
        route.check().map_err(Error::Routes)?;
        self.background_under(&self.shared.config.load(), route)
    }

    /// A tower service that tells what became of the background jobs of a queue: the id is what is left of the path after
    /// nesting.
    ///
    /// Errors: `bad_name` for a name that no queue can have.
    pub fn status(&self, queue: &str) -> Result<Status, Error> {
        Queue::new(queue).map_err(tempest_broker::Error::from)?;
        Ok(Status::of_queue(self, &self.shared.config.load(), queue))
    }

    /// The service that pushes every request as a background job, under a configuration that is not yet in force.
    pub(crate) fn background_under(&self, config: &FrontConfig, route: &Route) -> Result<Push, Error> {
        let plan = route.background(config).map_err(Error::Routes)?;
        let state = self.shared.queue(&plan.work.queue);
        Ok(Push::new(self.clone(), plan, state))
    }

    /// A tower service that opens an EventSource stream on the topics its path names: what is left of the path after
    /// nesting, several separated by commas.
    pub fn sub(&self) -> Sub {
        Sub::new(self.clone(), None)
    }

    /// Makes the queues of routes known to whoever recovers and inspects, from now on and after Redis lost its data.
    pub(crate) fn announce(&self, queues: Vec<Queue>) {
        self.shared.announced.send_replace(queues);
    }

    /// Announces again whenever the queues change, and every half minute.
    fn keep_announcing(&self) {
        let (shared, mut announced) = (self.shared.clone(), self.shared.announced.subscribe());
        let announcing = async move {
            loop {
                shared.broker.up().await;
                let queues = announced.borrow_and_update().clone();
                if let Err(error) = shared.broker.announce(&queues).await {
                    tracing::debug!(%error, "queues were not announced");
                }
                tokio::time::timeout(ANNOUNCE, announced.changed()).await.ok();
            }
        };
        let stopping = self.shared.stopping.clone();
        self.shared.tasks.spawn(async move { stopping.run_until_cancelled(announcing).await });
    }

    /// Keeps the heartbeats going, at the period in force, until all streams have ended.
    fn turn_wheel(&self) {
        let (wheel, shared) = (self.shared.wheel.clone(), Arc::downgrade(&self.shared));
        let period = move || {
            let heartbeat_ms = shared.upgrade()?.config.load().heartbeat_ms;
            Some(Duration::from_millis(heartbeat_ms.max(1)))
        };
        self.shared.tasks.spawn(async move { wheel.turn(period).await });
    }

    /// Event streams that are open.
    pub fn streams(&self) -> usize {
        self.shared.streams.len()
    }

    /// Jobs that are waited for.
    pub fn waiting(&self) -> usize {
        self.shared.inbox.waiting()
    }

    /// Whether the front is about to stop or stops: no load balancer should send it anything new.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::Relaxed)
    }

    /// Says that the front is about to stop.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Ends all event streams of this process with a hint to reconnect.
    pub fn end_streams(&self) {
        self.drain();
        self.shared.stopping.cancel();
    }

    /// Waits until streams have ended and cancels were sent, `grace` at most, and gives the mailbox up. Gives the number
    /// of streams that are still open.
    pub async fn close(&self, grace: Duration) -> usize {
        self.end_streams();
        self.shared.tasks.close();
        if tokio::time::timeout(grace, self.shared.tasks.wait()).await.is_err() {
            tracing::debug!(left = self.shared.tasks.len(), "not all streams and cancels have ended");
        }
        if let Err(error) = self.shared.inbox.close().await {
            tracing::warn!(%error, "the mailbox was not removed; it is when its lease has run out");
        }
        self.streams()
    }
}

impl Shared {
    /// The queues of routes, now or before, in the order of their names.
    pub(crate) fn queues(&self) -> Vec<(Queue, Arc<QueueState>)> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queues: Vec<_> = queues.iter().map(|(queue, state)| (queue.clone(), state.clone())).collect();
        queues.sort_by(|(one, _), (other, _)| one.cmp(other));
        queues
    }

    /// What is known of a queue, if a route leads or led to it.
    pub(crate) fn known(&self, queue: &Queue) -> Option<Arc<QueueState>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }

    /// How long a request body may pause.
    pub(crate) fn body_pause_max(&self) -> Duration {
        Duration::from_millis(self.config.load().http.body_timeout_ms)
    }

    pub(crate) fn queue(&self, queue: &Queue) -> Arc<QueueState> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(queue.clone()).or_default().clone()
    }
}
