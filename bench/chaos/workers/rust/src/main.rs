//! A worker on the Rust SDK that writes down what it starts and ends: the evidence of the ledger (bench/chaos).

mod evidence;

use std::{process::ExitCode, sync::Arc, time::Duration};

use serde::Deserialize;
use tempest_worker::{Context, Failed, Request, Worker, shutdown_signal};

use crate::evidence::{Evidence, What};

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match work().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos-worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn work() -> anyhow::Result<()> {
    let evidence = Arc::new(Evidence::open()?);
    let of_requests = evidence.clone();
    let report = Worker::from_env()
        .on("url", move |request: Request, context: Context| {
            let evidence = of_requests.clone();
            async move {
                let order = Order::of(&request).ok_or_else(|| Failed::new("bad_http", "no order"))?;
                order.carry_out(context.attempt(), &evidence).await?;
                Ok::<_, Failed>(format!("{} {}", order.id, order.payload))
            }
        })
        .on_job("work", move |order: Order, context: Context| {
            let evidence = evidence.clone();
            async move { order.of_job(&context).carry_out_job(&context, &evidence).await }
        })
        .run(shutdown_signal())
        .await?;
    println!("{report}");
    Ok(())
}

/// What is to be done: wait, write it down, and fail as often as it says.
#[derive(Deserialize)]
struct Order {
    id: String,
    payload: String,
    ms: u64,
    /// Attempts up to this one fail.
    #[serde(default)]
    fails: u64,
}

/// What came out of the job before one, or of those of its group.
#[derive(Deserialize)]
#[serde(untagged)]
enum Before {
    One(String),
    Group(Vec<Option<String>>),
}

impl std::fmt::Display for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(result) => f.write_str(result),
            Self::Group(results) => {
                let results = results.iter().map(|result| result.as_deref().unwrap_or("nothing"));
                f.write_str(&results.collect::<Vec<_>>().join("+"))
            }
        }
    }
}

impl Order {
    /// `/QUEUE/ID?ms=5&payload=…`, the payload in the body if there is one.
    fn of(request: &Request) -> Option<Self> {
        let id = request.path().rsplit('/').next()?.to_owned();
        let field = |name: &str| {
            let pairs = request.query()?.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        let payload = if request.body().is_empty() { field("payload")? } else { request.text().into_owned() };
        Some(Self { id, payload, ms: field("ms")?.parse().ok()?, fails: 0 })
    }

    /// The jobs of a schedule have all the same arguments.
    fn of_job(mut self, context: &Context) -> Self {
        self.id = context.id().map(ToString::to_string).unwrap_or_default();
        self
    }

    /// Gives its id, and what came out of the job before it, or of those of its group, if there is one.
    async fn carry_out_job(&self, context: &Context, evidence: &Evidence) -> Result<String, Failed> {
        let before: Option<Before> = context.input()?;
        self.carry_out(context.attempt(), evidence).await?;
        Ok(before.map_or_else(|| self.id.clone(), |before| format!("{} after {before}", self.id)))
    }

    async fn carry_out(&self, attempt: u64, evidence: &Evidence) -> Result<(), Failed> {
        let write = |what| {
            let written = evidence.write(what, &self.id, attempt, &self.payload);
            written.map_err(|error| Failed::new("no_evidence", error.to_string()))
        };
        write(What::Start)?;
        tokio::time::sleep(Duration::from_millis(self.ms)).await;
        if attempt <= self.fails {
            write(What::Fail)?;
            return Err(Failed::new("handler_error", "it was to fail"));
        }
        write(What::End)
    }
}
