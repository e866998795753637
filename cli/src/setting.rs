//! The one table of settings. It feeds the command line, its help, the checks of `tempest.toml`, `tempest config` and
//! `tempest init`; a test compares its defaults with the crates that use them.

use std::collections::BTreeMap;

use tempest_front::{Proxies, Route};
use tempest_protocol::Prefix;

/// Where a setting is of use.
pub(crate) mod used {
    /// Commands that only speak to Redis.
    pub(crate) const CONNECT: u8 = 1;
    /// `tempest front`.
    pub(crate) const FRONT: u8 = 2;
    /// `tempest up`.
    pub(crate) const UP: u8 = 4;
}
use used::{CONNECT, FRONT, UP};

/// A setting: its names, its default, its limits, its meaning.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Section and key in `tempest.toml`.
    pub(crate) key: &'static str,
    /// Option on the command line, without the dashes.
    pub(crate) flag: &'static str,
    /// Environment variable.
    pub(crate) variable: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// Bits of [`used`].
    pub(crate) used_by: u8,
    /// One line.
    pub(crate) doc: &'static str,
}

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Integer { min: u64, max: u64 },
    /// Addresses `host:port`, separated by commas; in the file also a list; may be empty.
    Addresses,
    /// A file; in `tempest.toml` relative to that. May be empty.
    Path,
    /// `redis://…`, `rediss://…` or `unix://…`.
    Url,
    /// What keys begin with.
    Prefix,
    /// What topics begin with; may be empty.
    TopicPrefix,
    /// Addresses and networks, separated by commas; in the file also a list; may be empty.
    Networks,
    /// Header fields `name: value`, separated by `|`; in the file a table; may be empty.
    Fields,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A filter of log levels.
    Filter,
    /// `http://…` or `https://…`; may be empty.
    HttpUrl,
    /// A number from 0 to 1.
    Share,
    /// Any text but none.
    Text,
    /// What nobody is shown; may be empty.
    Secret,
}

const HOUR_MS: u64 = 3_600_000;
/// Characters of a secret.
const SECRET_MIN: usize = 16;
const GIB: u64 = 1 << 30;

macro_rules! settings {
    ($($key:literal $flag:literal $variable:literal ($kind:expr) $default:literal [$used_by:expr] $doc:literal;)*) => {
        /// Every setting, in the order of the file.
        pub(crate) const SETTINGS: &[Setting] = &[$(Setting {
            key: $key,
            flag: $flag,
            variable: $variable,
            kind: $kind,
            default: $default,
            used_by: $used_by,
            doc: $doc,
        },)*];
    };
}

settings! {
    "front.listen" "listen" "TEMPEST_LISTEN" (Kind::Addresses) "localhost:1337" [FRONT | UP]
        "Where the front listens; several addresses are separated by commas; port 0 is any free one.";
    "front.body_bytes_max" "body-bytes-max" "TEMPEST_BODY_BYTES_MAX" (Kind::Integer { min: 0, max: GIB })
        "1048576" [FRONT | UP] "Largest body of a request, in bytes.";
    "front.timeout_ms" "timeout-ms" "TEMPEST_TIMEOUT_MS" (Kind::Integer { min: 1, max: 24 * HOUR_MS })
        "30000" [FRONT | UP] "How long a client waits before it gets a 504, in milliseconds.";
    "front.lane_jobs_max" "lane-jobs-max" "TEMPEST_LANE_JOBS_MAX" (Kind::Integer { min: 1, max: 100_000_000 })
        "10000" [FRONT | UP] "Jobs that may wait in one lane before clients get a 503.";
    "front.lane_bytes_max" "lane-bytes-max" "TEMPEST_LANE_BYTES_MAX" (Kind::Integer { min: 1, max: 1 << 40 })
        "67108864" [FRONT | UP] "Bytes that may wait in one lane before clients get a 503.";
    "front.heartbeat_ms" "heartbeat-ms" "TEMPEST_HEARTBEAT_MS" (Kind::Integer { min: 100, max: HOUR_MS })
        "25000" [FRONT | UP] "Time between comment lines on an idle event stream, in milliseconds.";
    "front.streams_max" "streams-max" "TEMPEST_STREAMS_MAX" (Kind::Integer { min: 0, max: 10_000_000 })
        "100000" [FRONT | UP] "Event streams in all.";
    "front.streams_per_client_max" "streams-per-client-max" "TEMPEST_STREAMS_PER_CLIENT_MAX"
        (Kind::Integer { min: 0, max: 10_000_000 }) "0" [FRONT | UP]
        "Event streams of one client (IPv6: of one /64); 0 is no limit.";
    "front.connections_max" "connections-max" "TEMPEST_CONNECTIONS_MAX"
        (Kind::Integer { min: 0, max: 10_000_000 }) "0" [FRONT | UP]
        "Connections in all; 0 is as many as the system gives.";
    "front.connections_per_client_max" "connections-per-client-max" "TEMPEST_CONNECTIONS_PER_CLIENT_MAX"
        (Kind::Integer { min: 0, max: 10_000_000 }) "0" [FRONT | UP]
        "Connections of one client that is no trusted proxy; 0 is no limit.";
    "front.response_headers" "response-headers" "TEMPEST_RESPONSE_HEADERS" (Kind::Fields) "" [FRONT | UP]
        "Fields that responses get unless their worker or route sets them: name: value, separated by |; in the file a table.";
    "front.drain_ms" "drain-ms" "TEMPEST_DRAIN_MS" (Kind::Integer { min: 0, max: HOUR_MS })
        "30000" [FRONT | UP] "How long requests in flight may take when the front stops, in milliseconds.";
    "front.server_timing" "server-timing" "TEMPEST_SERVER_TIMING" (Kind::Word(&["never", "asked", "always"]))
        "asked" [FRONT | UP] "Which responses have Server-Timing: never, asked (by x-server-timing in the request) or always.";
    "front.stop_delay_ms" "stop-delay-ms" "TEMPEST_STOP_DELAY_MS" (Kind::Integer { min: 0, max: HOUR_MS })
        "0" [FRONT | UP] "How long a stopping front still serves after it is no longer ready, in milliseconds.";
    "front.trusted_proxies" "trusted-proxies" "TEMPEST_TRUSTED_PROXIES" (Kind::Networks) "" [FRONT | UP]
        "Addresses and networks whose word about their clients is believed: Forwarded, X-Forwarded-*, x-request-id.";
    "front.proxy_protocol" "proxy-protocol" "TEMPEST_PROXY_PROTOCOL" (Kind::Word(&["off", "on"])) "off" [FRONT | UP]
        "on: connections from trusted proxies begin with a header of the PROXY protocol, version 1 or 2.";
    "http.header_timeout_ms" "header-timeout-ms" "TEMPEST_HEADER_TIMEOUT_MS"
        (Kind::Integer { min: 1, max: HOUR_MS }) "10000" [FRONT | UP]
        "How long the header of a request may take from its first byte, in milliseconds; else 408.";
    "http.body_timeout_ms" "body-timeout-ms" "TEMPEST_BODY_TIMEOUT_MS" (Kind::Integer { min: 1, max: HOUR_MS })
        "10000" [FRONT | UP]
        "How long a body may pause, in milliseconds; else 408. All of it must come within the timeout of its route.";
    "http.keep_alive_ms" "keep-alive-ms" "TEMPEST_KEEP_ALIVE_MS" (Kind::Integer { min: 1, max: 24 * HOUR_MS })
        "75000" [FRONT | UP] "How long a connection may be idle between two requests, in milliseconds.";
    "http.keep_alive_requests_max" "keep-alive-requests-max" "TEMPEST_KEEP_ALIVE_REQUESTS_MAX"
        (Kind::Integer { min: 0, max: 1 << 32 }) "0" [FRONT | UP]
        "Requests on one connection of HTTP/1 before it is closed; 0 is any number.";
    "http.header_bytes_max" "header-bytes-max" "TEMPEST_HEADER_BYTES_MAX"
        (Kind::Integer { min: 1 << 10, max: 256 << 10 }) "32768" [FRONT | UP]
        "Largest header of a request, in bytes; else 431.";
    "http.header_fields_max" "header-fields-max" "TEMPEST_HEADER_FIELDS_MAX" (Kind::Integer { min: 1, max: 10_000 })
        "100" [FRONT | UP] "Fields in the header of a request of HTTP/1; else 431.";
    "http.target_bytes_max" "target-bytes-max" "TEMPEST_TARGET_BYTES_MAX" (Kind::Integer { min: 1, max: 65_534 })
        "8192" [FRONT | UP] "Longest target (path and query) of a request, in bytes; else 414.";
    "tls.listen" "tls-listen" "TEMPEST_TLS_LISTEN" (Kind::Addresses) "" [FRONT | UP]
        "Where the front listens for TLS, with HTTP/2 and HTTP/1.1 inside; several addresses are separated by commas.";
    "tls.certificate" "tls-certificate" "TEMPEST_TLS_CERTIFICATE" (Kind::Path) "" [FRONT | UP]
        "The certificate and those it is signed with, a PEM file. More of them are tables [[certificate]].";
    "tls.key" "tls-key" "TEMPEST_TLS_KEY" (Kind::Path) "" [FRONT | UP] "The private key of tls.certificate, a PEM file.";
    "tls.redirect" "tls-redirect" "TEMPEST_TLS_REDIRECT" (Kind::Word(&["off", "on"])) "off" [FRONT | UP]
        "on: requests in plaintext are sent to the same address in TLS (308).";
    "tls.port" "tls-port" "TEMPEST_TLS_PORT" (Kind::Integer { min: 0, max: 65_535 }) "0" [FRONT | UP]
        "The port clients are sent to by tls.redirect; 0 is the one listened on.";
    "admin.listen" "admin-listen" "TEMPEST_ADMIN_LISTEN" (Kind::Addresses) "localhost:1338" [FRONT | UP]
        "Where operators and probes ask: /healthz, /readyz, /metrics; empty is nowhere. If 1338 is taken and no address was named, a free port.";
    "admin.token" "admin-token" "TEMPEST_ADMIN_TOKEN" (Kind::Secret) "" [FRONT | UP]
        "Who knows it may run, delete and pause jobs on the admin page; empty: nobody may. A command line can be seen by others; a variable cannot.";
    "redis.url" "redis-url" "TEMPEST_REDIS_URL" (Kind::Url) "redis://127.0.0.1:6379" [CONNECT | FRONT | UP]
        "The Redis to use; `tempest up` without it starts a private one.";
    "redis.ca_file" "redis-ca-file" "TEMPEST_REDIS_CA_FILE" (Kind::Path) "" [CONNECT | FRONT | UP]
        "Whose signature the certificate of a rediss:// Redis must bear, a PEM file; empty is any authority this machine knows.";
    "redis.cert_file" "redis-cert-file" "TEMPEST_REDIS_CERT_FILE" (Kind::Path) "" [CONNECT | FRONT | UP]
        "The certificate shown to a rediss:// Redis that asks for one (tls-auth-clients), a PEM file.";
    "redis.key_file" "redis-key-file" "TEMPEST_REDIS_KEY_FILE" (Kind::Path) "" [CONNECT | FRONT | UP]
        "The private key of redis.cert_file, a PEM file.";
    "redis.port" "redis-port" "TEMPEST_REDIS_PORT" (Kind::Integer { min: 0, max: 65_535 }) "6379" [UP]
        "Port of the private Redis; 0 is any free one. If 6379 is taken and no port was named, a free one.";
    "redis.prefix" "prefix" "TEMPEST_PREFIX" (Kind::Prefix) "tempest" [CONNECT | FRONT | UP]
        "What all keys begin with; separates clusters that share a Redis.";
    "redis.topic_prefix" "topic-prefix" "TEMPEST_TOPIC_PREFIX" (Kind::TopicPrefix) "" [CONNECT | FRONT | UP]
        "What all topics begin with; for clusters that share a Redis.";
    "supervisor.grace_ms" "grace-ms" "TEMPEST_GRACE_MS" (Kind::Integer { min: 0, max: HOUR_MS }) "10000" [UP]
        "How long a worker may take to end after SIGTERM, in milliseconds.";
    "supervisor.crashes_max" "crashes-max" "TEMPEST_CRASHES_MAX" (Kind::Integer { min: 0, max: 1_000_000 }) "10" [UP]
        "So many deaths of a worker one after the other, none of which lived for ten seconds, are a crash loop; 0 is none ever.";
    "supervisor.crash_pause_ms" "crash-pause-ms" "TEMPEST_CRASH_PAUSE_MS" (Kind::Integer { min: 1_000, max: HOUR_MS }) "60000" [UP]
        "How long to wait between the starts of a worker in a crash loop, in milliseconds, with a quarter of jitter.";
    "trace.endpoint" "trace-endpoint" "TEMPEST_TRACE_ENDPOINT" (Kind::HttpUrl) "" [FRONT | UP]
        "Where a span of each request is sent to, a collector that takes OTLP over HTTP, like http://127.0.0.1:4318; empty is nowhere.";
    "trace.sample" "trace-sample" "TEMPEST_TRACE_SAMPLE" (Kind::Share) "1" [FRONT | UP]
        "The share of traces that begin here and are sent, from 0 to 1; a client that sends a traceparent decides for its own.";
    "trace.service" "trace-service" "TEMPEST_TRACE_SERVICE" (Kind::Text) "tempest" [FRONT | UP]
        "What the front is called in traces.";
    "log.filter" "log" "TEMPEST_LOG" (Kind::Filter) "info" [CONNECT | FRONT | UP]
        "What is logged: error, warn, info, debug or trace; or a filter like tempest_broker=debug.";
    "log.format" "log-format" "TEMPEST_LOG_FORMAT" (Kind::Word(&["text", "json"])) "text" [CONNECT | FRONT | UP]
        "How it is logged: text or json.";
    "log.access" "log-access" "TEMPEST_LOG_ACCESS" (Kind::Word(&["off", "on", "query"])) "on" [FRONT | UP]
        "A line for each request: off, on (without the query of its address) or query (with it).";
}

/// Settings, and sections of them, that a running front cannot change. All others follow a reload.
const NEED_RESTART: &[&str] =
    &["front.listen", "tls.listen", "admin", "redis", "supervisor", "trace", "log.format"];

/// Whether a change of this setting waits for a restart.
pub(crate) fn needs_restart(key: &str) -> bool {
    let section = key.split('.').next().unwrap_or_default();
    NEED_RESTART.contains(&key) || NEED_RESTART.contains(&section)
}

impl Setting {
    /// The setting of this key, if there is one.
    pub(crate) fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Section and key.
    pub(crate) fn section_and_key(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// Checks a value as it was given. Gives what it must be, if it is not.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{value:?} is not {what}"));
        match self.kind {
            Kind::Integer { min, max } => match value.parse::<u64>() {
                Ok(number) if (min..=max).contains(&number) => Ok(()),
                _ => wrong(&format!("a whole number from {min} to {max}")),
            },
            Kind::Addresses => match split(value).find(|address| !is_address(address)) {
                None => Ok(()),
                Some(address) => Err(format!("{address:?} is not an address like localhost:1337")),
            },
            Kind::Url => {
                let schemes = ["redis://", "rediss://", "unix://", "redis+unix://"];
                let known =
                    schemes.iter().any(|scheme| value.starts_with(scheme) && value.len() > scheme.len());
                if known { Ok(()) } else { wrong("a Redis URL like redis://127.0.0.1:6379") }
            }
            Kind::Prefix => Prefix::new(value).map(drop).map_err(|error| error.detail().to_owned()),
            Kind::TopicPrefix => {
                let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
                let fits = value.len() <= 64 && value.bytes().all(good);
                if fits { Ok(()) } else { wrong("at most 64 of the characters A-Z a-z 0-9 . _ - / :") }
            }
            Kind::Path => Ok(()),
            Kind::Networks => Proxies::new(&split(value).collect::<Vec<_>>()).map(drop),
            Kind::Fields => fields(value).map(drop),
            Kind::HttpUrl if value.is_empty() => Ok(()),
            Kind::HttpUrl => {
                let rest = value.strip_prefix("http://").or_else(|| value.strip_prefix("https://"));
                let good = |rest: &str| !rest.starts_with('/') && !rest.contains(char::is_whitespace);
                let good = rest.is_some_and(|rest| !rest.is_empty() && good(rest));
                if good { Ok(()) } else { wrong("a URL like http://127.0.0.1:4318") }
            }
            Kind::Share => match value.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(()),
                _ => wrong("a number from 0 to 1"),
            },
            Kind::Secret if value.is_empty() => Ok(()),
            // It is not repeated in the message.
            Kind::Secret => {
                match value.len() >= SECRET_MIN && value.bytes().all(|byte| byte.is_ascii_graphic()) {
                    true => Ok(()),
                    false => Err(format!("it must be {SECRET_MIN} or more visible ASCII characters")),
                }
            }
            Kind::Text if value.trim().is_empty() => wrong("a name"),
            Kind::Text => Ok(()),
            Kind::Word(words) if words.contains(&value) => Ok(()),
            Kind::Word(words) => wrong(&words.join(" or ")),
            Kind::Filter => match tracing_subscriber::EnvFilter::builder().parse(value) {
                Ok(_) if !value.is_empty() => Ok(()),
                _ => wrong("a log level or filter like info or tempest_broker=debug"),
            },
        }
    }

    /// A word for its value in help.
    pub(crate) fn value_name(&self) -> &'static str {
        match self.kind {
            Kind::Integer { .. } => "NUMBER",
            Kind::Addresses => "HOST:PORT",
            Kind::Path => "FILE",
            Kind::Networks => "NETWORKS",
            Kind::Fields => "FIELDS",
            Kind::Url | Kind::HttpUrl => "URL",
            Kind::Share => "SHARE",
            Kind::Text => "TEXT",
            Kind::Secret => "SECRET",
            Kind::Prefix | Kind::TopicPrefix => "PREFIX",
            Kind::Word(_) => "WORD",
            Kind::Filter => "LEVEL",
        }
    }
}

/// The parts of a list separated by commas.
pub(crate) fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Header fields of a text like `x-frame-options: DENY | referrer-policy: no-referrer`.
///
/// Errors: what is wrong with the first bad one.
pub(crate) fn fields(text: &str) -> Result<BTreeMap<String, String>, String> {
    let fields = text.split('|').map(str::trim).filter(|field| !field.is_empty());
    let fields: Option<BTreeMap<_, _>> = fields
        .map(|field| {
            field.split_once(':').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect();
    let fields = fields.ok_or_else(|| format!("{text:?} is not fields like name: value"))?;
    let route = Route { path: "/".into(), queue: Some("default".into()), ..Route::default() };
    Route { response_headers: fields.clone(), ..route }.check().map_err(|wrong| wrong.join("; "))?;
    Ok(fields)
}

fn is_address(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use tempest_front::FrontConfig;

    use super::*;

    fn of(key: &str) -> &'static Setting {
        Setting::find(key).unwrap()
    }

    #[test]
    fn every_default_is_a_good_value_with_names_of_its_own() {
        for setting in SETTINGS {
            setting.check(setting.default).unwrap_or_else(|wrong| panic!("{}: {wrong}", setting.key));
            let same = |other: &&Setting| {
                other.key == setting.key || other.flag == setting.flag || other.variable == setting.variable
            };
            assert_eq!(SETTINGS.iter().filter(same).count(), 1, "{}", setting.key);
            assert!(setting.key.contains('.') && setting.doc.ends_with('.'), "{}", setting.key);
        }
    }

    #[test]
    fn what_needs_a_restart_is_in_the_table() {
        for name in NEED_RESTART {
            let named = |setting: &&Setting| setting.key == *name || setting.section_and_key().0 == *name;
            assert!(SETTINGS.iter().any(|setting| named(&setting)), "{name}");
        }
        assert!(needs_restart("redis.url") && !needs_restart("front.timeout_ms"));
    }

    #[test]
    fn defaults_are_those_of_the_front() {
        let front = FrontConfig::default();
        let number = |key: &str| of(key).default.parse::<u64>().unwrap();
        assert_eq!(of("front.listen").default, front.listen.join(","));
        assert_eq!(number("front.body_bytes_max"), front.body_bytes_max as u64);
        assert_eq!(number("front.timeout_ms"), front.timeout_ms);
        assert_eq!(number("front.lane_jobs_max"), front.lane_jobs_max);
        assert_eq!(number("front.lane_bytes_max"), front.lane_bytes_max);
        assert_eq!(number("front.heartbeat_ms"), front.heartbeat_ms);
        assert_eq!(number("front.streams_max"), front.streams_max as u64);
        assert_eq!(number("front.streams_per_client_max"), front.streams_per_client_max as u64);
        assert_eq!(number("front.connections_max"), front.connections_max as u64);
        assert_eq!(number("front.connections_per_client_max"), front.connections_per_client_max as u64);
        assert_eq!(fields(of("front.response_headers").default), Ok(front.response_headers));
        assert_eq!(number("front.drain_ms"), front.drain_ms);
        assert_eq!(of("front.server_timing").default.parse(), Ok(front.server_timing));
        assert_eq!(number("front.stop_delay_ms"), front.stop_delay_ms);
        let http = front.http;
        assert_eq!(number("http.header_timeout_ms"), http.header_timeout_ms);
        assert_eq!(number("http.body_timeout_ms"), http.body_timeout_ms);
        assert_eq!(number("http.keep_alive_ms"), http.keep_alive_ms);
        assert_eq!(number("http.keep_alive_requests_max"), http.keep_alive_requests_max as u64);
        assert_eq!(number("http.header_bytes_max"), http.header_bytes_max as u64);
        assert_eq!(number("http.header_fields_max"), http.header_fields_max as u64);
        assert_eq!(number("http.target_bytes_max"), http.target_bytes_max as u64);
        assert_eq!(of("tls.listen").default, front.tls.listen.join(","));
        assert_eq!(of("log.access").default.parse(), Ok(front.access_log));
        assert_eq!(of("admin.listen").default, front.admin.listen.join(","));
        assert_eq!(of("tls.redirect").default == "on", front.tls.redirect);
        assert_eq!(number("tls.port"), u64::from(front.tls.port));
    }

    #[test]
    fn a_secret_that_is_too_short_is_not_repeated() {
        let token = of("admin.token");
        assert_eq!(token.check("0123456789abcdef"), Ok(()));
        for wrong in ["hunter2", "hunter2 hunter2 hunter2", "hunter2hunter2hunter2\u{e9}"] {
            let told = token.check(wrong).expect_err(wrong);
            assert!(told.contains("16 or more") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn wrong_values_say_what_is_right() {
        let wrong = |key: &str, value: &str| of(key).check(value).expect_err(value);
        assert_eq!(wrong("front.timeout_ms", "soon"), r#""soon" is not a whole number from 1 to 86400000"#);
        assert!(wrong("front.timeout_ms", "0").contains("from 1"));
        assert!(wrong("front.listen", "1337").contains("localhost:1337"));
        assert!(wrong("front.listen", "a:1,b").contains("\"b\""));
        assert!(wrong("redis.url", "localhost:6379").contains("redis://127.0.0.1:6379"));
        assert!(wrong("redis.prefix", "a b").contains("prefix"));
        assert!(wrong("front.response_headers", "x").contains("name: value"));
        assert!(wrong("front.response_headers", "a b: c").contains("no name of a header field"));
        for endpoint in ["127.0.0.1:4318", "http://", "http:///v1", "grpc://a:4317", "http://a b"] {
            assert!(wrong("trace.endpoint", endpoint).contains("http://127.0.0.1:4318"), "{endpoint}");
        }
        for share in ["-0.1", "1.1", "NaN", "half", ""] {
            assert!(wrong("trace.sample", share).contains("from 0 to 1"), "{share}");
        }
        assert!(wrong("trace.service", " ").contains("a name"));
        assert!(wrong("log.format", "xml").contains("text or json"));
        assert!(wrong("front.trusted_proxies", "10.0.0.0/8,proxy").contains("\"proxy\" is no address"));
    }
}
