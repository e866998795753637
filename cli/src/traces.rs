//! Where the spans of the front go: a collector that takes OTLP over HTTP, if one was named.
//!
//! Spans wait in a bounded queue that a thread of its own empties; what does not fit is left out. A collector that is
//! away costs its requests nothing but that.

mod client;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry::global;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{debug, info, warn};

use crate::{config::Config, failure::Failure};
use client::Client;

/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(5);

/// How long the last spans may hold up the end.
const FLUSH: Duration = Duration::from_secs(2);

/// Between two lines about a collector that takes nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// The traces of this process. To be ended with [`Traces::end`], or the last spans are lost.
pub(crate) struct Traces {
    provider: Option<SdkTracerProvider>,
}

impl Traces {
    /// Sends spans to where the configuration says, from now on; nothing if it names nobody.
    ///
    /// Errors: an endpoint that cannot be one. That it answers is not looked at.
    pub(crate) fn start(config: &Config) -> Result<Self, Failure> {
        let trace = config.trace();
        if trace.endpoint.is_empty() {
            return Ok(Self { provider: None });
        }
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(Client::new(EXPORT))
            .with_endpoint(traces_url(trace.endpoint))
            .with_timeout(EXPORT)
            .build()
            .map_err(|error| Failure::new(format!("trace.endpoint {:?}: {error}", trace.endpoint)))?;
        let exporter = Told { exporter, endpoint: trace.endpoint.to_owned(), failing: Mutex::default() };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Whoever calls decides for the whole of its trace.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(trace.sample))))
            .with_resource(resource(trace.service))
            .build();
        global::set_tracer_provider(provider.clone());
        Ok(Self { provider: Some(provider) })
    }

    /// Sends what is left, for a moment at most.
    pub(crate) async fn end(self) {
        let Some(provider) = self.provider else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if let Ok(Err(error)) = ended {
            debug!(%error, "the last spans were not sent");
        }
    }
}

fn resource(service: &str) -> Resource {
    Resource::builder()
        .with_service_name(service.to_owned())
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// `http://host:4318` is the base, as in `OTEL_EXPORTER_OTLP_ENDPOINT`.
fn traces_url(endpoint: &str) -> String {
    format!("{}/v1/traces", endpoint.trim_end_matches('/'))
}

/// An exporter that says when spans are not taken, and when they are again.
#[derive(Debug)]
struct Told {
    exporter: OtlpExporter,
    endpoint: String,
    failing: Mutex<Option<Failing>>,
}

/// Spans are not taken.
#[derive(Debug)]
struct Failing {
    said: Instant,
    spans: usize,
}

impl Told {
    fn failed(&self, spans: usize, error: &OTelSdkError) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = failing.as_ref().map_or(0, |failing| failing.spans) + spans;
        let said = failing.as_ref().map(|failing| failing.said).filter(|said| said.elapsed() < SILENCE);
        if said.is_none() {
            let endpoint = &self.endpoint;
            warn!(
                endpoint,
                error = reason(error),
                lost,
                "spans are not taken; does a collector listen there?"
            );
        }
        *failing = Some(Failing { said: said.unwrap_or_else(Instant::now), spans: lost });
    }

    fn worked(&self) {
        if let Some(failing) = self.failing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            info!(endpoint = self.endpoint, lost = failing.spans, "spans are taken again");
        }
    }
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => self.worked(),
            Err(error) => self.failed(spans, error),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

fn reason(error: &OTelSdkError) -> String {
    match error {
        OTelSdkError::InternalFailure(reason) => reason.clone(),
        other => other.to_string(),
    }
}
