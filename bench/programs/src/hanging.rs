//! The worker whose handler hangs until nobody waits any more, and says when it got to know (bench/cancel).

use std::{
    net::UdpSocket,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use tempest_worker::{Context, Failed, Request, Worker, shutdown_signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("warn").init();
    let report = Worker::from_env().on("url", hang).run(shutdown_signal()).await?;
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
    let text = format!("{what} {} {now_ns}", field("n")?);
    UdpSocket::bind("127.0.0.1:0")?
        .send_to(text.as_bytes(), ("127.0.0.1", field("port")?.parse::<u16>()?))?;
    Ok(())
}
