//! Whether a front can do its work, judged by progress: not that a connection is open, but that something has come over
//! it lately.

use std::time::Duration;

use serde_json::{Value, json};
use tempest_protocol::limits;

use super::millis;
use crate::Cluster;

/// How long Redis may go without taking a write; one is due each second.
const WRITE: Duration = Duration::from_secs(5);
/// How long the queues may go unseen; a look is due each second.
const LOOK: Duration = Duration::from_secs(6);
/// How much longer than it blocks a look into the mailbox may take.
const MAILBOX_SLACK: Duration = Duration::from_secs(3);
/// How much later than it is due the probe of the topics may be heard.
const PROBE_SLACK: Duration = Duration::from_secs(3);

/// Why a front is not ready, and for how long that is so, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unready {
    /// One of [`Unready::WORDS`].
    pub(crate) reason: &'static str,
    pub(crate) lasts: Option<Duration>,
    /// What is wrong with Redis, if that is known: the word of its refusals, or `away`.
    pub(crate) fault: Option<&'static str>,
}

impl Unready {
    /// Every reason, with what it means.
    pub(crate) const WORDS: [(&'static str, &'static str); 6] = [
        ("draining", "The front is about to stop."),
        ("redis_away", "The connection to Redis is down."),
        ("redis_refuses", "Redis has taken no write, or no job, for a while."),
        ("queues_unseen", "The queues and their workers have not been seen for a while."),
        ("mailbox_unread", "The mailbox that replies come to has not been read for a while."),
        ("topics_silent", "Nothing published can be heard."),
    ];

    /// All that is true now.
    pub(crate) fn of(cluster: &Cluster) -> Vec<Self> {
        let shared = &cluster.shared;
        let (broker, stats) = (&shared.broker, shared.broker.stats());
        let is_away = broker.up_since().is_none();
        let late = |age: Option<Duration>, max: Duration| match age {
            Some(age) if age <= max => None,
            age => Some(age),
        };
        // Most refusals hit the beats too; an account may be denied pushes alone.
        let denied = stats.faults.pushes_denied().filter(|lasts| *lasts > WRITE).map(Some);
        let seen = broker.presence().seen().map(|seen| seen.elapsed());
        let found = [
            cluster.is_draining().then_some(None),
            is_away.then(|| stats.lost.age()),
            late(stats.written.age(), WRITE).or(denied).filter(|_| !is_away),
            late(seen, LOOK),
            late(stats.mailbox_read.age(), limits::BLOCK + MAILBOX_SLACK),
            late(shared.topics.silence(), limits::PROBE + PROBE_SLACK),
        ];
        let reasons =
            Self::WORDS.iter().zip(found).filter_map(|((reason, _), lasts)| Some((*reason, lasts?)));
        let fault = stats.faults.current();
        reasons
            .map(|(reason, lasts)| Self { reason, lasts, fault: fault.filter(|_| reason != "draining") })
            .collect()
    }

    fn detail(&self) -> &'static str {
        Self::WORDS.iter().find(|(word, _)| *word == self.reason).map_or("", |(_, detail)| detail)
    }
}

/// `{"ready":false,"reasons":[{"reason":"redis_refuses","detail":"…","for_ms":1200,"fault":"OOM"}]}`; `for_ms` and `fault`
/// where they are known.
pub(super) fn to_json(reasons: &[Unready]) -> String {
    format!("{}\n", json!({ "ready": reasons.is_empty(), "reasons": to_values(reasons) }))
}

/// The reasons alone.
pub(super) fn to_values(reasons: &[Unready]) -> Vec<Value> {
    reasons
        .iter()
        .map(|unready| {
            let mut reason = json!({ "reason": unready.reason, "detail": unready.detail() });
            if let Some(lasts) = unready.lasts {
                reason["for_ms"] = millis(lasts).into();
            }
            if let Some(fault) = unready.fault {
                reason["fault"] = fault.into();
            }
            reason
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_documented() {
        let page = include_str!("../../../docs/operations/observing.md");
        for (word, _) in Unready::WORDS {
            assert!(page.contains(&format!("| `{word}` |")), "{word}");
        }
    }

    #[test]
    fn reasons_are_told_with_their_meaning_and_age() {
        assert_eq!(to_json(&[]), "{\"ready\":true,\"reasons\":[]}\n");
        let away =
            Unready { reason: "redis_away", lasts: Some(Duration::from_millis(1_200)), fault: Some("away") };
        let draining = Unready { reason: "draining", lasts: None, fault: None };
        let told: serde_json::Value = serde_json::from_str(&to_json(&[draining, away])).unwrap();
        let expected = json!({ "ready": false, "reasons": [
            { "reason": "draining", "detail": "The front is about to stop." },
            { "reason": "redis_away", "detail": "The connection to Redis is down.", "for_ms": 1200, "fault": "away" },
        ] });
        assert_eq!(told, expected);
    }
}
