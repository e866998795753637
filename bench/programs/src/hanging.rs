//! The worker whose handlers hang: one until nobody waits any more, and it says when it got to know (bench/cancel); the other
//! as long as its process lives, and it says that it began (bench/recovery).

use std::{
    net::UdpSocket,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::Deserialize;
use tempest_worker::{Context, Failed, Request, Worker, shutdown_signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    let report = Worker::from_env().on("url", hang).on_job("hold", hold).run(shutdown_signal()).await?;
    println!("{report}");
    Ok(())
}

async fn hang(request: Request, context: Context) -> Result<(), Failed> {
    let say = |what: &str| say(&request, what).map_err(|error| Failed::new("bad_http", error.to_string()));
    say("began")?;
    context.cancelled().await;
    say("told")
}

/// `what` and the time of this machine in nanoseconds, to whoever measures.
fn say(request: &Request, what: &str) -> anyhow::Result<()> {
    let fields = || request.query().unwrap_or_default().split('&').filter_map(|field| field.split_once('='));
    let field = |name: &str| {
        let value = fields().find(|field| field.0 == name).map(|field| field.1);
        value.with_context(|| format!("the query has no {name}"))
    };
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    tell(field("port")?.parse()?, &format!("{what} {} {now_ns}", field("n")?))
}

/// Where a job says that it began.
#[derive(Deserialize)]
struct Held {
    port: u16,
}

/// Says `<id> <attempt> <pid>`. A first attempt then lasts until its process is killed, or the job cancelled.
async fn hold(job: Held, context: Context) -> Result<(), Failed> {
    let id = context.id().map(ToString::to_string).unwrap_or_default();
    let text = format!("{id} {} {}", context.attempt(), process::id());
    tell(job.port, &text).map_err(|error| Failed::new("untold", error.to_string()))?;
    if context.attempt() == 1 {
        context.cancelled().await;
    }
    Ok(())
}

fn tell(port: u16, text: &str) -> anyhow::Result<()> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(text.as_bytes(), ("127.0.0.1", port))?;
    Ok(())
}
