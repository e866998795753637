//! Write Tempest workers in Rust.
//!
//! ```no_run
//! use tempest_worker::{Context, Request, Worker, shutdown_signal};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), tempest_worker::Error> {
//!     let worker = Worker::new("default")
//!         .on("url", |request: Request, _: Context| async move { format!("You asked for {}\n", request.path()) })
//!         .concurrency(16);
//!     let report = worker.run(shutdown_signal()).await?;
//!     println!("{report}");
//!     Ok(())
//! }
//! ```
//!
//! A worker claims jobs, runs their handlers, replies and acks, at least once, as `protocol/SPEC.md` says. Handlers
//! run on the tokio runtime: one that blocks a thread for long belongs into [`tokio::task::spawn_blocking`]. Starting
//! and restarting worker processes, and recovering what a dead one held, is the supervisor's work, not done here.
//!
//! Background jobs are pushed by a [`Client`], or by a handler through its [`Context`]:
//!
//! ```no_run
//! # async fn push() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use tempest_worker::{Client, Holds, Push};
//!
//! let client = Client::from_env().await?;
//! let report = Push::new("reports", "monthly", &serde_json::json!({"month": 11}))
//!     .unique("monthly/11", Holds::Running)
//!     .keep(Duration::from_secs(3_600))
//!     .then(Push::new("mail", "send", &"boss@example.org"));
//! let id = client.push(report).await?;
//! let pages: u64 = client.result("reports", &id, Duration::from_secs(60)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Each job runs in a `tracing` span of its own. With the feature `otel` the span continues the trace of whoever pushed
//! the job, if the program has a layer of `tracing-opentelemetry`: see `examples/traces`.

mod background;
mod bus;
mod client;
mod context;
mod desk;
mod error;
mod failed;
mod handler;
mod hooks;
mod identity;
mod keyed;
mod memory;
mod options;
mod push;
mod report;
mod request;
mod response;
mod running;
mod settling;
mod shared;
mod shutdown;
pub mod testing;
mod trace;
mod worker;

pub use client::{Client, ResultError};
pub use context::Context;
pub use error::Error;
pub use failed::Failed;
pub use hooks::{Done, Next};
pub use push::Push;
pub use report::Report;
pub use request::Request;
pub use response::{IntoResponse, Response};
pub use shutdown::shutdown_signal;
pub use tempest_broker::{Broker, Pushed, Record, Settings, State};
pub use tempest_protocol::{Code, Failure, Headers, Holds, JobId, Lane};
pub use worker::Worker;
