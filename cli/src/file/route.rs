//! `[[route]]`: which requests, and where they go. What a route means is the front's to say.

use serde_json::{Map, Value as Json};
use tempest_front::Route;
use toml::de::DeTable;

use super::{
    Reader, Value,
    key::{Entry, Shape, entries},
};

/// Every key of a route.
pub(crate) const KEYS: &[Entry] = entries! {
    "path" (Shape::Text) "Path pattern: `/users/{id}`, `/files/{*rest}`.";
    "host" (Shape::Text) "Only for this host, without port; absent: for all.";
    "methods" (Shape::Texts) "Only for these methods; absent: for all.";
    "queue" (Shape::Text) "To workers of this queue. A route has exactly one of `queue`, `topic`, `static` and `jobs`.";
    "topic" (Shape::Text)
        "To an event stream of this topic, or several separated by commas; `{name}` stands for a part of the path.";
    "static" (Shape::Folder) "To files below this folder; relative to the file.";
    "jobs" (Shape::Truth)
        "To the status of background jobs: of `queue` if the route has one, else of the queue `{queue}` of the path, if another route pushes to it; `{id}` is the job's.";
    "background" (Shape::Truth)
        "Whether a request becomes a background job: its client gets a 202 and the address of its status at once.";
    "keep_ms" (Shape::Integer)
        "How long record and result of a background job are kept after its end, at most 30 days; absent: an hour. With 0 they go with the job.";
    "attempts" (Shape::Integer) "How often a background job may be started; absent: 3.";
    "delay_ms" (Shape::Integer) "How long a background job waits before it may run; absent: it does not.";
    "ttl_ms" (Shape::Integer)
        "A background job that was not started so long after it might have run is given up; absent: never.";
    "status_path" (Shape::Text)
        "Where clients find the status of their background jobs, with `{id}` and `{queue}`; absent: the path of the first route with `jobs` that shows them.";
    "credentials" (Shape::Truth)
        "Whether a background job keeps the cookies and the `Authorization` of its request; they would lie in Redis as long as it does.";
    "idempotency_ms" (Shape::Integer)
        "How long a background job holds the `Idempotency-Key` of its request (with `idempotency_key`); absent: a day.";
    "backlog_bytes_max" (Shape::Integer)
        "Bytes that may wait in the lane of a background job before more are refused; absent: 1 GiB.";
    "lane" (Shape::Text) "Priority lane: `high`, `normal` (default) or `low`.";
    "action" (Shape::Text) "The handler the job is for; absent: `url`.";
    "timeout_ms" (Shape::Integer) "Instead of `front.timeout_ms`.";
    "body_bytes_max" (Shape::Integer) "Instead of `front.body_bytes_max`.";
    "encoding" (Shape::Text) "Encoding of jobs: `json` (default) or `msgpack`.";
    "idempotency_key" (Shape::Truth)
        "Whether a request with `Idempotency-Key` may be run again when its worker dies, whatever its method; and whether one that becomes a background job becomes no second one.";
    "no_worker_wait_ms" (Shape::Integer)
        "How long a request waits for somebody to serve its queue where nobody is known to; absent: 250.";
    "kill_after_ms" (Shape::Integer)
        "How long after a cancel the worker that still runs the job is ended by its supervisor, with all it runs; absent: never.";
    "coalesce" (Shape::Truth)
        "Whether identical GETs in flight share one job: same target, host, cookies, credentials and `Accept` fields.";
    "rate" (Shape::Table(RATE)) "How many requests a client may send; more are refused with 429.";
    "cors" (Shape::Table(CORS)) "Which pages of other origins may read responses; preflights are answered by the front.";
    "compress" (Shape::Truth) "Whether responses of 512 bytes and more are compressed for clients that take it.";
    "compress_events" (Shape::Truth)
        "Whether event streams are compressed, each event by itself; they then need more memory each.";
    "streams_per_client_max" (Shape::Integer) "Event streams of one client on this route; 0 (default) is no limit.";
    "response_headers" (Shape::Fields) "Fields that responses get unless their worker sets them.";
    "cache_control" (Shape::Text) "`Cache-Control` of files.";
    "dotfiles" (Shape::Truth) "Whether files and folders whose names begin with a dot are served.";
};

/// Every key of a route's `rate`.
const RATE: &[Entry] = entries! {
    "requests" (Shape::Integer) "Requests in each period.";
    "per_ms" (Shape::Integer) "The period in milliseconds; absent: 1000.";
    "burst" (Shape::Integer) "Requests that may come at once; absent: as many as in a period.";
};

/// Every key of a route's `cors`.
const CORS: &[Entry] = entries! {
    "origins" (Shape::Texts) "Origins like `https://app.example`, `https://*.example` for subdomains, or `*`.";
    "methods" (Shape::Texts) "Methods besides GET, HEAD and POST, or `*`.";
    "headers" (Shape::Texts) "Request fields besides the harmless ones, or `*`.";
    "expose" (Shape::Texts) "Response fields that a page may read.";
    "credentials" (Shape::Truth) "Whether cookies are sent along; not together with `*`.";
    "max_age_s" (Shape::Integer) "How long a browser remembers a preflight, in seconds.";
};

impl Reader<'_> {
    pub(super) fn route(&mut self, at: usize, table: &DeTable<'_>) -> Option<Route> {
        let before = self.wrong.len();
        let fields = self.table("[[route]]", KEYS, table);
        if self.wrong.len() > before {
            return None;
        }
        let route: Result<Route, _> = serde_json::from_value(Json::Object(fields));
        let checked = route.map_err(|error| vec![error.to_string()]).and_then(|route| {
            route.check()?;
            Ok(route)
        });
        checked.map_err(|lines| lines.into_iter().for_each(|line| self.wrong(at, line))).ok()
    }

    /// The values of a table that has only these keys.
    fn table(&mut self, place: &str, keys: &[Entry], table: &DeTable<'_>) -> Map<String, Json> {
        let mut fields = Map::new();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            match keys.iter().find(|known| known.name == name) {
                None => self.unknown(key, place, keys.iter().map(|known| known.name)),
                Some(known) => {
                    fields.extend(self.field(known, value).map(|value| (name.to_owned(), value)));
                }
            }
        }
        fields
    }

    fn field(&mut self, key: &Entry, value: &Value<'_>) -> Option<Json> {
        let name = key.name;
        match &key.shape {
            Shape::Text => self.text(name, value).map(Json::from),
            Shape::Folder | Shape::File => self.folder_of(name, value),
            Shape::Texts => self.texts(name, value).map(Json::from),
            Shape::Integer => self.integer(name, value, 1 << 40).map(Json::from),
            Shape::Truth => {
                self.expected(value, name, "true or false", |value| value.as_bool().map(Json::from))
            }
            Shape::Fields => self.expected(value, name, "a table of texts: { name = \"value\" }", |value| {
                let field = |(name, value): (&super::Key<'_>, &Value<'_>)| {
                    Some((name.get_ref().to_string(), Json::from(value.get_ref().as_str()?)))
                };
                value.as_table()?.iter().map(field).collect::<Option<Map<_, _>>>().map(Json::Object)
            }),
            Shape::Any => self.json(name, value),
            Shape::Table(keys) => match value.get_ref().as_table() {
                Some(table) => Some(Json::Object(self.table(&format!("{name} of a route"), keys, table))),
                None => self.expected(value, name, "a table: { … }", |_| None),
            },
        }
    }

    fn folder_of(&mut self, name: &str, value: &Value<'_>) -> Option<Json> {
        let folder = self.text(name, value)?;
        let folder = self.folder().join(folder);
        if folder.is_dir() {
            return Some(folder.to_string_lossy().into());
        }
        self.wrong(value.span().start, format!("{name}: there is no folder {}", folder.display()));
        None
    }

    /// What `read` makes of a value; else says what it must be.
    fn expected(
        &mut self,
        value: &Value<'_>,
        name: &str,
        what: &str,
        read: impl FnOnce(&toml::de::DeValue<'_>) -> Option<Json>,
    ) -> Option<Json> {
        let read = read(value.get_ref());
        if read.is_none() {
            self.wrong(value.span().start, format!("{name} must be {what}"));
        }
        read
    }
}
