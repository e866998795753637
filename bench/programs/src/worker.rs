//! The worker whose answer is that of `bench-axum`: what a request costs on its way through a front, Redis and back.

use tempest_worker::{Context, Request, Worker, shutdown_signal};

/// Several small pieces of memory a job come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    let worker = Worker::from_env().on("url", async |_: Request, _: Context| "Hello world!\n");
    let report = worker.run(shutdown_signal()).await?;
    println!("{report}");
    Ok(())
}
