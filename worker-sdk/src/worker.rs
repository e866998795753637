//! The worker as a program sees it: set up, handlers, run.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::poll;
use serde::{Serialize, de::DeserializeOwned};
use tempest_broker::Broker;
use tempest_protocol::{Action, Lane};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    Context, Done, Error, Failed, IntoResponse, Next, Report, Request,
    desk::Desk,
    handler::{self, Handlers},
    hooks::Hooks,
    identity,
    options::Options,
    shared::Shared,
    testing::Harness,
};

/// A worker that is being set up. What the program leaves out comes from the environment (`TEMPEST_REDIS_URL`,
/// `TEMPEST_PREFIX`, `TEMPEST_LANES`, `TEMPEST_CONCURRENCY`, …).
pub struct Worker {
    options: Options,
    handlers: Handlers,
    hooks: Hooks,
    broker: Option<Broker>,
}

impl Worker {
    /// A worker for a queue.
    pub fn new(queue: impl AsRef<str>) -> Self {
        let mut worker = Self::from_env();
        worker.options.queues.clear();
        worker.options.mistakes.retain(|mistake| !mistake.starts_with("TEMPEST_QUEUE="));
        worker.queue(queue)
    }

    /// A worker for the queues that `TEMPEST_QUEUE` names, separated by commas; `default` if it is not set.
    pub fn from_env() -> Self {
        let options = Options::of(|name| std::env::var(name).ok());
        Self { options, handlers: Handlers::new(), hooks: Hooks::default(), broker: None }
    }

    /// Works for one more queue. All its queues share the worker's slots.
    pub fn queue(mut self, queue: impl AsRef<str>) -> Self {
        self.options.add_queue(queue.as_ref());
        self
    }

    /// Serves these lanes of each queue, high before normal before low; the default is the normal lane alone. Every
    /// sixteenth look begins at the low end, so that nothing starves.
    pub fn lanes(mut self, lanes: impl IntoIterator<Item = Lane>) -> Self {
        self.options.lanes = lanes.into_iter().collect();
        self
    }

    /// Works with the Redis at this URL.
    pub fn connect(mut self, url: impl Into<String>) -> Self {
        self.options.url = url.into();
        self
    }

    /// Works below this key prefix.
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        match prefix.as_ref().parse() {
            Ok(prefix) => self.options.prefix = prefix,
            Err(error) => self.options.mistakes.push(error.detail().to_owned()),
        }
        self
    }

    /// Works over connections the program has already. Its URL and prefixes count, not the worker's.
    pub fn broker(mut self, broker: Broker) -> Self {
        self.broker = Some(broker);
        self
    }

    /// Runs up to `slots` jobs at a time; the default is 1. Choose as many as really progress at once.
    pub fn concurrency(mut self, slots: usize) -> Self {
        self.options.concurrency = slots;
        self
    }

    /// How long handlers may take to finish when the worker ends; the default is 30 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.options.grace = grace;
        self
    }

    /// How long a handler may run at all; past it the job fails with `timeout`. The default is 15 minutes.
    pub fn run_max(mut self, run_max: Duration) -> Self {
        self.options.run_max = run_max;
        self
    }

    /// Handles the HTTP requests of an action (`url`, unless a route names another). Whatever is [`IntoResponse`] may
    /// be returned; an error or a panic fails the job.
    pub fn on<F, A, R>(self, action: impl AsRef<str>, handle: F) -> Self
    where
        F: Fn(Request, Context) -> A + Send + Sync + 'static,
        A: Future<Output = R> + Send + 'static,
        R: IntoResponse,
    {
        self.handle(action.as_ref(), handler::http(handle))
    }

    /// Handles the jobs of an action that are no HTTP requests: arguments and result are the application's own types.
    /// A failed job nobody waits for is tried again later, as often as it says.
    pub fn on_job<F, A, T, R, E>(self, action: impl AsRef<str>, handle: F) -> Self
    where
        F: Fn(T, Context) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, E>> + Send + 'static,
        T: DeserializeOwned + Send + 'static,
        R: Serialize,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.handle(action.as_ref(), handler::typed(handle))
    }

    /// Runs this around every handler: it may look at the job before and at what came out of it after, and answer itself. The
    /// first that was given is the outermost.
    pub fn around<F, A>(mut self, hook: F) -> Self
    where
        F: Fn(Context, Next) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Done, Failed>> + Send + 'static,
    {
        self.hooks.around(hook);
        self
    }

    /// Runs this whenever a handler failed, panicked or took too long: each attempt, before the job is put off or given up. It
    /// has ten seconds.
    pub fn on_error<F, A>(mut self, hook: F) -> Self
    where
        F: Fn(Context, Failed) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on_error(hook);
        self
    }

    /// The same handlers without a Redis, for tests: see [`Harness`].
    ///
    /// Errors: mistakes in how the worker was set up.
    pub fn harness(self) -> Result<Harness, Error> {
        let mistakes = self.options.mistakes;
        if mistakes.is_empty() {
            Ok(Harness::new(self.handlers, self.hooks))
        } else {
            Err(Error::Setup(mistakes))
        }
    }

    fn handle(mut self, action: &str, handler: handler::Handler) -> Self {
        match Action::new(action) {
            Err(error) => self.options.mistakes.push(error.detail().to_owned()),
            Ok(_) if self.handlers.contains_key(action) => {
                self.options.mistakes.push(format!("action {action} has two handlers"));
            }
            Ok(_) => {
                self.handlers.insert(action.to_owned(), handler);
            }
        }
        self
    }

    /// Works until `shutdown` is ready, or until it is told to drain; then takes nothing new, lets handlers finish
    /// within the grace time, gives back what it has not started, and leaves. See [`crate::shutdown_signal`].
    ///
    /// Errors: only at the start; one clear line each.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Report, Error> {
        let Self { options, handlers, hooks, broker } = self;
        let options = options.checked().map_err(Error::Setup)?;
        // Whoever listens for signals does so from now on: one that comes while the worker starts is no death.
        let mut shutdown = pin!(shutdown);
        let is_told = poll!(shutdown.as_mut()).is_ready();
        let worker =
            identity::worker_id(options.tag.as_deref()).map_err(|mistake| Error::Setup(vec![mistake]))?;
        let own = broker.is_none();
        let broker = match broker {
            Some(broker) => broker,
            None => Broker::connect(options.settings()).await?,
        };
        let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
        let shared = Shared::new(broker.clone(), handlers, hooks, &options, abort);
        let desk = Desk::open(Arc::new(shared), worker.clone(), &options, drain.clone()).await?;
        info!(%worker, redis = broker.settings().shown_url(), "working");
        if is_told {
            drain.cancel();
        }
        let mut work = pin!(desk.work());
        let report = tokio::select! {
            report = &mut work => report,
            () = shutdown, if !is_told => {
                drain.cancel();
                work.await
            }
        };
        if own {
            broker.close().await;
        }
        info!(%worker, "{report}");
        Ok(report)
    }
}
