//! Sockets this process was started with: by systemd, by anything else that speaks `LISTEN_FDS` (`sd_listen_fds(3)`), or
//! by the front it replaces, which also wants to hear when this one serves.

use std::os::unix::net::UnixDatagram;

use listenfd::ListenFd;
use tempest_front::{Inherited, Spoken};
use tracing::warn;

use crate::{failure::Failure, service};

/// The name of the socket on which the front that is replaced listens.
pub(crate) const READY: &str = "tempest-ready";
/// The first descriptor that is passed.
pub(crate) const FIRST: i32 = 3;

/// What was given.
#[derive(Default)]
pub(crate) struct Given {
    /// To listen on.
    pub(crate) sockets: Inherited,
    /// Where the front that is replaced waits.
    predecessor: Option<UnixDatagram>,
}

impl Given {
    /// Takes them. Must be called before there are threads, because the variables are removed: no child of this
    /// process shall believe that they are for it.
    ///
    /// Errors: a descriptor that is no TCP socket.
    pub(crate) fn take() -> Result<Self, Failure> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let (mut passed, mut given) = (ListenFd::from_env(), Self::default());
        for index in 0..passed.len() {
            let name = names.next().unwrap_or_default();
            let what = || format!("LISTEN_FDS, descriptor {}", index + FIRST.unsigned_abs() as usize);
            let cannot = |error| Failure::new(format!("{} ({name:?}): {error}", what()));
            if name == READY {
                given.predecessor = passed.take_unix_datagram(index).map_err(cannot)?;
            } else if let Some(socket) = passed.take_tcp_listener(index).map_err(cannot)? {
                given.sockets.add(Spoken::named(name), socket);
            }
        }
        Ok(given)
    }
}

/// Who waits for this process to serve.
pub(crate) struct Waiting {
    predecessor: Option<UnixDatagram>,
}

impl Given {
    /// The sockets, and who waits.
    pub(crate) fn split(self) -> (Inherited, Waiting) {
        (self.sockets, Waiting { predecessor: self.predecessor })
    }
}

impl Waiting {
    /// This process serves.
    pub(crate) fn ready(self) {
        service::ready();
        if let Some(predecessor) = self.predecessor
            && let Err(error) = predecessor.send(b"ready")
        {
            warn!(%error, "the front that is replaced cannot be told; it goes on, too");
        }
    }
}
