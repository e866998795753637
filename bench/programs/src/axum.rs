//! axum that answers each request itself, as its own documentation shows it: what a request costs without Tempest.
//!
//! Its answer is that of `bench-worker` through a front. `PORT` says where it listens, on the loopback.

use std::env;

use anyhow::Context;
use axum::{Router, routing::get};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let port = env::var("PORT").context("PORT is not set")?;
    let port: u16 = port.parse().with_context(|| format!("PORT is a number up to 65535, not {port:?}"))?;
    let app = Router::new().route("/", get(async || "Hello world!\n"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot listen; is PORT taken?")?;
    Ok(axum::serve(listener, app).await?)
}
