//! What a scraper is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tempest_front::{FrontConfig, Route};

use crate::{
    admin::seen,
    scene::{LANE, Running, Scene, timed},
    server::eventually,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: example\r\n\r\n";

/// A page of metrics.
struct Page {
    /// Kinds by name, as the page declares them.
    kinds: BTreeMap<String, String>,
    /// Values by everything that stands before them.
    values: BTreeMap<String, f64>,
}

impl Page {
    fn of(front: &Running) -> Self {
        let response = front.asked("/metrics");
        let kind = response.header("content-type").expect("a content type");
        assert_eq!((response.status, kind.split(';').next()), (200, Some("application/openmetrics-text")));
        let text = response.text();
        assert!(text.ends_with("# EOF\n"), "{text}");
        let (mut kinds, mut values) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                let (name, kind) = declared.split_once(' ').expect("a kind");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                let value = value.parse().expect("a number");
                assert!(values.insert(sample.to_owned(), value).is_none(), "twice: {line}");
            }
        }
        Self { kinds, values }
    }

    /// The value of a sample; 0 if there is none.
    fn value(&self, sample: &str) -> f64 {
        self.values.get(sample).copied().unwrap_or_default()
    }

    fn is(&self, sample: &str, value: u32) -> bool {
        (self.value(sample) - f64::from(value)).abs() < f64::EPSILON
    }

    #[track_caller]
    fn assert(&self, sample: &str, value: u32) {
        assert!(self.is(sample, value), "{sample} {} and not {value}", self.value(sample));
    }
}

/// Waits until a sample has a value.
#[track_caller]
fn eventually_is(front: &Running, sample: &str, value: u32) {
    eventually(sample, || Page::of(front).is(sample, value));
}

/// Name, kind and labels of each metric in `docs/metrics.md`, which is made from the table of the front.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let row = |row: &str| {
        let cells: Vec<_> = row.split('|').map(cell).collect();
        let labels = cells[2].split(", ").map(cell).filter(|label| !label.is_empty()).collect();
        (cells[0].trim_end_matches("_total").to_owned(), (cells[1].clone(), labels))
    };
    rows.map(row).collect()
}

/// The name of the metric of a sample, and its labels.
fn parts_of(sample: &str) -> (String, BTreeSet<String>) {
    let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
    let endings = ["_total", "_bucket", "_sum", "_count"];
    let known = documented();
    let name = match known.contains_key(name) {
        true => name,
        false => endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name),
    };
    // No value has a comma followed by a name here.
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| Some(label.split_once('=')?.0));
    (name.to_owned(), labels.map(str::to_owned).filter(|label| label != "le").collect())
}

#[test]
fn every_metric_of_the_table_is_there_and_no_other() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    scene.exchange(&front, GET);
    let _stream = front.events("/sub/news");
    scene.redis.run(&["RPUSH", LANE, r#"{"action":"x","queued_at":1}"#]);
    eventually("the job is seen", || {
        Page::of(&front).values.contains_key(r#"tempest_jobs_oldest_seconds{queue="default",lane="normal"}"#)
    });
    assert_eq!(front.get("/sub/a%00").status, 404);
    let (page, documented) = (Page::of(&front), documented());
    let kinds: BTreeMap<_, _> =
        documented.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
    assert_eq!(page.kinds, kinds);
    let mut with_values = BTreeSet::new();
    for sample in page.values.keys() {
        let (name, labels) = parts_of(sample);
        let (_, known) = documented.get(&name).unwrap_or_else(|| panic!("{sample} is not in the table"));
        assert!(labels.is_subset(known), "{sample}: {known:?}");
        with_values.insert(name);
    }
    let silent: Vec<_> = documented.keys().filter(|name| !with_values.contains(*name)).collect();
    // The hand of this scene does not say when it took the job and how long it worked.
    assert_eq!(silent, ["tempest_request_part_seconds"]);
}

#[test]
fn requests_are_counted_by_route_method_and_status() {
    let scene = Scene::new();
    let route = |path: &str| Route { path: path.into(), queue: Some("default".into()), ..Route::default() };
    let table = vec![route("/a/{id}"), Route { host: Some("b.example".into()), ..route("/\"b\"") }];
    let front = scene.front_with(FrontConfig { routes: table, ..seen() });
    for id in 0..3 {
        scene.exchange(&front, format!("GET /a/{id} HTTP/1.1\r\nhost: example\r\n\r\n"));
    }
    scene.exchange(&front, "POST /a/1 HTTP/1.1\r\nhost: example\r\ncontent-length: 1\r\n\r\nx");
    scene.exchange(&front, "BREW /\"b\" HTTP/1.1\r\nhost: b.example\r\n\r\n");
    assert_eq!(front.get("/c").status, 404);
    let page = Page::of(&front);
    let a = r#"route="/a/{id}",target="queue",queue="default""#;
    page.assert(&format!(r#"tempest_requests_total{{{a},method="GET",status="200"}}"#), 3);
    page.assert(&format!(r#"tempest_requests_total{{{a},method="POST",status="200"}}"#), 1);
    page.assert(&format!("tempest_request_duration_seconds_count{{{a}}}"), 4);
    page.assert(&format!(r#"tempest_request_duration_seconds_bucket{{le="+Inf",{a}}}"#), 4);
    page.assert(&format!("tempest_requests_in_flight{{{a}}}"), 0);
    let b = r#"route="b.example/\"b\"",target="queue",queue="default""#;
    page.assert(&format!(r#"tempest_requests_total{{{b},method="other",status="200"}}"#), 1);
    page.assert(r#"tempest_requests_total{method="GET",status="404"}"#, 1);
    page.assert(r#"tempest_refusals_total{code="not_found"}"#, 1);
    page.assert(r#"tempest_jobs_total{queue="default",outcome="answered"}"#, 5);
}

#[test]
fn numbers_go_on_over_a_reload() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    scene.exchange(&front, GET);
    front.handle().reload(seen()).expect("a good configuration");
    scene.exchange(&front, GET);
    let all = r#"route="/{*rest}",target="queue",queue="default",method="GET",status="200""#;
    Page::of(&front).assert(&format!("tempest_requests_total{{{all}}}"), 2);
}

#[test]
fn a_client_that_leaves_is_counted_and_its_job_too() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let mut client = front.client();
    client.send(GET);
    let all = r#"route="/{*rest}",target="queue",queue="default""#;
    eventually_is(&front, &format!("tempest_requests_in_flight{{{all}}}"), 1);
    eventually_is(&front, "tempest_jobs_awaited", 1);
    eventually_is(&front, r#"tempest_connections{carries="http1",tls="no"}"#, 1);
    drop(client);
    eventually_is(&front, &format!(r#"tempest_requests_total{{{all},method="GET",status="499"}}"#), 1);
    eventually_is(&front, r#"tempest_jobs_total{queue="default",outcome="cancelled"}"#, 1);
    eventually_is(&front, &format!("tempest_requests_in_flight{{{all}}}"), 0);
    eventually_is(&front, r#"tempest_connections{carries="http1",tls="no"}"#, 0);
}

#[test]
fn jobs_are_counted_by_what_became_of_them() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 2_000, ..seen() });
    let ask = |answer: &dyn Fn(&crate::scene::Claim)| {
        let mut client = front.client();
        client.send("POST / HTTP/1.1\r\nhost: example\r\ncontent-length: 0\r\n\r\n");
        answer(&scene.claim());
        client.response().status
    };
    assert_eq!(ask(&|claim| scene.fail(claim, "handler_error", "x")), 500);
    assert_eq!(ask(&|claim| scene.fail(claim, "worker_lost", "killed by signal 9 (SIGKILL)")), 502);
    assert_eq!(ask(&|claim| scene.send(claim, br#"{"id":"#)), 504);
    let page = Page::of(&front);
    let of = |outcome: &str| format!(r#"tempest_jobs_total{{queue="default",outcome="{outcome}"}}"#);
    for outcome in ["failed", "worker_lost", "timeout"] {
        page.assert(&of(outcome), 1);
    }
    page.assert(r#"tempest_frames_malformed_total{frame="reply"}"#, 1);
    for code in ["handler_error", "worker_lost", "timeout"] {
        page.assert(&format!(r#"tempest_refusals_total{{code="{code}"}}"#), 1);
    }
}

#[test]
fn the_parts_of_time_are_told_as_far_as_the_worker_tells() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let mut client = front.client();
    client.send(GET);
    let claim = scene.claim();
    let queued_at_ms = claim.job.envelope.queued_at_ms.expect("told");
    let (id, claimed_at_ms) = (claim.id(), queued_at_ms + 1);
    let reply =
        format!(r#"{{"id":"{id}","status":200,"body":"","claimed_at":{claimed_at_ms},"work_us":700}}"#);
    scene.send(&claim, reply.as_bytes());
    assert_eq!(client.response().status, 200);
    let page = Page::of(&front);
    for part in ["front", "queue", "worker", "reply"] {
        let labels = format!(r#"route="/{{*rest}}",target="queue",queue="default",part="{part}""#);
        page.assert(&format!("tempest_request_part_seconds_count{{{labels}}}"), 1);
    }
}

#[test]
fn event_streams_and_their_events_are_counted() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let streams: Vec<_> = (0..3).map(|_| front.events("/sub/news,weather")).collect();
    let page = Page::of(&front);
    page.assert("tempest_streams", 3);
    page.assert("tempest_topics", 2);
    page.assert(r#"tempest_connections{carries="events",tls="no"}"#, 3);
    let opened = r#"route="/sub/{*topic}",target="topic",method="GET",status="200""#;
    page.assert(&format!("tempest_requests_total{{{opened}}}"), 3);
    scene.redis.run(&["PUBLISH", "news", "x"]);
    scene.redis.run(&["PUBLISH", "nothing", "x"]);
    eventually_is(&front, "tempest_events_delivered_total", 3);
    Page::of(&front).assert("tempest_events_heard_total", 1);
    drop(streams);
    eventually_is(&front, "tempest_streams", 0);
    eventually_is(&front, "tempest_topics", 0);
    let left = r#"route="/sub/{*topic}",target="topic",method="GET",status="499""#;
    Page::of(&front).assert(&format!("tempest_requests_total{{{left}}}"), 0);
}

#[test]
fn queues_are_shown_as_they_were_last_seen() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let job = r#"{"action":"x"}"#;
    scene.redis.run(&["RPUSH", "tempest:{default}:high", r#"{"action":"x","queued_at":1}"#, job]);
    scene.redis.run(&["RPUSH", LANE, job]);
    eventually_is(&front, r#"tempest_jobs_waiting{queue="default",lane="high"}"#, 2);
    let page = Page::of(&front);
    page.assert(r#"tempest_jobs_waiting{queue="default",lane="low"}"#, 0);
    page.assert(r#"tempest_workers{queue="default"}"#, 1);
    page.assert(r#"tempest_worker_slots{queue="default"}"#, 1);
    assert!(page.value(r#"tempest_jobs_waiting_bytes{queue="default",lane="high"}"#) > 0.0);
    assert!(page.value(r#"tempest_jobs_oldest_seconds{queue="default",lane="high"}"#) > 1e9, "since 1970");
    let normal = r#"tempest_jobs_oldest_seconds{queue="default",lane="normal"}"#;
    assert!(!page.values.contains_key(normal), "it does not say since when");
}

#[test]
fn a_redis_that_is_silent_does_not_hold_a_scrape_up() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    scene.redis.run(&["RPUSH", LANE, r#"{"action":"x","queued_at":1}"#]);
    eventually_is(&front, r#"tempest_jobs_waiting{queue="default",lane="normal"}"#, 1);
    Page::of(&front).assert("tempest_redis_up", 1);
    scene.redis.pause();
    let (page, took) = timed(|| Page::of(&front));
    assert!(took < Duration::from_secs(2), "{took:?}");
    page.assert(r#"tempest_jobs_waiting{queue="default",lane="normal"}"#, 1);
    eventually_is(&front, "tempest_redis_up", 0);
    eventually_is(&front, r#"tempest_unready{reason="redis_away"}"#, 1);
    eventually("what is old is not shown", || {
        !Page::of(&front).values.contains_key(r#"tempest_workers{queue="default"}"#)
    });
    scene.redis.resume();
    eventually_is(&front, r#"tempest_redis_reconnects_total{connection="commands"}"#, 1);
    eventually_is(&front, "tempest_ready", 1);
}

#[test]
fn what_is_sent_to_redis_is_counted() {
    let scene = Scene::new();
    let front = scene.front_with(seen());
    let before = Page::of(&front);
    (0..5).for_each(|_| drop(scene.exchange(&front, GET)));
    let after = Page::of(&front);
    let more = |sample: &str| after.value(sample) - before.value(sample);
    assert!((more(r#"tempest_redis_commands_total{command="RPUSH"}"#) - 5.0).abs() < f64::EPSILON);
    assert!(more("tempest_redis_round_trip_seconds_count") >= 5.0);
    assert!(after.value(r#"tempest_redis_commands_total{command="BLMOVE"}"#) >= 1.0);
}
