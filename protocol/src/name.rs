//! Names of queues, topics, actions, workers: checked before use, so that no name can reach into another key
//! (SPEC "Names").

use std::{fmt, sync::Arc};

use crate::{Code, Error};

/// What may stand in the name of a queue, an action, an id.
const PLAIN: u8 = 1;
/// What may stand in the name of a topic.
const TOPICAL: u8 = 2;
/// What may stand in a token of HTTP (RFC 9110 section 5.6.2).
const TOKEN: u8 = 4;

/// The kinds of each byte, as a set of bits.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0u8;
    while byte.is_ascii() {
        kinds[byte as usize] = match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b'-' => PLAIN | TOPICAL | TOKEN,
            b'/' | b':' => TOPICAL,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~' => TOKEN,
            _ => 0,
        };
        byte += 1;
    }
    kinds
}

#[inline]
fn is(byte: u8, kind: u8) -> bool {
    KINDS[usize::from(byte)] & kind != 0
}

/// Whether a text is a token of HTTP.
#[inline]
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| is(byte, TOKEN))
}

/// Names no queue may have: they stand for sets of the cluster.
const RESERVED_QUEUES: [&str; 2] = ["queues", "mailboxes"];
const NONE: [&str; 0] = [];

#[inline]
fn is_name(name: &str, length_max: usize, kind: u8) -> bool {
    (1..=length_max).contains(&name.len()) && name.bytes().all(|byte| is(byte, kind))
}

/// Why it is no name of this sort.
#[cold]
fn refusal(sort: &str, name: &str, length_max: usize, kind: u8) -> Error {
    let detail = match name.bytes().find(|byte| !is(*byte, kind)) {
        _ if name.is_empty() || name.len() > length_max => {
            format!("a {sort} name has 1 to {length_max} characters, this one has {}", name.len())
        }
        Some(byte) => format!("a {sort} name cannot contain {:?}: {name:?}", char::from(byte)),
        None => format!("{name:?} is reserved: a set of the cluster has this name"),
    };
    Error::new(Code::BadName, detail)
}

macro_rules! names {
    ($($type:ident $sort:literal $max:literal $kind:ident $reserved:expr, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Checks and takes a name of 1 to ", $max, " characters; else `bad_name`.")]
            pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
                let name = name.as_ref();
                if Self::allows(name) { Ok(Self(name.into())) } else { Err(refusal($sort, name, $max, $kind)) }
            }

            /// Whether there may be such a name.
            pub fn allows(name: &str) -> bool {
                is_name(name, $max, $kind) && !$reserved.contains(&name)
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = Error;

            fn from_str(name: &str) -> Result<Self, Error> {
                Self::new(name)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

names! {
    Prefix "prefix" 32 PLAIN NONE, "What all keys of one cluster begin with; separates clusters that share a Redis.";
    Queue "queue" 64 PLAIN RESERVED_QUEUES, "Where jobs wait.";
    Action "action" 128 PLAIN NONE, "The name of the handler a job is for.";
    WorkerId "worker" 128 PLAIN NONE, "A worker process, new at every start.";
    Mailbox "mailbox" 64 PLAIN NONE, "Where one process receives replies, new at every start.";
    JobId "id" 64 PLAIN NONE, "The id of a job.";
    Group "group" 64 PLAIN NONE, "Several jobs of which one is told when all are done.";
    Schedule "schedule" 50 PLAIN NONE, "What pushes a job again and again; short enough for ids of jobs that begin with it.";
    Tag "key" 128 TOPICAL NONE, "What jobs have in common that exclude each other.";
    Topic "topic" 256 TOPICAL NONE, "What events are published to.";
}

/// Characters of a host's name in an id.
const HOST_CHARS_MAX: usize = 40;

impl WorkerId {
    /// A machine's name, as far as a worker id can hold it (SPEC "Names").
    pub fn host_part(name: &str) -> String {
        let plain =
            |char: char| if char.is_ascii_alphanumeric() || ".-_".contains(char) { char } else { '-' };
        let host: String = name.chars().map(plain).take(HOST_CHARS_MAX).collect();
        if host.is_empty() { "host".to_owned() } else { host }
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self("tempest".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_what_may_stand_in_names_and_tokens() {
        for byte in 0..=u8::MAX {
            let text = char::from(byte).to_string();
            let plain = byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            assert_eq!(Queue::allows(&text), plain, "{text:?}");
            assert_eq!(Topic::allows(&text), plain || b"/:".contains(&byte), "{text:?}");
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&text), token, "{text:?}");
        }
        assert!(!is_token("") && !Action::allows("") && !Queue::allows("queues"));
        assert!(
            Action::allows("queues") && Prefix::allows(&"p".repeat(32)) && !Prefix::allows(&"p".repeat(33))
        );
    }
}
