//! The effective configuration: option over variable over file over default, with the origin of each value.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tempest_broker::{NamedSchedule, Settings, Tls};
use tempest_front::{AdminConfig, Certificate, FrontConfig, HttpConfig, Proxies, Route, TlsConfig, Token};
use tempest_protocol::Prefix;
use tempest_supervisor::{Options, WorkerSpec};

use crate::{
    cluster::UpFile,
    failure::Failure,
    file::{self, File},
    setting::{SETTINGS, Setting, fields, split},
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    /// `file:line`.
    File(String),
    Variable(&'static str),
    /// The cluster that runs in this folder or one above.
    Up(PathBuf),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => write!(f, "file {place}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Up(path) => write!(f, "running cluster {}", path.display()),
            Self::Flag(name) => write!(f, "option --{name}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

impl Value {
    /// Its text, but for what is nobody's business: a password in a URL, a token.
    pub(crate) fn shown(&self) -> String {
        match self.setting.key {
            "redis.url" => Settings::new(&self.text, "").shown_url(),
            "admin.token" if !self.text.is_empty() => "…".into(),
            _ => self.text.clone(),
        }
    }
}

/// Where traces go; empty: nowhere.
pub(crate) struct Trace<'c> {
    pub(crate) endpoint: &'c str,
    pub(crate) sample: f64,
    pub(crate) service: &'c str,
}

/// All settings, routes and workers that are in force.
#[derive(Debug)]
pub(crate) struct Config {
    values: Vec<Value>,
    pub(crate) routes: Vec<Route>,
    pub(crate) workers: Vec<WorkerSpec>,
    pub(crate) schedules: Vec<NamedSchedule>,
    certificates: Vec<Certificate>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

/// What a configuration is made from.
#[derive(Default)]
pub(crate) struct Sources<'a> {
    pub(crate) flags: &'a [(&'static Setting, String)],
    /// The file that was asked for.
    pub(crate) file: Option<&'a Path>,
    /// The cluster that runs here, if the command looks for one.
    pub(crate) up: Option<UpFile>,
    /// The command needs no routes and no workers: the file of this folder is not read if a cluster runs here.
    pub(crate) only_connects: bool,
}

impl Config {
    /// Puts the sources together and checks them.
    ///
    /// Errors: every mistake, one line each.
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let path = chosen_file(sources);
        let file = match path.as_deref().map(file::read) {
            None => File::default(),
            Some(Ok(file)) => file,
            Some(Err(lines)) => {
                wrong.extend(lines);
                File::default()
            }
        };
        let values = SETTINGS.iter().map(|setting| effective(setting, sources, &file, &mut wrong)).collect();
        if !wrong.is_empty() {
            return Err(Failure::usage(wrong));
        }
        let (routes, workers, certificates) = (file.routes, file.workers, file.certificates);
        let config = Self { values, routes, workers, schedules: file.schedules, certificates, file: path };
        config.check_together()?;
        Ok(config)
    }

    /// Every value in the order of the table.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value of a setting.
    pub(crate) fn value(&self, key: &str) -> &Value {
        let found = self.values.iter().find(|value| value.setting.key == key);
        found.unwrap_or_else(|| panic!("{key} is not in the table of settings"))
    }

    /// Settings that have another value there: the one here, and the one there.
    pub(crate) fn changes<'c>(&'c self, other: &'c Self) -> Vec<(&'c Value, &'c Value)> {
        let pairs = self.values.iter().zip(&other.values);
        pairs.filter(|(here, there)| here.text != there.text).collect()
    }

    /// Takes the value of these settings from another configuration.
    pub(crate) fn keep(&mut self, other: &Self, of: impl Fn(&str) -> bool) {
        for (value, kept) in self.values.iter_mut().zip(&other.values) {
            if of(value.setting.key) {
                value.clone_from(kept);
            }
        }
    }

    fn text(&self, key: &str) -> &str {
        &self.value(key).text
    }

    /// A number. It was checked when it was taken.
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap_or_default()
    }

    fn size(&self, key: &str) -> usize {
        usize::try_from(self.number(key)).unwrap_or(usize::MAX)
    }

    /// Whether a Redis was named, so that no private one is needed.
    pub(crate) fn names_redis(&self) -> bool {
        self.value("redis.url").origin != Origin::Default
    }

    /// How to reach a cluster at this URL, or at the one in force.
    pub(crate) fn broker(&self, url: Option<String>, client_name: &str) -> Settings {
        let file = |name| {
            let text = &self.values.iter().find(|value| value.setting.variable == name)?.text;
            (!text.is_empty()).then(|| PathBuf::from(text))
        };
        Settings {
            tls: Tls::of(file),
            prefix: Prefix::new(self.text("redis.prefix")).unwrap_or_default(),
            topic_prefix: self.text("redis.topic_prefix").to_owned(),
            ..Settings::new(url.unwrap_or_else(|| self.text("redis.url").to_owned()), client_name)
        }
    }

    /// What the front is told.
    pub(crate) fn front(&self) -> FrontConfig {
        FrontConfig {
            listen: split(self.text("front.listen")).map(str::to_owned).collect(),
            body_bytes_max: self.size("front.body_bytes_max"),
            timeout_ms: self.number("front.timeout_ms"),
            lane_jobs_max: self.number("front.lane_jobs_max"),
            lane_bytes_max: self.number("front.lane_bytes_max"),
            heartbeat_ms: self.number("front.heartbeat_ms"),
            streams_max: self.size("front.streams_max"),
            streams_per_client_max: self.size("front.streams_per_client_max"),
            connections_max: self.size("front.connections_max"),
            connections_per_client_max: self.size("front.connections_per_client_max"),
            response_headers: fields(self.text("front.response_headers")).unwrap_or_default(),
            drain_ms: self.number("front.drain_ms"),
            server_timing: self.text("front.server_timing").parse().unwrap_or_default(),
            stop_delay_ms: self.number("front.stop_delay_ms"),
            trusted_proxies: Proxies::new(&split(self.text("front.trusted_proxies")).collect::<Vec<_>>())
                .unwrap_or_default(),
            proxy_protocol: self.text("front.proxy_protocol") == "on",
            http: HttpConfig {
                header_timeout_ms: self.number("http.header_timeout_ms"),
                body_timeout_ms: self.number("http.body_timeout_ms"),
                keep_alive_ms: self.number("http.keep_alive_ms"),
                keep_alive_requests_max: self.size("http.keep_alive_requests_max"),
                header_bytes_max: self.size("http.header_bytes_max"),
                header_fields_max: self.size("http.header_fields_max"),
                target_bytes_max: self.size("http.target_bytes_max"),
            },
            traces: !self.text("trace.endpoint").is_empty(),
            tls: self.tls(),
            access_log: self.text("log.access").parse().unwrap_or_default(),
            admin: self.admin(),
            routes: self.routes.clone(),
        }
    }

    fn admin(&self) -> AdminConfig {
        let listen = self.value("admin.listen");
        AdminConfig {
            listen: split(&listen.text).map(str::to_owned).collect(),
            any_port: listen.origin == Origin::Default,
            token: Token::new(self.text("admin.token")),
        }
    }

    fn tls(&self) -> TlsConfig {
        let (certificate, key) = (self.text("tls.certificate"), self.text("tls.key"));
        let first = Certificate { certificate: certificate.into(), key: key.into() };
        let first = (!certificate.is_empty()).then_some(first);
        TlsConfig {
            listen: split(self.text("tls.listen")).map(str::to_owned).collect(),
            certificates: first.into_iter().chain(self.certificates.clone()).collect(),
            redirect: self.text("tls.redirect") == "on",
            port: u16::try_from(self.number("tls.port")).unwrap_or_default(),
        }
    }

    /// Checks what is right or wrong only together.
    fn check_together(&self) -> Result<(), Failure> {
        let (mut wrong, tls) = (Vec::new(), self.tls());
        let given = |key: &str| !self.text(key).is_empty();
        if given("tls.certificate") != given("tls.key") {
            wrong.push("tls.certificate and tls.key go together: one of them is missing".to_owned());
        }
        if given("tls.listen") && tls.certificates.is_empty() {
            wrong.push("tls.listen needs a certificate: tls.certificate and tls.key".to_owned());
        }
        if tls.redirect && !given("tls.listen") {
            wrong.push("tls.redirect needs tls.listen: there is nothing to send clients to".to_owned());
        }
        if !given("front.listen") && !given("tls.listen") {
            wrong.push(
                "front.listen and tls.listen are empty: name an address like localhost:1337".to_owned(),
            );
        }
        if given("redis.cert_file") != given("redis.key_file") {
            wrong.push("redis.cert_file and redis.key_file go together: one of them is missing".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(Failure::usage(wrong)) }
    }

    /// What the supervisor is told.
    pub(crate) fn supervisor(&self) -> Options {
        let time = |key| Duration::from_millis(self.number(key));
        Options {
            grace: time("supervisor.grace_ms"),
            crashes_max: u32::try_from(self.number("supervisor.crashes_max")).unwrap_or(u32::MAX),
            crash_pause: time("supervisor.crash_pause_ms"),
            ..Options::default()
        }
    }

    /// Where traces go.
    pub(crate) fn trace(&self) -> Trace<'_> {
        Trace {
            endpoint: self.text("trace.endpoint"),
            sample: self.text("trace.sample").parse().unwrap_or(1.0),
            service: self.text("trace.service"),
        }
    }

    /// What is logged, and how.
    pub(crate) fn log(&self) -> (&str, &str) {
        (self.text("log.filter"), self.text("log.format"))
    }
}

/// The file that was named by option or variable, else the one that lies here.
fn chosen_file(sources: &Sources<'_>) -> Option<PathBuf> {
    let named = sources.file.map(Path::to_owned);
    let named =
        named.or_else(|| std::env::var_os("TEMPEST_CONFIG").filter(|it| !it.is_empty()).map(PathBuf::from));
    if named.is_none() && sources.only_connects && sources.up.is_some() {
        return None;
    }
    named.or_else(|| Path::new(file::DEFAULT).is_file().then(|| file::DEFAULT.into()))
}

fn effective(
    setting: &'static Setting,
    sources: &Sources<'_>,
    file: &File,
    wrong: &mut Vec<String>,
) -> Value {
    let flag = sources.flags.iter().find(|(given, _)| given.key == setting.key);
    let flag = flag.map(|(_, text)| (text.clone(), Origin::Flag(setting.flag)));
    let up = sources.up.as_ref();
    let up = up.and_then(|up| Some((up.value(setting.key)?, Origin::Up(up.path.clone()))));
    let variable = std::env::var(setting.variable).ok().filter(|text| !text.is_empty());
    let variable = variable.map(|text| (text, Origin::Variable(setting.variable)));
    let filed = file.values.iter().find(|(given, ..)| given.key == setting.key);
    let filed = filed.map(|(_, text, place)| (text.clone(), Origin::File(place.clone())));
    let default = (setting.default.to_owned(), Origin::Default);
    let (text, origin) = flag.or(up).or(variable).or(filed).unwrap_or(default);
    if let Err(error) = setting.check(&text) {
        wrong.push(format!("{}: {error}", source_name(&origin)));
    }
    Value { setting, text, origin }
}

fn source_name(origin: &Origin) -> String {
    match origin {
        Origin::Flag(name) => format!("--{name}"),
        Origin::Variable(name) => (*name).to_owned(),
        Origin::Up(path) => path.display().to_string(),
        Origin::File(place) => place.clone(),
        Origin::Default => "default".to_owned(),
    }
}
