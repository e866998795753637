//! The line that each request has in the log, under the target `tempest::access`.
//!
//! It is written when the last of a response was handed to the connection, or when the client left; for an event stream
//! when it ends. It never holds header fields or bodies, and of a request's target the query only where that was asked
//! for. Values of clients are texts to the formatters, which quote them and escape what could break a line.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, Request, Uri};
use tempest_protocol::Code;
use tracing::Level;

use crate::{
    Refusal,
    caller::{Caller, RequestId},
    config::AccessLog,
    metrics::{CLIENT_LEFT, Traffic},
    parts::milliseconds,
    recent::Recent,
    seen::StreamSeen,
    server::Peer,
};

/// What lines are logged under.
macro_rules! target {
    () => {
        "tempest::access"
    };
}

/// Bytes of a target, or of a host, that are logged.
const TEXT_BYTES_MAX: usize = 2_048;

/// The line of a request that is being answered. It is written when this is dropped.
pub(crate) struct Line {
    pub(crate) began: Instant,
    pub(crate) caller: Arc<Caller>,
    method: Method,
    url: Uri,
    log: AccessLog,
    /// Of its route, once that is known.
    traffic: Option<Arc<Traffic>>,
    /// Set if it may become an event stream, which has a line of its own.
    stream: Option<Arc<StreamSeen>>,
    status: Option<u16>,
    code: Option<Code>,
    bytes: u64,
}

impl Line {
    /// A request has come.
    pub(crate) fn begin<B>(request: &Request<B>, caller: Arc<Caller>, log: AccessLog) -> Self {
        let log = if tracing::enabled!(target: target!(), Level::ERROR) { log } else { AccessLog::Off };
        Self {
            began: Instant::now(),
            caller,
            method: request.method().clone(),
            url: request.uri().clone(),
            log,
            traffic: None,
            stream: None,
            status: None,
            code: None,
            bytes: 0,
        }
    }

    /// It takes a route.
    pub(crate) fn takes(&mut self, traffic: &Arc<Traffic>, stream: Option<&Arc<StreamSeen>>) {
        if self.is_on() {
            (self.traffic, self.stream) = (Some(traffic.clone()), stream.cloned());
        }
    }

    /// What an event stream that it becomes will say of it.
    pub(crate) fn of_stream(&self) -> Option<Box<StreamLine>> {
        self.is_on().then(|| {
            Box::new(StreamLine {
                client: self.caller.address,
                host: shortened(&self.caller.host).into(),
                url: self.shown_url().into(),
                request_id: self.caller.request_id.clone(),
            })
        })
    }

    /// Remembers its refusal for whoever looks.
    pub(crate) fn note(&self, recent: &Recent, refusal: &Refusal) {
        let Caller { address, request_id, .. } = &*self.caller;
        recent.note(refusal, address.as_ref(), request_id.as_ref(), Some((&self.method, self.url.path())));
    }

    /// It has a response, with the code of its refusal if it is one. None if nothing is to be logged.
    pub(crate) fn answered(mut self, status: u16, code: Option<Code>) -> Option<Box<Self>> {
        (self.status, self.code) = (Some(status), code);
        (self.is_on() && !self.is_stream()).then(|| Box::new(self))
    }

    /// So much of the response was handed to the connection.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    fn is_stream(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_open())
    }

    fn is_on(&self) -> bool {
        self.log != AccessLog::Off
    }

    fn shown_url(&self) -> Cow<'_, str> {
        match (&self.url, self.log) {
            // A target in absolute form, or the authority of a CONNECT.
            (url, _) if url.scheme().is_some() || url.path_and_query().is_none() => {
                let text = url.to_string();
                let path = text.split_once('?').map_or(text.as_str(), |(path, _)| path);
                shortened(path).to_owned().into()
            }
            (url, AccessLog::Query) => shortened(url.path_and_query().map_or("", |it| it.as_str())).into(),
            (url, _) => shortened(url.path()).into(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.is_on() || self.is_stream() {
            return;
        }
        let status = self.status.unwrap_or(CLIENT_LEFT);
        let route = self.traffic.as_ref().map(|traffic| &traffic.route);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: target!(),
                    client = self.caller.address.map(display),
                    method = self.method.as_str(),
                    host = shortened(&self.caller.host),
                    url = &*self.shown_url(),
                    status,
                    code = self.code.map(Code::as_str),
                    bytes = self.bytes,
                    ms = milliseconds(self.began.elapsed()),
                    request = self.caller.request_id.as_ref().map(RequestId::as_str),
                    route = route.map(|route| route.route.as_str()),
                    to = route.map(|route| route.target),
                    queue = route.map(|route| route.queue.as_str()).filter(|queue| !queue.is_empty()),
                    "{}",
                    if self.status.is_some() { "answered" } else { "client left" },
                )
            };
        }
        match level(status, self.code) {
            Level::ERROR => line!(error),
            Level::WARN => line!(warn),
            _ => line!(info),
        }
    }
}

/// By consequence: that a client did not get what it asked for because of us, our workers or our load is a warning, a
/// fault of this program an error.
fn level(status: u16, code: Option<Code>) -> Level {
    match (status, code) {
        (_, Some(Code::Internal)) => Level::ERROR,
        // What is not supported is no trouble of ours.
        (_, Some(Code::NotImplemented)) => Level::INFO,
        (500.., _) => Level::WARN,
        _ => Level::INFO,
    }
}

/// A connection ends with a refusal because what came on it could not be read as a request.
pub(crate) fn unread(peer: Peer, code: Code, log: AccessLog) {
    if log != AccessLog::Off {
        let (client, status) = (peer.address.ip().to_canonical(), code.http_status());
        tracing::info!(target: target!(), client = display(client), status, code = code.as_str(), "not a request");
    }
}

/// What the line of an event stream says of the request that opened it. As small as can be: streams stay long.
pub(crate) struct StreamLine {
    client: Option<IpAddr>,
    host: Box<str>,
    url: Box<str>,
    request_id: Option<RequestId>,
}

impl StreamLine {
    pub(crate) fn opened(&self, route: &str) {
        tracing::debug!(
            target: target!(),
            client = self.client.map(display),
            host = &*self.host,
            url = &*self.url,
            request = self.request_id.as_ref().map(RequestId::as_str),
            route,
            to = "topic",
            "stream opened",
        );
    }

    pub(crate) fn ended(&self, route: &str, open: Duration, events: u64) {
        tracing::info!(
            target: target!(),
            client = self.client.map(display),
            method = "GET",
            host = &*self.host,
            url = &*self.url,
            status = 200,
            events,
            ms = milliseconds(open),
            request = self.request_id.as_ref().map(RequestId::as_str),
            route,
            to = "topic",
            "stream ended",
        );
    }
}

/// As much of a text as is logged.
fn shortened(text: &str) -> &str {
    let mut ends = (0..=TEXT_BYTES_MAX.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_tells_whose_trouble_it_is() {
        assert_eq!(level(200, None), Level::INFO);
        assert_eq!(level(404, Some(Code::NotFound)), Level::INFO);
        assert_eq!(level(429, Some(Code::RateLimited)), Level::INFO);
        assert_eq!(level(CLIENT_LEFT, None), Level::INFO);
        assert_eq!(level(501, Some(Code::NotImplemented)), Level::INFO);
        assert_eq!(level(500, None), Level::WARN, "a worker says so");
        assert_eq!(level(503, Some(Code::QueueFull)), Level::WARN);
        assert_eq!(level(500, Some(Code::Internal)), Level::ERROR);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(shortened(&long).chars().count(), TEXT_BYTES_MAX / 2);
        assert_eq!(shortened("short"), "short");
    }
}
