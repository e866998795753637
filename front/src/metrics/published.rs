//! Holds what is written about metrics elsewhere to the table: the dashboard, and the alerts of the documentation.

use std::collections::BTreeSet;

use serde_json::Value;

use super::table::{Kind, METRICS, Metric};

const DASHBOARD: &str = include_str!("../../../docs/grafana/tempest.json");
const OBSERVING: &str = include_str!("../../../docs/operations/observing.md");

/// The metric that a name in a query stands for.
fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| {
        let endings: &[&str] = match metric.kind {
            Kind::Counter => &["_total"],
            Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_sum", "_count"],
        };
        endings.iter().any(|ending| name.strip_suffix(ending) == Some(metric.name))
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
}

/// What is wrong with a query: names that are none, and labels that none of its metrics has.
fn mistakes(query: &str) -> Vec<String> {
    let (mut wrong, mut labels) = (Vec::new(), BTreeSet::<&str>::new());
    for name in words(query).filter(|word| word.starts_with("tempest_")) {
        match metric(name) {
            Some(metric) => labels.extend(metric.labels.iter().chain(&["instance", "job", "le"])),
            None => wrong.push(format!("{name} is not in the table: {query}")),
        }
    }
    let grouped = query.split("by (").skip(1).filter_map(|rest| rest.split(')').next()).flat_map(words);
    let matched = query.split(['=', '!']).filter_map(|before| words(before).last());
    let in_braces =
        |label: &&str| query.contains(&format!("{label}=")) || query.contains(&format!("{label}!"));
    for label in grouped.chain(matched.filter(in_braces)).filter(|label| !label.is_empty()) {
        if !labels.contains(label) {
            wrong.push(format!("no metric has the label {label}: {query}"));
        }
    }
    wrong
}

/// The texts under a key, however deep.
fn texts<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|inner| texts(inner, key, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| texts(inner, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_for_metrics_of_the_table_only() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let mut queries = Vec::new();
    for key in ["expr", "definition", "query"] {
        texts(&dashboard, key, &mut queries);
    }
    assert!(queries.len() > 40, "{queries:?}");
    let wrong: Vec<_> = queries.iter().flat_map(|query| mistakes(query)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let used = queries.iter().flat_map(|query| words(query)).filter_map(metric);
    let used: BTreeSet<_> = used.map(|metric| metric.name).collect();
    let unused: Vec<_> = METRICS.iter().map(|it| it.name).filter(|name| !used.contains(name)).collect();
    assert!(unused.is_empty(), "nobody looks at {unused:?}");
}

#[test]
fn the_panels_of_the_dashboard_have_places_of_their_own() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut taken = BTreeSet::new();
    for panel in panels {
        let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
        assert!(side("x") + side("w") <= 24, "{panel}");
        for cell in (0..side("w")).flat_map(|x| (0..side("h")).map(move |y| (x, y))) {
            assert!(taken.insert((side("x") + cell.0, side("y") + cell.1)), "{panel}");
        }
    }
}

#[test]
fn the_alerts_of_the_documentation_ask_for_metrics_of_the_table_only() {
    let alerts = OBSERVING.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let wrong: Vec<_> = alerts.clone().flat_map(mistakes).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(alerts.count() >= 8);
    let names: Vec<_> = words(OBSERVING).filter(|word| word.starts_with("tempest_")).collect();
    let unknown: Vec<_> = names.iter().filter(|name| metric(name).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_query_with_a_mistake_is_noticed() {
    assert!(mistakes("sum by (code) (rate(tempest_refusals_total{instance=\"a\"}[5m]))").is_empty());
    assert_eq!(mistakes("tempest_refusals").len(), 1, "a counter ends with _total");
    assert_eq!(mistakes("sum by (queue) (tempest_refusals_total)").len(), 1);
    assert_eq!(mistakes("tempest_refusals_total{kode=\"x\"}").len(), 1);
}
