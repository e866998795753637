//! From an action's name to the function that runs its jobs.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use tempest_protocol::{Code, Content, HttpRequest, Raw};

use crate::{Context, Failed, IntoResponse, Request, Response};

/// What a handler makes of a job.
pub(crate) type Outcome = Result<Content, Failed>;

/// Runs one job. It never panics.
pub(crate) type Handler = Arc<dyn Fn(Context) -> BoxFuture<'static, Outcome> + Send + Sync>;

/// The handlers of a worker by action.
pub(crate) type Handlers = HashMap<String, Handler>;

/// A handler of HTTP requests.
pub(crate) fn http<F, A, R>(handle: F) -> Handler
where
    F: Fn(Request, Context) -> A + Send + Sync + 'static,
    A: Future<Output = R> + Send + 'static,
    R: IntoResponse,
{
    let handle = Arc::new(handle);
    Arc::new(move |context| {
        let (handle, request) = (handle.clone(), HttpRequest::decode(context.job().args()));
        contained(async move {
            let request = request.map_err(Failed::from)?;
            handle(request.into(), context).await.into_response().and_then(Response::into_content)
        })
    })
}

/// A handler of jobs with arguments and a result of the application's own.
pub(crate) fn typed<F, A, T, R, E>(handle: F) -> Handler
where
    F: Fn(T, Context) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R, E>> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
    R: Serialize,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handle = Arc::new(handle);
    Arc::new(move |context| {
        let job = context.job();
        let (handle, encoding, args) = (handle.clone(), job.encoding(), job.args().decode::<T>());
        contained(async move {
            let args =
                args.map_err(|error| Failed::coded(Code::BadJob, format!("args: {}", error.detail())))?;
            let result = handle(args, context).await.map_err(|error| Failed::of(error.into()))?;
            let result = Raw::encode(encoding, &result);
            result.map(Content::Result).map_err(|error| Failed::coded(Code::HandlerError, error.to_string()))
        })
    })
}

/// A panic fails the job and nothing else. Its text is in the log (the panic hook), not in the reply.
pub(crate) fn contained(work: impl Future<Output = Outcome> + Send + 'static) -> BoxFuture<'static, Outcome> {
    let panicked = || Failed::coded(Code::HandlerError, "the handler panicked");
    AssertUnwindSafe(work).catch_unwind().map(move |ended| ended.unwrap_or_else(|_| Err(panicked()))).boxed()
}
