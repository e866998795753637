//! The least that a path front, Redis, one worker can cost: nothing but the path of Tempest, crash-safe at both ends, with
//! no logs, deadlines, leases, metrics, limits, routes or streams. For measuring only: it gives up at the first error.
//!
//! `bench-floor front` answers on the loopback at `PORT`, `bench-floor worker` works; their Redis is at `REDIS_PORT`.

mod frames;
mod front;
mod redis;
mod worker;

use std::env;

use anyhow::{Context, bail};

/// Several small pieces of memory a request come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LANE: &str = "floor:lane";
const RUN: &str = "floor:run";
const MAILBOX: &str = "floor:mailbox";

fn port(name: &str) -> anyhow::Result<u16> {
    let port = env::var(name).with_context(|| format!("{name} is not set"))?;
    port.parse().with_context(|| format!("{name} is a number up to 65535, not {port:?}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("front") => front::serve(port("PORT")?, port("REDIS_PORT")?).await,
        Some("worker") => worker::work(port("REDIS_PORT")?).await,
        _ => bail!("usage: bench-floor front | worker"),
    }
}
