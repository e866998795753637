//! Who asks, as far as this front believes it: the connection's other end, or what trusted proxies tell.

mod proxies;
mod request_id;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::ConnectInfo;
use http::Request;

pub use proxies::Proxies;
pub(crate) use request_id::{REQUEST_ID, RequestId};

use crate::{server::Peer, translate};
use proxies::{FIELDS, Told};

/// The client of a request. What stands between this front's own server and a worker finds it in the request's
/// extensions, as an `Arc`.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The address that limits count for and workers see; none if the server that took the request does not tell.
    pub(crate) address: Option<IpAddr>,
    /// `http` or `https`, as the client spoke it.
    pub(crate) scheme: &'static str,
    /// The host the request is for, with its port if it has one.
    pub(crate) host: String,
    /// What this request is called in logs, in its job and in its response; none where this front's server did not
    /// take it.
    pub(crate) request_id: Option<RequestId>,
}

impl Caller {
    /// The client of a request that came over a connection of this front's own. Fields in which only proxies may tell
    /// of a client are removed unless a trusted one sent them; `x-request-id` becomes the request's own.
    pub(crate) fn admit<B>(request: &mut Request<B>, peer: Peer, proxies: &Proxies) -> Self {
        let trusted = !proxies.is_empty() && proxies.trust(peer.address.ip().to_canonical());
        let told = match trusted {
            true => Told::by(proxies, request.headers()),
            false => Told::default(),
        };
        let headers = request.headers_mut();
        if !trusted && headers.keys().any(|name| FIELDS.contains(name)) {
            for field in &FIELDS {
                headers.remove(field);
            }
        }
        let given = headers.get(&REQUEST_ID).filter(|_| trusted).and_then(RequestId::given);
        let request_id = given.unwrap_or_else(RequestId::new);
        headers.insert(REQUEST_ID, request_id.to_header());
        let is_https = told.is_https.unwrap_or(peer.is_tls);
        Self {
            address: told.address.or_else(|| Some(peer.address.ip().to_canonical())),
            scheme: if is_https { "https" } else { "http" },
            host: told.host.or_else(|| translate::host(request.uri(), request.headers())).unwrap_or_default(),
            request_id: Some(request_id),
        }
    }

    /// The client of a request that may have been taken by somebody else's server, as far as that server tells.
    pub(crate) fn of<B>(request: &Request<B>) -> Arc<Self> {
        let known = request.extensions().get::<Arc<Self>>().cloned();
        known.unwrap_or_else(|| {
            let remote = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|remote| remote.0.ip());
            Arc::new(Self {
                address: remote.map(|address| address.to_canonical()),
                scheme: if request.uri().scheme_str() == Some("https") { "https" } else { "http" },
                host: translate::host(request.uri(), request.headers()).unwrap_or_default(),
                request_id: None,
            })
        })
    }
}
