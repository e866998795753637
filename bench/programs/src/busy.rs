//! The worker whose handlers take a given time, and that counts how many it has begun (bench/overload).
//!
//! `WORK` says what a request takes: `none`, `sleep:10000` (microseconds that pass) or `burn:2000` (microseconds of a
//! processor). Asked for `/counts` it says how many it has begun so far.

use std::{
    env,
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::time::{ClockId, clock_gettime};
use tempest_worker::{Context, Failed, Request, Worker, shutdown_signal};

/// Several small pieces of memory a job come and go.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static BEGUN: AtomicU64 = AtomicU64::new(0);

/// What a request takes.
#[derive(Clone, Copy)]
enum Work {
    None,
    Sleep(Duration),
    Burn(Duration),
}

impl FromStr for Work {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        let time = Duration::from_micros(number.parse().context("WORK: microseconds are a number")?);
        Ok(match kind {
            "none" => Self::None,
            "sleep" => Self::Sleep(time),
            "burn" => Self::Burn(time),
            _ => bail!("WORK is none, sleep:MICROSECONDS or burn:MICROSECONDS, not {text:?}"),
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    let work: Work = env::var("WORK").context("WORK is not set")?.parse()?;
    let worker = Worker::from_env().on("url", move |request: Request, _: Context| handle(request, work));
    println!("{}", worker.run(shutdown_signal()).await?);
    Ok(())
}

async fn handle(request: Request, work: Work) -> Result<String, Failed> {
    if request.path() == "/counts" {
        return Ok(BEGUN.load(Ordering::Relaxed).to_string());
    }
    BEGUN.fetch_add(1, Ordering::Relaxed);
    match work {
        Work::None => {}
        Work::Sleep(time) => tokio::time::sleep(time).await,
        Work::Burn(time) => tokio::task::spawn_blocking(move || burn(time))
            .await
            .map_err(|error| Failed::new("internal", error.to_string()))?,
    }
    Ok("Hello world!\n".to_owned())
}

/// Uses a processor for this time; the time for which others have it does not count.
fn burn(time: Duration) {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or(Duration::MAX);
    let end = used().saturating_add(time);
    let mut state = 1u64;
    while used() < end {
        for _ in 0..2_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
        std::hint::black_box(state);
    }
}
