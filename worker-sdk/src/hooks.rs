//! What a program has done around every handler, and when one fails.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tempest_protocol::Content;
use tracing::warn;

use crate::{
    Context, Failed,
    handler::{Handler, Handlers, Outcome, contained},
};

/// How long what is done on an error may hold up the end of its job.
const ON_ERROR_MAX: Duration = Duration::from_secs(10);

/// What a handler made of its job.
#[derive(Debug)]
pub struct Done(pub(crate) Content);

impl Done {
    /// The status, if it is an HTTP response.
    pub fn status(&self) -> Option<u16> {
        match &self.0 {
            Content::Http { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The result of a job that is no HTTP request.
    ///
    /// Errors: `bad_reply`: there is none, or it has another shape.
    pub fn result<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        match &self.0 {
            Content::Result(result) => Ok(result.decode()?),
            _ => Err(Failed::new("bad_reply", "this is no result")),
        }
    }
}

/// The handler, or what is around it further in.
pub struct Next(Handler);

impl Next {
    /// Runs it.
    ///
    /// Errors: it failed.
    pub async fn run(self, context: Context) -> Result<Done, Failed> {
        (self.0)(context).await.map(Done)
    }
}

type Around = Arc<dyn Fn(Context, Next) -> BoxFuture<'static, Outcome> + Send + Sync>;
type OnError = Arc<dyn Fn(Context, Failed) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is around all handlers of a worker, the outermost first.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    around: Vec<Around>,
    on_error: Vec<OnError>,
}

impl Hooks {
    pub(crate) fn around<F, A>(&mut self, hook: F)
    where
        F: Fn(Context, Next) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Done, Failed>> + Send + 'static,
    {
        self.around.push(Arc::new(move |context, next| {
            let done = hook(context, next);
            contained(async { done.await.map(|done| done.0) })
        }));
    }

    pub(crate) fn on_error<F, A>(&mut self, hook: F)
    where
        F: Fn(Context, Failed) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        self.on_error.push(Arc::new(move |context, failed| Box::pin(hook(context, failed))));
    }

    /// The handlers with all that is around them.
    pub(crate) fn wrap(&self, handlers: Handlers) -> Handlers {
        handlers.into_iter().map(|(action, handler)| (action, self.wrapped(handler))).collect()
    }

    fn wrapped(&self, handler: Handler) -> Handler {
        self.around
            .iter()
            .rev()
            .cloned()
            .fold(handler, |inner, around| Arc::new(move |context| around(context, Next(inner.clone()))))
    }

    /// Tells of a failure. One that takes too long or panics harms nobody.
    pub(crate) async fn tell(&self, context: &Context, failed: &Failed) {
        for hook in &self.on_error {
            let told = tokio::spawn(hook(context.clone(), failed.clone()));
            match tokio::time::timeout(ON_ERROR_MAX, told).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "what is done on errors failed itself"),
                Err(_) => warn!("what is done on errors takes too long; nobody waits for it any more"),
            }
        }
    }
}
