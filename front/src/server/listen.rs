//! Sockets that are listened on.

use tokio::net::{TcpListener, lookup_host};

use crate::Error;

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
        match TcpListener::bind(socket).await {
            Ok(listener) => listeners.push(listener),
            // A machine may have no IPv6 although `localhost` names it.
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => last = Some(error),
            Err(error) => return Err(bind(error)),
        }
    }
    match (listeners.is_empty(), last) {
        (true, Some(error)) => Err(bind(error)),
        (true, None) => Err(bind(std::io::Error::other("it stands for no address"))),
        _ => Ok(listeners),
    }
}
