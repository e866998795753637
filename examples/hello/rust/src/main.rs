//! The worker of 2012 in Rust: counts the requests it answers.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tempest_worker::{Context, Error, Report, Request, Worker, shutdown_signal};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter()).init();
    match work().await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hello-rust: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> Result<Report, Error> {
    let count = Arc::new(AtomicU64::new(0));
    Worker::from_env()
        .on("url", move |_: Request, _: Context| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            async move { format!("Hello world! #{number}") }
        })
        .on_job("echo", |args: serde_json::Value, _: Context| async move { Ok::<_, Error>(args) })
        .run(shutdown_signal())
        .await
}

/// Warnings, unless `RUST_LOG` says otherwise.
fn filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into())
}
