//! Whether the workers that live were made for this version.

use std::collections::BTreeMap;

use serde_json::Value;
use tempest_broker::WorkerState;

use super::Finding;

/// Compares what workers say of themselves with this version. Those that say none follow the protocol by hand.
pub(super) fn judge(states: &[WorkerState], own: &str) -> Finding {
    let mut kinds: BTreeMap<(String, String), usize> = BTreeMap::new();
    let alive: Vec<_> = states.iter().filter_map(|state| state.about.as_ref()).collect();
    for about in &alive {
        let about: Value = serde_json::from_slice(about).unwrap_or_default();
        let word = |field: &str| about[field].as_str().map(printable);
        if let Some(version) = word("version").filter(|version| version != own) {
            *kinds.entry((word("lang").unwrap_or_default(), version)).or_default() += 1;
        }
    }
    let name = "workers.versions";
    if kinds.is_empty() {
        return Finding::ok(
            name,
            format!("{} workers live, none of another version than {own}", alive.len()),
        );
    }
    let others: usize = kinds.values().sum();
    let kinds: Vec<_> =
        kinds.iter().map(|((lang, version), count)| format!("{count} × {lang} {version}")).collect();
    Finding::warn(
        name,
        format!(
            "{} of {} workers that live are not of version {own}: {}",
            others,
            alive.len(),
            kinds.join(", ")
        ),
        "install the library that came with this tempest, and start them again",
    )
}

/// Anybody can write a lease.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(40).collect()
}
