//! What a front can be told, and the check that says all mistakes at once. Files, flags and variables are the tool's.

mod access_log;
mod admin;
mod background;
mod policy;
mod requests;
mod tls;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use tempest_broker::Caps;
use tempest_protocol::{Action, Encoding, Lane, Queue, limits};

use crate::caller::Proxies;

pub use access_log::AccessLog;
pub use admin::{AdminConfig, Token};
pub(crate) use background::Background;
pub use policy::{Cors, Rate};
pub use requests::HttpConfig;
pub use tls::{Certificate, TlsConfig};

/// The most that `kill_after_ms` of a route may be.
const KILL_AFTER_MS_MAX: u64 = 24 * 3_600_000;

/// A front: where it listens, its limits, its routes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FrontConfig {
    /// Addresses `host:port`; every address a host name stands for is listened on. Port 0: any free one.
    pub listen: Vec<String>,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a client waits before it gets a 504, in milliseconds.
    pub timeout_ms: u64,
    /// Jobs that may wait in one lane.
    pub lane_jobs_max: u64,
    /// Bytes that may wait in one lane.
    pub lane_bytes_max: u64,
    /// Time between comment lines on an idle event stream, in milliseconds.
    pub heartbeat_ms: u64,
    /// Event streams in all.
    pub streams_max: usize,
    /// Event streams of one client; 0: as many as it likes.
    pub streams_per_client_max: usize,
    /// Connections in all; 0: as many as the system gives.
    pub connections_max: usize,
    /// Connections of one client that is no trusted proxy; 0: as many as it likes.
    pub connections_per_client_max: usize,
    /// Fields that all responses of routes get unless their worker or their route sets them.
    pub response_headers: BTreeMap<String, String>,
    /// How long requests in flight may take when the front stops, in milliseconds.
    pub drain_ms: u64,
    /// Who is told where the time of a request went.
    pub server_timing: ServerTiming,
    /// Whether requests are traced, with the tracer provider (OpenTelemetry) the process has when the front starts.
    pub traces: bool,
    /// How long it still serves after it has said that it is no longer ready, in milliseconds: the time a load
    /// balancer takes to notice.
    pub stop_delay_ms: u64,
    /// Networks whose word about their clients is believed: `Forwarded`, `X-Forwarded-*`, `x-request-id`.
    #[serde(skip)]
    pub trusted_proxies: Proxies,
    /// Whether connections from trusted proxies begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Where TLS is spoken, and with which certificates.
    pub tls: TlsConfig,
    /// What is logged of each request.
    pub access_log: AccessLog,
    /// Where operators and probes ask.
    pub admin: AdminConfig,
    /// Limits of connections and of what comes on them.
    pub http: HttpConfig,
    /// Routes; none: [`Route::defaults`].
    #[serde(skip)]
    pub routes: Vec<Route>,
}

impl Default for FrontConfig {
    fn default() -> Self {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            listen: vec!["localhost:1337".into()],
            body_bytes_max: limits::REQUEST_BODY_BYTES_MAX,
            timeout_ms: ms(limits::HTTP_DEADLINE),
            lane_jobs_max: limits::LANE_JOBS_MAX,
            lane_bytes_max: limits::LANE_BYTES_MAX,
            heartbeat_ms: 25_000,
            streams_max: 100_000,
            streams_per_client_max: 0,
            connections_max: 0,
            connections_per_client_max: 0,
            response_headers: BTreeMap::new(),
            drain_ms: 30_000,
            server_timing: ServerTiming::default(),
            traces: false,
            stop_delay_ms: 0,
            trusted_proxies: Proxies::default(),
            proxy_protocol: false,
            tls: TlsConfig::default(),
            access_log: AccessLog::default(),
            admin: AdminConfig::default(),
            http: HttpConfig::default(),
            routes: Vec::new(),
        }
    }
}

impl FrontConfig {
    /// The routes in force: what was listed, else the defaults.
    ///
    /// Errors: every mistake of each route by itself, one line each.
    pub(crate) fn checked_routes(&self) -> Result<Vec<Route>, Vec<String>> {
        let routes = if self.routes.is_empty() { Route::defaults() } else { self.routes.clone() };
        let wrong: Vec<_> = routes.iter().filter_map(|route| route.check().err()).flatten().collect();
        if wrong.is_empty() { Ok(routes) } else { Err(wrong) }
    }

    pub(crate) fn caps(&self) -> Caps {
        Caps { jobs: self.lane_jobs_max, bytes: self.lane_bytes_max }
    }
}

/// Which responses have a `Server-Timing` field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerTiming {
    /// None.
    Never,
    /// Those to requests with a field `x-server-timing`.
    #[default]
    Asked,
    /// All.
    Always,
}

impl ServerTiming {
    pub(crate) fn tells(self, asked: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Never => false,
            Self::Asked => asked(),
            Self::Always => true,
        }
    }
}

impl std::str::FromStr for ServerTiming {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "never" => Ok(Self::Never),
            "asked" => Ok(Self::Asked),
            "always" => Ok(Self::Always),
            _ => Err(format!("{word:?} is not never, asked or always")),
        }
    }
}

/// One entry of the routing table: which requests, and where they go. Exactly one of `queue`, `topic`,
/// `static` and `jobs`; with `jobs` a `queue` says whose jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// Path pattern: `/users/{id}`, `/files/{*rest}`.
    pub path: String,
    /// Only for this host (without port); absent: for all.
    pub host: Option<String>,
    /// Only for these methods; empty: for all.
    pub methods: Vec<String>,
    /// To workers of this queue.
    pub queue: Option<String>,
    /// To an event stream of this topic, or several separated by commas; `{name}` stands for a part of the path.
    pub topic: Option<String>,
    /// To files below this folder.
    #[serde(rename = "static")]
    pub static_dir: Option<PathBuf>,
    /// To what is known of background jobs: of `queue`, else of the queue `{queue}` of the path; `{id}` is the job's.
    pub jobs: bool,
    /// Whether a request becomes a background job: its client gets a 202 and the address of its status.
    pub background: bool,
    /// How long the record and the result of a background job are kept after its end, in milliseconds, at most 30 days;
    /// absent: an hour. With 0 they go with the job.
    pub keep_ms: Option<u64>,
    /// How often a background job may be started; absent: 3 times.
    pub attempts: Option<u64>,
    /// How long a background job waits before it may run, in milliseconds.
    pub delay_ms: Option<u64>,
    /// A background job that was not started so long after it might have run is given up, in milliseconds; absent: never.
    pub ttl_ms: Option<u64>,
    /// Where clients are sent for the status of their background jobs, with `{id}` and `{queue}`; absent: to the first route
    /// with `jobs` that shows them.
    pub status_path: Option<String>,
    /// Whether a background job keeps the cookies and the `Authorization` of its request.
    pub credentials: bool,
    /// How long a background job holds the `Idempotency-Key` of its request, in milliseconds; absent: a day.
    pub idempotency_ms: Option<u64>,
    /// Bytes that may wait in the lane of a background job; absent: 1 GiB.
    pub backlog_bytes_max: Option<u64>,
    /// Priority lane: `high`, `normal` or `low`.
    pub lane: Option<String>,
    /// The handler the job is for; absent: `url`.
    pub action: Option<String>,
    /// Instead of the front's own `timeout_ms`.
    pub timeout_ms: Option<u64>,
    /// Instead of the front's own `body_bytes_max`.
    pub body_bytes_max: Option<usize>,
    /// `json` or `msgpack`; absent: `json`.
    pub encoding: Option<String>,
    /// Whether a request with `Idempotency-Key` may be run again when its worker dies, whatever its method.
    pub idempotency_key: bool,
    /// How long a request waits for somebody to serve its queue where nobody is known to, in milliseconds.
    pub no_worker_wait_ms: Option<u64>,
    /// The worker that still runs a job so long after it was cancelled is ended by its supervisor, in milliseconds, at
    /// most a day; absent: never.
    pub kill_after_ms: Option<u64>,
    /// Whether identical GETs in flight share one job.
    pub coalesce: bool,
    /// How many requests a client may send.
    pub rate: Option<Rate>,
    /// Which pages of other origins may read responses.
    pub cors: Option<Cors>,
    /// Whether responses are compressed for clients that take it.
    pub compress: bool,
    /// Whether event streams are compressed for clients that take it, each event by itself.
    pub compress_events: bool,
    /// Event streams that one client may have on this route; 0: as many as it likes.
    pub streams_per_client_max: usize,
    /// Fields that responses get unless their worker sets them.
    pub response_headers: BTreeMap<String, String>,
    /// `Cache-Control` of files.
    pub cache_control: Option<String>,
    /// Whether files and folders whose names begin with a dot are served.
    pub dotfiles: bool,
}

impl Route {
    /// Without a file: `/sub/{topic…}` is EventSource, all else goes to queue `default`.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self { path: "/sub/{*topic}".into(), topic: Some("{topic}".into()), ..Self::default() },
            Self { path: "/{*rest}".into(), queue: Some("default".into()), ..Self::default() },
        ]
    }

    /// Checks the entry by itself.
    ///
    /// Errors: every mistake, one line each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut wrong = Vec::new();
        let queue = self.queue.is_some() && !self.jobs;
        let targets = [queue, self.topic.is_some(), self.static_dir.is_some(), self.jobs];
        if targets.into_iter().filter(|given| *given).count() != 1 {
            wrong.push(format!("route {:?} needs exactly one of queue, topic, static and jobs", self.path));
        }
        wrong.append(&mut self.check_background());
        if !self.path.starts_with('/') {
            wrong.push(format!("route path {:?} must begin with /", self.path));
        }
        if let Err(error) = matchit::Router::new().insert(self.path.as_str(), ()) {
            wrong.push(format!("route path {:?}: {error}", self.path));
        }
        for name in self.placeholders().filter(|name| !self.names_part(name)) {
            wrong.push(format!("route {:?}, topic: the path has no part {{{name}}}", self.path));
        }
        if let Err(mut errors) = self.work(&FrontConfig::default()) {
            wrong.append(&mut errors);
        }
        let mut checked = |what: &str, result: Result<(), String>| {
            wrong.extend(result.err().map(|error| format!("route {:?}, {what}: {error}", self.path)));
        };
        checked("rate", self.rate.as_ref().map_or(Ok(()), Rate::check));
        checked("cors", self.cors.as_ref().map_or(Ok(()), Cors::check));
        checked("response_headers", check_fields(&self.response_headers));
        let cache =
            self.cache_control.iter().map(|value| ("cache-control".to_owned(), value.clone())).collect();
        checked("cache_control", check_fields(&cache));
        for method in &self.methods {
            if method.bytes().any(|byte| !byte.is_ascii_uppercase()) || method.is_empty() {
                wrong.push(format!("route {:?}: method {method:?} must be upper-case", self.path));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The names in braces in its topic.
    fn placeholders(&self) -> impl Iterator<Item = &str> {
        let pieces = self.topic.as_deref().unwrap_or_default().split('{').skip(1);
        pieces.filter_map(|piece| Some(piece.split_once('}')?.0))
    }

    fn names_part(&self, name: &str) -> bool {
        [format!("{{{name}}}"), format!("{{*{name}}}")].iter().any(|part| self.path.contains(part))
    }

    /// How requests of this route become jobs; a queue of `default` where it has none.
    pub(crate) fn work(&self, front: &FrontConfig) -> Result<Work, Vec<String>> {
        let mut wrong = Vec::new();
        let queue = self.parse("queue", self.queue.as_deref().unwrap_or("default"), Queue::new, &mut wrong);
        let action = self.parse("action", self.action.as_deref().unwrap_or("url"), Action::new, &mut wrong);
        let lane = self.parse("lane", self.lane.as_deref().unwrap_or("normal"), str::parse, &mut wrong);
        let encoding =
            self.parse("encoding", self.encoding.as_deref().unwrap_or("json"), str::parse, &mut wrong);
        let timeout_ms = self.timeout_ms.unwrap_or(front.timeout_ms);
        if timeout_ms == 0 {
            wrong.push(format!("route {:?}: timeout_ms cannot be 0", self.path));
        }
        if self.kill_after_ms.is_some_and(|ms| ms > KILL_AFTER_MS_MAX) {
            wrong.push(format!(
                "route {:?}: kill_after_ms can be {KILL_AFTER_MS_MAX} at most, a day",
                self.path
            ));
        }
        match (queue, action, lane, encoding) {
            (Some(queue), Some(action), Some(lane), Some(encoding)) if wrong.is_empty() => Ok(Work {
                queue,
                action,
                lane,
                encoding,
                timeout: std::time::Duration::from_millis(timeout_ms),
                body_bytes_max: self.body_bytes_max.unwrap_or(front.body_bytes_max),
                idempotency_key: self.idempotency_key,
                no_worker_wait: self
                    .no_worker_wait_ms
                    .map_or(limits::NO_WORKER, std::time::Duration::from_millis),
                kill_after: self.kill_after_ms.map(std::time::Duration::from_millis),
                caps: front.caps(),
            }),
            _ => Err(wrong),
        }
    }

    fn parse<'a, T>(
        &self,
        what: &str,
        word: &'a str,
        parse: impl FnOnce(&'a str) -> Result<T, tempest_protocol::Error>,
        wrong: &mut Vec<String>,
    ) -> Option<T> {
        parse(word)
            .map_err(|error| wrong.push(format!("route {:?}, {what}: {}", self.path, error.detail())))
            .ok()
    }
}

/// Checks header fields.
///
/// Errors: the first one that HTTP does not allow.
fn check_fields(fields: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in fields {
        if http::HeaderName::try_from(name).is_err() {
            return Err(format!("{name:?} is no name of a header field"));
        }
        if http::HeaderValue::try_from(value).is_err() {
            return Err(format!("{value:?} is no value of a header field"));
        }
    }
    Ok(())
}

/// How requests become jobs.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) queue: Queue,
    pub(crate) action: Action,
    pub(crate) lane: Lane,
    pub(crate) encoding: Encoding,
    pub(crate) timeout: std::time::Duration,
    pub(crate) body_bytes_max: usize,
    pub(crate) idempotency_key: bool,
    pub(crate) no_worker_wait: std::time::Duration,
    pub(crate) kill_after: Option<std::time::Duration>,
    pub(crate) caps: Caps,
}
