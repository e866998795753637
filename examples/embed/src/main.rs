//! An axum application of one's own with Tempest in it: `/hello` is its own, `/sub/…` are event streams, `/later` is
//! answered at once and done when a worker has time, `/jobs/ID` tells what became of that, and all else is done by workers
//! of the queue `default`.

use std::{env, net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{Router, routing::get};
use tempest_broker::{Broker, Settings};
use tempest_front::{Cluster, FrontConfig, Route};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = env::var("TEMPEST_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into());
    let port = env::var("PORT").unwrap_or_else(|_| "1337".into());
    let port: u16 = port.parse().with_context(|| format!("PORT is a number up to 65535, not {port:?}"))?;

    let broker = Broker::connect(Settings::new(url, "embed")).await?;
    let cluster = Cluster::open(broker.clone(), FrontConfig::default()).await?;
    let later = Route {
        path: "/later".into(),
        queue: Some("default".into()),
        background: true,
        status_path: Some("/jobs/{id}".into()),
        ..Route::default()
    };
    let app = Router::new()
        .route("/hello", get(async || "Hello from the application itself\n"))
        .nest_service("/sub", cluster.sub())
        .route_service("/later", cluster.push_route(&later)?)
        .nest_service("/jobs", cluster.status("default")?)
        .fallback_service(cluster.work("default")?);

    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("cannot listen; is PORT taken?")?;
    println!("http://{}", listener.local_addr()?);
    // With the peer's address in each request, workers learn who asked.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(told_to_stop(cluster.clone())).await?;

    cluster.close(Duration::from_secs(2)).await;
    broker.close().await;
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM, then ends the event streams: axum would wait for them for ever.
async fn told_to_stop(cluster: Cluster) {
    let mut terminated = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    cluster.end_streams();
}
