//! What a run prints.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    args::Args,
    crowd::{Account, times},
};

/// What was published.
pub(crate) struct Published {
    pub(crate) events: u32,
    /// From the first to the last.
    pub(crate) publishing: Duration,
    /// From the first until the last was heard, or was no longer waited for.
    pub(crate) hearing: Duration,
}

/// The figures of a run. Times are from when an event was due.
#[derive(Serialize)]
pub(crate) struct Figures {
    clients: u32,
    events: u32,
    /// Events for all clients.
    expected: u64,
    received: u64,
    lost: u64,
    duplicate: u64,
    out_of_order: u64,
    /// Events that the server did not take.
    refused: u64,
    streams_ended: u64,
    deliveries_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    publishing_s: f64,
    hearing_s: f64,
    /// Of one core, while events were read: near 1 a thread, and these clients are the limit.
    reader_busy: f64,
    reader_us_per_delivery: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
}

/// How long requests took meanwhile.
#[derive(Serialize)]
struct Asked {
    requests: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Figures {
    pub(crate) fn new(
        args: &Args,
        published: &Published,
        refused: u64,
        accounts: &[Account],
        asked: Option<&Histogram<u64>>,
    ) -> anyhow::Result<Self> {
        let mut latency = times()?;
        for account in accounts {
            latency.add(&account.latency)?;
        }
        let (received, expected) = (latency.len(), u64::from(published.events) * u64::from(args.clients));
        let cpu: Duration = accounts.iter().map(|account| account.cpu).sum();
        let hearing = published.hearing.as_secs_f64();
        Ok(Self {
            clients: args.clients,
            events: published.events,
            expected,
            received,
            lost: expected.saturating_sub(received),
            duplicate: accounts.iter().map(|account| account.duplicate).sum(),
            out_of_order: accounts.iter().map(|account| account.out_of_order).sum(),
            refused,
            streams_ended: accounts.iter().map(|account| account.streams_ended).sum(),
            deliveries_per_s: number(received) / hearing,
            p50_ms: milliseconds(&latency, 0.5),
            p99_ms: milliseconds(&latency, 0.99),
            max_ms: milliseconds(&latency, 1.0),
            publishing_s: published.publishing.as_secs_f64(),
            hearing_s: hearing,
            reader_busy: cpu.as_secs_f64() / hearing,
            reader_us_per_delivery: cpu.as_secs_f64() * 1e6 / number(received.max(1)),
            asked: asked.map(|waits| Asked {
                requests: waits.len(),
                p50_ms: milliseconds(waits, 0.5),
                p99_ms: milliseconds(waits, 0.99),
                max_ms: milliseconds(waits, 1.0),
            }),
        })
    }

    /// Whether everybody heard everything once and in order.
    pub(crate) fn complete(&self) -> bool {
        self.lost + self.duplicate + self.out_of_order + self.refused == 0
    }

    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn milliseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    number(times.value_at_quantile(quantile)) / 1e6
}

/// Counts of a run are far below where this rounds.
#[expect(clippy::cast_precision_loss, reason = "a figure to be printed")]
fn number(count: u64) -> f64 {
    count as f64
}
