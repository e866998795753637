//! The Tempest wire: envelopes, names, keys, codecs, event rendering.
//!
//! Pure: no tokio, no Redis, no clock, no randomness. Everything here is a function from bytes to a value or to an
//! [`Error`] with a [`Code`]; any byte string is safe to hand in. The normative text is `protocol/SPEC.md`, the
//! cases every language must pass are `protocol/vectors/*.json`.

mod background;
mod backoff;
mod code;
pub mod dead;
mod event;
mod field;
mod frame;
mod header_map;
mod headers;
mod http;
mod job;
mod json;
mod key;
pub mod limits;
mod msgpack;
mod name;
mod reply;
mod scan;
pub mod scripts;
mod writer;

pub use background::{Background, Following, Holds, chain, completing, following, for_group};
pub use backoff::{Backoff, RECONNECT, RETRY};
pub use code::{Code, Error};
pub use event::Event;
pub use frame::{Encoding, Raw};
pub use headers::Headers;
pub use http::HttpRequest;
pub use job::{Envelope, Job, Lane};
pub use key::Keys;
pub use name::{Action, Group, JobId, Mailbox, Prefix, Queue, Schedule, Tag, Topic, WorkerId};
pub use reply::{Content, Failure, Reply, Timing};
