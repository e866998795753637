//! What was refused lately, for whoever looks at the first page.

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use http::Method;
use tempest_protocol::Code;

use crate::{Refusal, caller::RequestId};

/// How many refusals are kept.
const KEPT: usize = 50;
/// Characters of a path or method that are kept.
const TEXT_CHARS_MAX: usize = 200;

/// A request that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) at: SystemTime,
    pub(crate) code: Code,
    pub(crate) client: Option<IpAddr>,
    pub(crate) request_id: Option<String>,
    /// Method and path; none if they could not be read. Queries hold secrets more often and are left out.
    pub(crate) target: Option<(String, String)>,
}

/// The last refusals.
#[derive(Default)]
pub(crate) struct Recent(Mutex<VecDeque<Refused>>);

impl Recent {
    /// Keeps one more. In a flood of them some are left out: nobody waits for a note.
    pub(crate) fn note(
        &self,
        refusal: &Refusal,
        client: Option<&IpAddr>,
        request_id: Option<&RequestId>,
        target: Option<(&Method, &str)>,
    ) {
        let Ok(mut kept) = self.0.try_lock() else { return };
        kept.truncate(KEPT - 1);
        kept.push_front(Refused {
            at: SystemTime::now(),
            code: refusal.code(),
            client: client.copied(),
            request_id: request_id.map(|id| id.as_str().to_owned()),
            target: target.map(|(method, path)| (short(method.as_str()), short(path))),
        });
    }

    /// All that are kept, the last one first.
    pub(crate) fn all(&self) -> Vec<Refused> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_their_paths_are_cut() {
        let recent = Recent::default();
        let refusal = Refusal::new(Code::NotFound);
        for n in 0..KEPT + 10 {
            let path = format!("/{n}/{}", "é".repeat(200));
            recent.note(&refusal, None, None, Some((&Method::GET, &path)));
        }
        let kept = recent.all();
        assert_eq!(kept.len(), KEPT);
        let (method, path) = kept[0].target.clone().expect("a path");
        assert!(
            method == "GET" && path.starts_with("/59/é") && path.chars().count() == TEXT_CHARS_MAX,
            "{path}"
        );
    }
}
