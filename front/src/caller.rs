//! Who asks, as far as this front believes it. A client names itself only where its route says so; proxies are
//! believed only if they are trusted.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Request, request};

use crate::{server::Peer, translate};

/// The client of a request. Lives in the extensions of each request of this front's own server.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The address that limits count for and workers see; none if the server that took the request does not tell.
    pub(crate) address: Option<IpAddr>,
    /// `http` or `https`, as the client spoke it.
    pub(crate) scheme: String,
    /// The host the request is for, with its port if it has one.
    pub(crate) host: String,
}

impl Caller {
    /// The client of a request that came over a connection of this front's own.
    pub(crate) fn of<B>(request: &Request<B>, peer: Peer) -> Self {
        Self {
            address: Some(peer.address.ip().to_canonical()),
            scheme: if peer.is_tls { "https" } else { "http" }.to_owned(),
            host: translate::host(request.uri(), request.headers()).unwrap_or_default(),
        }
    }

    /// The client of a request that somebody else's server took, as far as that server tells.
    pub(crate) fn of_parts(parts: &request::Parts) -> Self {
        let known = parts.extensions.get::<Self>().cloned();
        known.unwrap_or_else(|| {
            let remote = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|remote| remote.0.ip());
            Self {
                address: remote.map(|address| address.to_canonical()),
                scheme: parts.uri.scheme_str().unwrap_or("http").to_owned(),
                host: translate::host(&parts.uri, &parts.headers).unwrap_or_default(),
            }
        })
    }
}
