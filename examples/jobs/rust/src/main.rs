//! Writes reports: slowly, telling how far it is. The same as `reports.py`.

use std::{io, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tempest_worker::{Context, Request, Worker, shutdown_signal};
use tokio::time::sleep;

/// What is asked for.
#[derive(Deserialize)]
#[serde(default)]
struct Wish {
    pages: u32,
    trouble: Option<Trouble>,
}

impl Default for Wish {
    fn default() -> Self {
        Self { pages: 3, trouble: None }
    }
}

/// When there is no paper.
#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Trouble {
    Once,
    Always,
}

/// What came of it.
#[derive(Serialize)]
struct Written {
    pages: u32,
    attempt: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter("warn").init();
    let worker = Worker::from_env().on_job("report", report).on("url", hook);
    println!("{}", worker.run(shutdown_signal()).await?);
    Ok(())
}

async fn report(wish: Option<Wish>, context: Context) -> anyhow::Result<Written> {
    let Wish { pages, trouble } = wish.unwrap_or_default();
    let is_short_of_paper = match trouble {
        Some(Trouble::Always) => true,
        Some(Trouble::Once) => context.attempt() == 1,
        None => false,
    };
    if is_short_of_paper {
        // Tried again later; the second time it is dead.
        anyhow::bail!("the printer is out of paper");
    }
    for page in 0..pages {
        context.progress(&json!({ "page": page, "of": pages })).await?;
        sleep(Duration::from_millis(200)).await;
    }
    Ok(Written { pages, attempt: context.attempt() })
}

async fn hook(request: Request, _: Context) -> (u16, [(&'static str, String); 2], Vec<u8>) {
    let names = ["cookie", "authorization", "x-kept"];
    let seen: Vec<_> = names.into_iter().filter(|name| request.header(name).is_some()).collect();
    let fields = [("x-hook", request.path().to_owned()), ("x-saw", json!(seen).to_string())];
    (201, fields, [b"taken: ", request.body().as_ref()].concat())
}
