//! A door for bench/programs: the way from a registered waiter to its reply, without Redis.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use tempest_protocol::{JobId, Mailbox, Reply};

use super::Shared;
use crate::{Rarely, Stats};

/// A mailbox that nobody reads: what would have been read is handed to it.
pub struct Dispatch {
    shared: Arc<Shared>,
    stats: Stats,
}

impl Dispatch {
    /// A mailbox without waiters.
    ///
    /// Errors: `bad_name` if the name is none.
    pub fn new(name: &str) -> Result<Self, tempest_protocol::Error> {
        let shared = Shared {
            mailbox: Mailbox::new(name)?,
            key: name.to_owned(),
            about: name.to_owned(),
            waiting: std::sync::Mutex::default(),
            unreadable: Rarely::default(),
        };
        Ok(Self { shared: Arc::new(shared), stats: Stats::default() })
    }

    /// Registers a waiter, waits, hands a frame on, and takes the reply; none if the frame is not for this job.
    pub fn round(&self, id: &JobId, frame: &Bytes) -> Option<Reply> {
        let mut waiter = self.shared.expect(id);
        if waiter.reply().now_or_never().is_some() {
            return None;
        }
        self.shared.hand_on(frame, &self.stats);
        waiter.reply().now_or_never()?.ok()
    }
}
