//! Names of queues, topics, actions, workers: checked before use, so that no name can reach into another key
//! (SPEC "Names").

use std::{fmt, sync::Arc};

use crate::{Code, Error};

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn topical(byte: u8) -> bool {
    plain(byte) || matches!(byte, b'/' | b':')
}

/// Names no queue may have: they stand for sets of the cluster.
const RESERVED_QUEUES: [&str; 2] = ["queues", "mailboxes"];

fn check(kind: &str, name: &str, length_max: usize, allowed: fn(u8) -> bool) -> Result<(), Error> {
    if name.is_empty() || name.len() > length_max {
        let detail = format!("a {kind} name has 1 to {length_max} characters, this one has {}", name.len());
        return Err(Error::new(Code::BadName, detail));
    }
    match name.bytes().find(|byte| !allowed(*byte)) {
        None if kind == "queue" && RESERVED_QUEUES.contains(&name) => Err(Error::new(
            Code::BadName,
            format!("{name:?} is reserved: a set of the cluster has this name"),
        )),
        None => Ok(()),
        Some(byte) => Err(Error::new(
            Code::BadName,
            format!("a {kind} name cannot contain {:?}: {name:?}", char::from(byte)),
        )),
    }
}

macro_rules! names {
    ($($type:ident $kind:literal $max:literal $allowed:ident $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            #[doc = concat!("Checks and takes a name of 1 to ", $max, " characters; else `bad_name`.")]
            pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
                let name = name.as_ref();
                check($kind, name, $max, $allowed)?;
                Ok(Self(name.into()))
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
    Prefix "prefix" 32 plain "What all keys of one cluster begin with; separates clusters that share a Redis.";
    Queue "queue" 64 plain "Where jobs wait.";
    Action "action" 128 plain "The name of the handler a job is for.";
    WorkerId "worker" 128 plain "A worker process, new at every start.";
    Mailbox "mailbox" 64 plain "Where one process receives replies, new at every start.";
    JobId "id" 64 plain "The id of a job.";
    Topic "topic" 256 topical "What events are published to.";
}

impl Default for Prefix {
    fn default() -> Self {
        Self("tempest".into())
    }
}
