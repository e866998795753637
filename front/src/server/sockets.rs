//! The sockets a front listens on: whether they were opened here or given to it, and how they are given on to the
//! front that takes its place.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Weak},
};

use socket2::SockRef;
use tokio::net::TcpListener;
use tracing::{info, warn};

use super::listen::{self, BACKLOG};
use crate::Error;

/// What is spoken on a listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP, as its bytes are.
    Http,
    /// HTTP in TLS.
    Https,
    /// What operators ask.
    Admin,
}

impl Spoken {
    /// The word for it, as in `LISTEN_FDNAMES`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Admin => "admin",
        }
    }

    /// What this word stands for. Any other is HTTP: systemd names a socket after its unit unless told otherwise.
    pub fn named(word: &str) -> Self {
        [Self::Https, Self::Admin].into_iter().find(|it| it.as_str() == word).unwrap_or(Self::Http)
    }
}

/// Listening sockets that somebody else has opened for a front: systemd, or the front it replaces.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(Spoken, StdListener)>,
}

impl Inherited {
    /// One more. It may be bound and not yet listen.
    pub fn add(&mut self, spoken: Spoken, socket: StdListener) {
        self.sockets.push((spoken, socket));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// What was inherited to speak this on; if nothing was, these addresses are listened on.
    ///
    /// Errors: [`Error::Bind`], [`Error::Inherited`].
    pub(crate) async fn or_listen(
        &mut self,
        spoken: Spoken,
        addresses: &[String],
    ) -> Result<Vec<Listening>, Error> {
        let (mine, others) = std::mem::take(&mut self.sockets).into_iter().partition(|(it, _)| *it == spoken);
        self.sockets = others;
        let mut listening = Vec::new();
        for (_, socket) in mine {
            let listener = adopt(socket).map_err(Error::Inherited)?;
            listening.extend(Listening::new(spoken, listener, None));
        }
        if !listening.is_empty() {
            let given: Vec<_> = listening.iter().map(|it| it.address.to_string()).collect();
            let spoken = spoken.as_str();
            info!(
                spoken,
                given = given.join(","),
                configured = addresses.join(","),
                "listens on sockets it was given"
            );
            return Ok(listening);
        }
        for address in addresses {
            let host = address.rsplit_once(':').map(|(host, _)| Arc::<str>::from(host));
            let opened = listen::listen(address).await?;
            listening.extend(
                opened.into_iter().filter_map(|listener| Listening::new(spoken, listener, host.clone())),
            );
        }
        Ok(listening)
    }

    /// Says which of them nobody has taken. They close with this value, and their clients are refused.
    pub(crate) fn say_unused(&self) {
        for (spoken, socket) in &self.sockets {
            let address = socket.local_addr().ok();
            warn!(
                spoken = spoken.as_str(),
                ?address,
                "a socket it was given is not used: nothing is configured for it"
            );
        }
    }
}

fn adopt(socket: StdListener) -> std::io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    let reference = SockRef::from(&socket);
    // The backlog of one that listens was somebody's choice.
    if !reference.is_listener()? {
        reference.listen(BACKLOG)?;
    }
    TcpListener::from_std(socket)
}

/// A socket that is listened on.
pub(crate) struct Listening {
    pub(crate) spoken: Spoken,
    pub(crate) address: SocketAddr,
    /// As it was told to listen; none for a socket it was given.
    host: Option<Arc<str>>,
    pub(crate) listener: Arc<TcpListener>,
}

impl Listening {
    fn new(spoken: Spoken, listener: TcpListener, host: Option<Arc<str>>) -> Option<Self> {
        let address = listener.local_addr().ok()?;
        Some(Self { spoken, address, host, listener: Arc::new(listener) })
    }

    /// Where people reach it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.spoken == Spoken::Https { "https" } else { "http" };
        match &self.host {
            Some(host) => format!("{scheme}://{host}:{}", self.address.port()),
            None => format!("{scheme}://{}", self.address),
        }
    }
}

/// The listening sockets of a front, for whoever takes its place. Does not keep them open.
#[derive(Clone)]
pub(crate) struct Estate {
    sockets: Arc<[(Spoken, Weak<TcpListener>)]>,
}

impl Estate {
    pub(crate) fn of<'l>(listening: impl Iterator<Item = &'l Listening>) -> Self {
        Self { sockets: listening.map(|it| (it.spoken, Arc::downgrade(&it.listener))).collect() }
    }

    /// Another descriptor of each socket that is still open.
    pub(crate) fn duplicate(&self) -> std::io::Result<Vec<(Spoken, OwnedFd)>> {
        let open = self.sockets.iter().filter_map(|(spoken, listener)| Some((*spoken, listener.upgrade()?)));
        open.map(|(spoken, listener)| Ok((spoken, listener.as_fd().try_clone_to_owned()?))).collect()
    }
}
