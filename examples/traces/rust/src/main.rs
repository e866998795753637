//! A worker whose spans go to a collector: each job's is a child of the front's.
//!
//! Where to is said by `OTEL_EXPORTER_OTLP_ENDPOINT`, as what by `OTEL_SERVICE_NAME`.

mod client;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tempest_worker::{Context, Error, Failed, Request, Worker, shutdown_signal};
use tracing::{info, info_span};
use tracing_subscriber::{EnvFilter, Layer, filter::LevelFilter, fmt, prelude::*};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let exporter = SpanExporter::builder().with_http().with_http_client(client::Client::new()).build()?;
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("traces-rust"));
    // Spans of the level info and above, whatever is logged.
    tracing_subscriber::registry()
        .with(fmt::layer().with_writer(std::io::stderr).with_filter(EnvFilter::from_default_env()))
        .with(spans.with_filter(LevelFilter::INFO))
        .init();

    let report = work().await?;
    println!("{report}");
    // What waits to be sent is sent.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    Ok(())
}

async fn work() -> Result<tempest_worker::Report, Error> {
    Worker::from_env()
        .on("url", |request: Request, context: Context| async move {
            if request.path() == "/rust/fails" {
                return Err(Failed::new("no_luck", "as it was asked to"));
            }
            // A span of the handler's own stands below that of its job.
            info_span!("think").in_scope(|| info!("thought"));
            // The worker in Python takes it from there.
            context
                .push("mails", "mail", &"Bob")
                .await
                .map_err(|error| Failed::new("away", error.to_string()))?;
            Ok(context.traceparent().unwrap_or_default().to_owned())
        })
        .run(shutdown_signal())
        .await
}
