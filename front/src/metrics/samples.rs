//! Values for the metrics of the table, and their text.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};
use tempest_broker::Measured;

use super::table::{Kind, METRICS, Metric, Name};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Of a counter or a gauge.
    Whole(u64),
    /// Of a counter or a gauge.
    Real(f64),
    /// Of a histogram.
    Durations(Measured),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<std::time::Duration> for Value {
    fn from(value: std::time::Duration) -> Self {
        Self::Real(value.as_secs_f64())
    }
}

impl From<Measured> for Value {
    fn from(value: Measured) -> Self {
        Self::Durations(value)
    }
}

/// A value and the labels it has.
#[derive(Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// Values, by the metrics of the table.
#[derive(Debug)]
pub(super) struct Samples([Vec<Sample>; METRICS.len()]);

impl Default for Samples {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }
}

impl Samples {
    /// Adds a value. `labels` are in the order of the table; an empty one is left out.
    pub(super) fn add(&mut self, name: Name, labels: &[&str], value: impl Into<Value>) {
        let names = METRICS[name as usize].labels;
        debug_assert_eq!(names.len(), labels.len(), "{name:?}");
        let labels = names.iter().copied().zip(labels.iter().map(|label| (*label).to_owned()));
        let labels = labels.filter(|(_, label)| !label.is_empty()).collect();
        self.0[name as usize].push(Sample { labels, value: value.into() });
    }

    /// The text of all metrics of the table, those without a value too.
    pub(super) fn into_text(self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_collector(Box::new(self));
        // Writing to a text cannot fail.
        text::encode(&mut text, &registry).ok();
        text
    }
}

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for (metric, samples) in METRICS.iter().zip(&self.0) {
            let (name, unit) = metric.name_and_unit();
            let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
            let encoder =
                encoder.encode_descriptor(name, metric.help, unit.as_ref(), metric.metric_type())?;
            encode(metric, samples, encoder)?;
        }
        Ok(())
    }
}

impl Metric {
    fn metric_type(&self) -> MetricType {
        match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
    }
}

fn encode(metric: &Metric, samples: &[Sample], mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
    for Sample { labels, value } in samples {
        if labels.is_empty() {
            encode_value(metric.kind, value, &mut encoder)?;
        } else {
            encode_value(metric.kind, value, &mut encoder.encode_family(&labels.as_slice())?)?;
        }
    }
    Ok(())
}

fn encode_value(kind: Kind, value: &Value, encoder: &mut MetricEncoder<'_>) -> std::fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(value)) => encoder.encode_counter::<NoLabelSet, _, u64>(value, None),
        (Kind::Counter, Value::Real(value)) => encoder.encode_counter::<NoLabelSet, _, u64>(value, None),
        (Kind::Gauge, Value::Whole(value)) => encoder.encode_gauge(value),
        (Kind::Gauge, Value::Real(value)) => encoder.encode_gauge(value),
        (Kind::Histogram, Value::Durations(it)) => {
            encoder.encode_histogram::<NoLabelSet>(it.sum_s, it.count, &it.buckets, None)
        }
        (Kind::Counter | Kind::Gauge, Value::Durations(_)) | (Kind::Histogram, _) => Ok(()),
    }
}
