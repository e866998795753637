//! The worker: handlers that do nothing.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tempest_worker::{Context, Worker, shutdown_signal};

/// Works until a signal, and says how many jobs it ran: `noop` gives nothing back, `echo` its arguments.
pub(crate) async fn work() -> anyhow::Result<Value> {
    let ran = Arc::<AtomicU64>::default();
    let (nothing, same) = (ran.clone(), ran.clone());
    let worker = Worker::from_env()
        .on_job("noop", move |_: IgnoredAny, _: Context| {
            nothing.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Infallible>(()) }
        })
        .on_job("echo", move |args: Value, _: Context| {
            same.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Infallible>(args) }
        });
    let report = worker.run(shutdown_signal()).await?;
    eprintln!("{report}");
    Ok(json!({ "ran": ran.load(Ordering::Relaxed) }))
}
