//! Sockets that this process opens to listen on.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::Error;

/// Connections that may wait to be accepted; the system takes less if `net.core.somaxconn` says so.
pub const BACKLOG: i32 = 4_096;

/// How long a client may take no byte of what it is sent.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Has the system end a connection whose client takes or confirms nothing for [`PATIENCE`]: one that does not read, one
/// that is gone without a word (TCP_USER_TIMEOUT, RFC 5482). Connections have it from the socket they come in on.
#[cfg(target_os = "linux")]
pub(super) fn limit_patience(listener: &TcpListener) -> io::Result<()> {
    socket2::SockRef::from(listener).set_tcp_user_timeout(Some(PATIENCE))
}

/// Elsewhere only an event stream notices, where it writes itself.
#[cfg(not(target_os = "linux"))]
pub(super) fn limit_patience(_: &TcpListener) -> io::Result<()> {
    Ok(())
}

/// Listens on every address a host name stands for.
pub(super) async fn listen(address: &str) -> Result<Vec<TcpListener>, Error> {
    let bind = |source| Error::Bind { address: address.to_owned(), source };
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut last = None;
    for mut socket in lookup_host(address).await.map_err(bind)? {
        // Port 0: the same free port on all addresses.
        if let Some(first) = listeners.first().and_then(|listener| listener.local_addr().ok()) {
            socket.set_port(first.port());
        }
        match open(socket) {
            Ok(listener) => listeners.push(listener),
            // A machine may have no IPv6 although `localhost` names it.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => last = Some(error),
            Err(error) => return Err(bind(error)),
        }
    }
    match (listeners.is_empty(), last) {
        (true, Some(error)) => Err(bind(error)),
        (true, None) => Err(bind(io::Error::other("it stands for no address"))),
        _ => Ok(listeners),
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let no_ipv6 = |error| io::Error::new(io::ErrorKind::AddrNotAvailable, error);
    let socket =
        if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6().map_err(no_ipv6)? };
    // Connections of a front that was here before may still be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG.unsigned_abs())
}
