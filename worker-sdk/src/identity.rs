//! The name of a worker: new at every start of a process, made after the last fork (SPEC "Names").

use std::sync::atomic::{AtomicUsize, Ordering};

use tempest_protocol::WorkerId;

/// Characters of a tag.
const TAG_MAX: usize = 32;

/// Makes the id of the next worker of this process: `<host>-<pid>-<tag>`, from the second one on with `-2`, `-3`, …
/// `tag` is what a supervisor set, so that it knows whose jobs to recover; none: a random one.
///
/// Errors: the tag is none.
pub(crate) fn worker_id(tag: Option<&str>) -> Result<WorkerId, String> {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    let tag = match tag {
        Some(tag) => checked(tag)?.to_owned(),
        None => format!("{:012x}", fastrand::u64(..1 << 48)),
    };
    let name = match STARTED.fetch_add(1, Ordering::Relaxed) {
        0 => format!("{}-{}-{tag}", host(), std::process::id()),
        more => format!("{}-{}-{tag}-{}", host(), std::process::id(), more + 1),
    };
    WorkerId::new(name).map_err(|error| error.detail().to_owned())
}

fn checked(tag: &str) -> Result<&str, String> {
    let fits = (1..=TAG_MAX).contains(&tag.len())
        && tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if fits {
        Ok(tag)
    } else {
        Err(format!("TEMPEST_WORKER_TAG is 1 to {TAG_MAX} of a-z and 0-9, not {tag:?}"))
    }
}

/// This machine's name, as far as a worker id can hold it.
pub(crate) fn host() -> String {
    WorkerId::host_part(&rustix::system::uname().nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_new_and_end_in_the_tag() {
        let first = worker_id(Some("abc123")).expect("an id");
        let second = worker_id(Some("abc123")).expect("an id");
        assert_ne!(first, second);
        assert!(second.as_str().contains("-abc123-"), "{second}");
        assert!(first.as_str().contains(&format!("-{}-abc123", std::process::id())), "{first}");
    }

    #[test]
    fn a_tag_with_other_characters_is_refused() {
        for tag in ["", "A", "a-b", "a.b", &"a".repeat(33)] {
            assert!(worker_id(Some(tag)).is_err(), "{tag:?}");
        }
    }
}
