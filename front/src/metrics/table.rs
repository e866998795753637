//! The one table of metrics. It feeds what is registered, the page `docs/metrics.md` and the check of the dashboard.

/// A metric: its name, its kind, what tells its values apart, its meaning.
#[derive(Debug)]
pub(super) struct Metric {
    /// As it is asked for, but for the endings of counters (`_total`) and histograms (`_bucket`, `_sum`, `_count`).
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// One line.
    pub(super) help: &'static str,
}

/// What a metric does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, and begins anew with the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations, in buckets.
    Histogram,
}

impl Metric {
    /// The name without its unit, and the unit, if it has one.
    pub(super) fn name_and_unit(&self) -> (&'static str, Option<&'static str>) {
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find_map(|unit| Some((self.name.strip_suffix(unit)?.strip_suffix('_')?, Some(unit))));
        unit.unwrap_or((self.name, None))
    }
}

macro_rules! metrics {
    ($($id:ident $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        /// A metric of the table.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Name { $($id,)* }

        /// Every metric, in the order of the page.
        pub(super) const METRICS: [Metric; [$($name),*].len()] = [$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        },)*];
    };
}

metrics! {
    Requests "tempest_requests" Counter ["route", "target", "queue", "method", "status"]
        "Requests by their status; 499 if the client left before there was one, event streams when they open.";
    RequestDuration "tempest_request_duration_seconds" Histogram ["route", "target", "queue"]
        "From the head of a request to that of its response, event streams left out.";
    RequestPart "tempest_request_part_seconds" Histogram ["route", "target", "queue", "part"]
        "Where the time of answered requests went: front, queue, worker, reply; as far as the worker tells.";
    RequestsInFlight "tempest_requests_in_flight" Gauge ["route", "target", "queue"]
        "Requests that are being answered, event streams left out.";
    Refusals "tempest_refusals" Counter ["code"]
        "Refusals by their code word, those of connections included.";
    Connections "tempest_connections" Gauge ["carries", "tls"]
        "Connections of clients that are open: http1, http2, or the events of a stream that took its socket.";
    ConnectionsAccepted "tempest_connections_accepted" Counter []
        "Connections of clients that were accepted.";
    Streams "tempest_streams" Gauge []
        "Event streams that are open, over whatever connection.";
    StreamsCut "tempest_streams_cut" Counter []
        "Event streams that were ended because their client did not keep up.";
    Topics "tempest_topics" Gauge []
        "Topics that somebody here listens to.";
    EventsHeard "tempest_events_heard" Counter []
        "Events that came from Redis for a topic somebody here listens to.";
    EventsDelivered "tempest_events_delivered" Counter []
        "Events given to event streams: one event for ten of them counts ten.";
    Jobs "tempest_jobs" Counter ["queue", "outcome"]
        "Jobs of this front by what became of them: answered, failed, worker_lost, timeout, cancelled, queue_full, no_worker, redis_away.";
    JobsAwaited "tempest_jobs_awaited" Gauge []
        "Jobs of this front whose reply is waited for.";
    JobsPushed "tempest_jobs_pushed" Counter ["queue", "outcome"]
        "Background jobs that routes of this front pushed, by what became of that: pushed, known, queue_full, redis_away, failed.";
    JobsWaiting "tempest_jobs_waiting" Gauge ["queue", "lane"]
        "Jobs of the whole cluster that wait in a lane.";
    JobsWaitingBytes "tempest_jobs_waiting_bytes" Gauge ["queue", "lane"]
        "Memory that waiting jobs take, as Redis estimates it.";
    JobsOldest "tempest_jobs_oldest_seconds" Gauge ["queue", "lane"]
        "How long the job at the head of a lane has waited; absent if the lane is empty or the job does not say.";
    JobsRunning "tempest_jobs_running" Gauge ["queue"]
        "Jobs of the whole cluster that are claimed and not acked.";
    JobsLater "tempest_jobs_later" Gauge ["queue"]
        "Jobs of the whole cluster that are delayed or to be tried again.";
    JobsDead "tempest_jobs_dead" Gauge ["queue"]
        "Jobs of the whole cluster that were given up and are kept for a human.";
    JobsRecovered "tempest_jobs_recovered" Counter ["outcome"]
        "Jobs of workers that are gone, by what this process did with them: requeued, answered, buried, dropped.";
    Workers "tempest_workers" Gauge ["queue"]
        "Workers of the whole cluster that have a lease on a queue.";
    WorkerSlots "tempest_worker_slots" Gauge ["queue"]
        "Jobs that these workers run at once.";
    WorkerDeaths "tempest_worker_deaths" Counter ["cause"]
        "Workers whose death this process saw: its children by signal or exit, others by their lease when they held a job.";
    FramesMalformed "tempest_frames_malformed" Counter ["frame"]
        "Frames that could not be read: a reply, or a job that was delayed or held by a worker that is gone.";
    RepliesLate "tempest_replies_late" Counter []
        "Replies that nobody waited for any more, or that came twice.";
    RedisUp "tempest_redis_up" Gauge []
        "Whether the command connection to Redis is up.";
    RedisRoundTrip "tempest_redis_round_trip_seconds" Histogram []
        "From the write of a command, or of several together, to its answer.";
    RedisCommands "tempest_redis_commands" Counter ["command"]
        "Commands sent to Redis by name; those that greet a new connection are left out.";
    RedisReconnects "tempest_redis_reconnects" Counter ["connection"]
        "Connections to Redis that came up again: commands, mailbox, topics.";
    RedisFaults "tempest_redis_faults" Counter ["fault"]
        "Faults of Redis that this front met, once each however much they hit: away, or the word of its refusal (OOM, READONLY, NOPERM and so on).";
    Ready "tempest_ready" Gauge []
        "Whether /readyz says that requests should be sent here.";
    Unready "tempest_unready" Gauge ["reason"]
        "The reasons against it: 1 for each that holds.";
    BuildInfo "tempest_build_info" Gauge ["version"]
        "Always 1; the version is in the label.";
    Uptime "tempest_uptime_seconds" Gauge []
        "How long this front has been running.";
    ProcessMemory "tempest_process_resident_memory_bytes" Gauge []
        "Memory of the process that is resident.";
    ProcessCpu "tempest_process_cpu_seconds" Counter []
        "Processor time of the process, in user and system mode.";
    ProcessOpenFiles "tempest_process_open_fds" Gauge []
        "Open descriptors of the process.";
    ProcessOpenFilesMax "tempest_process_max_fds" Gauge []
        "How many it may have.";
    ProcessThreads "tempest_process_threads" Gauge []
        "Threads of the process.";
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const HEAD: &str = "\
# Metrics

Made from the table in `front/src/metrics/table.rs`; a test holds both equal and writes this page anew with
`UPDATE_DOCS=1 cargo test -p tempest-front --lib metrics`.

`GET /metrics` of the admin listener (`admin.listen`, `http://localhost:1338/metrics` by default) gives all of them in the text format of
OpenMetrics 1.0, which Prometheus reads. Counters have the ending `_total` there; histograms have `_bucket`, `_sum` and `_count`, in seconds.
Counters begin at 0 with the process. A metric without a value yet has its description only.

What is said of *the whole cluster* is what this front last saw of it, at most two seconds ago: every front tells the same, so take `max`
over fronts, not `sum`. It is absent while Redis is away. Everything else is of this front alone: take `sum`.

`route` is host and path pattern as configured, `target` is `queue`, `background`, `jobs`, `topic` or `static`; both are absent where no route was found. Labels never hold what clients
chose: the number of values is bounded by the configuration and by the queues there are (the first 1000 by name).

| metric | kind | labels | meaning |
|---|---|---|---|
";

    fn docs() -> String {
        let mut page = HEAD.to_owned();
        for Metric { name, kind, labels, help } in &METRICS {
            let ending = if *kind == Kind::Counter { "_total" } else { "" };
            let kind = format!("{kind:?}").to_lowercase();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            page += &format!("| `{name}{ending}` | {kind} | {} | {help} |\n", labels.join(", "));
        }
        page
    }

    #[test]
    fn the_page_in_docs_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, docs()).expect("written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == docs(),
            "docs/metrics.md is not what the table says; its head tells how to write it anew"
        );
    }

    #[test]
    fn names_are_unique_and_meanings_are_sentences() {
        for metric in &METRICS {
            let same = METRICS.iter().filter(|other| other.name == metric.name);
            assert_eq!(same.count(), 1, "{}", metric.name);
            assert!(metric.name.starts_with("tempest_") && metric.help.ends_with('.'), "{}", metric.name);
            assert!(!metric.help.contains(['|', '\n', '"']), "{}", metric.name);
            let unit = metric.name_and_unit().1;
            assert!(metric.kind != Kind::Histogram || unit == Some("seconds"), "{}", metric.name);
        }
    }
}
