//! Jobs over HTTP: a request becomes a background job, its client a visitor who looks now and then.

use serde_json::{Value, json};
use tempest_front::{AdminConfig, FrontConfig, Route};
use tempest_protocol::Encoding;

use crate::{
    client::{Client, Response},
    proxy::Fault,
    scene::{Claim, Running, Scene, config, routes},
    server::eventually,
};

pub(crate) const REPORTS: &str = "tempest:{reports}";

pub(crate) fn reports() -> Route {
    Route {
        path: "/reports".into(),
        methods: vec!["POST".into()],
        queue: Some("reports".into()),
        background: true,
        action: Some("report".into()),
        ..Route::default()
    }
}

pub(crate) fn jobs() -> Route {
    Route { path: "/jobs/{queue}/{id}".into(), jobs: true, ..Route::default() }
}

/// Routes for reports, as `route` has them, for what became of them, and for the queue `default`.
pub(crate) fn pushing(route: Route) -> FrontConfig {
    let rest = Route { path: "/{*rest}".into(), queue: Some("default".into()), ..Route::default() };
    routes(vec![route, jobs(), rest])
}

pub(crate) fn post(client: &mut Client, fields: &str, body: &str) -> Response {
    let length = body.len();
    client
        .send(format!("POST /reports HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n{fields}\r\n{body}"));
    client.response()
}

pub(crate) fn json_of(response: &Response) -> Value {
    serde_json::from_str(&response.text()).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

/// Posts a report. Gives the address of its status.
#[track_caller]
pub(crate) fn pushed(front: &Running, body: &str) -> String {
    let response = post(&mut front.client(), "", body);
    assert_eq!(response.status, 202, "{}", response.text());
    response.header("location").expect("a location")
}

#[track_caller]
pub(crate) fn status(front: &Running, path: &str) -> Value {
    let response = front.get(path);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    json_of(&response)
}

impl Scene {
    pub(crate) fn report(&self) -> Claim {
        self.claim_from(&[REPORTS])
    }

    /// Writes into the record of a report, as its worker would.
    pub(crate) fn note(&self, claim: &Claim, fields: &[&str]) {
        let record = format!("{REPORTS}:job:{}", claim.id());
        self.redis.run(&[&["HSET", record.as_str()], fields].concat());
    }

    /// Ends a report with a reply that is kept.
    pub(crate) fn end(&self, claim: &Claim, reply: &str, fields: &[&str]) {
        let result = format!("{REPORTS}:job:{}:result", claim.id());
        self.redis.run(&["RPUSH", result.as_str(), &reply.replace("ID", &claim.id())]);
        self.note(claim, fields);
    }
}

#[test]
fn a_post_is_accepted_at_once_and_its_status_goes_from_waiting_to_done() {
    let scene = Scene::without_worker(crate::server::Server::start());
    let front = scene.front_with(pushing(reports()));
    let response = post(&mut front.client(), "", r#"{"month":11,"big":12345678901234567890123}"#);
    assert_eq!(response.status, 202, "nobody works on the queue, and nobody needs to");
    let (said, at) = (json_of(&response), response.header("location").expect("a location"));
    let id = said["id"].as_str().expect("an id").to_owned();
    assert_eq!(at, format!("/jobs/reports/{id}"));
    assert_eq!(said, json!({ "id": id, "queue": "reports", "state": "waiting", "status": at }));
    assert_eq!(response.header("x-request-id").as_deref(), Some(&*id), "one name for request and job");

    let waiting = front.get(&at);
    assert_eq!(waiting.header("retry-after").as_deref(), Some("1"));
    assert_eq!(json_of(&waiting)["state"], "waiting");
    let claim = scene.report();
    let envelope = &claim.job.envelope;
    assert_eq!((envelope.reply_to.as_deref(), envelope.attempts_max(), envelope.deadline_ms), (None, 3, 0));
    assert_eq!(envelope.background.as_ref().map(|it| it.keep_ms), Some(3_600_000));
    let args = claim.job.args().bytes();
    assert_eq!(args, r#"{"month":11,"big":12345678901234567890123}"#, "as it was sent");

    scene.note(
        &claim,
        &["state", "running", "worker", "w-1-a", "since", "5", "attempt", "1", "progress", r#"{"page":3}"#],
    );
    let running = status(&front, &at);
    assert_eq!((&running["state"], &running["progress"]), (&json!("running"), &json!({ "page": 3 })));
    assert_eq!(
        (&running["attempt"], running.get("worker")),
        (&json!(1), None),
        "who it is is nobody's business"
    );

    scene.end(
        &claim,
        r#"{"id":"ID","result":{"pages":[1,2.50]}}"#,
        &["state", "done", "done_at", "9", "work_us", "7"],
    );
    let response = front.get(&at);
    assert_eq!(response.header("retry-after"), None);
    assert!(
        response.text().contains(r#""result":{"pages":[1,2.50]}"#),
        "as it was kept: {}",
        response.text()
    );
    let done = json_of(&response);
    assert_eq!((&done["state"], &done["done_at"], done.get("since")), (&json!("done"), &json!(9), None));
    assert_eq!(
        (&done["action"], &done["queue"], &done["id"]),
        (&json!("report"), &json!("reports"), &json!(id))
    );
}

#[test]
fn a_job_that_fails_shows_its_code_and_never_its_message() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(reports()));
    let at = pushed(&front, "");
    let claim = scene.report();
    assert_eq!(claim.job.args().bytes(), "null", "an empty body is null");
    let due = front.now_ms() + 90_000;
    let failed = ["code", "out_of_paper", "message", "s3cret at 10.0.0.7"];
    scene.note(&claim, &[&["state", "later", "due", &due.to_string()], &failed[..]].concat());
    let later = front.get(&at);
    assert!(!later.text().contains("s3cret"), "{}", later.text());
    let seconds: u64 = later.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((85..=90).contains(&seconds), "{seconds}");
    assert_eq!(
        (&json_of(&later)["state"], &json_of(&later)["code"]),
        (&json!("later"), &json!("out_of_paper"))
    );

    let dead = r#"{"id":"ID","error":{"code":"out_of_paper","message":"s3cret at 10.0.0.7"}}"#;
    scene.end(&claim, dead, &["state", "dead", "died_at", "9"]);
    let dead = front.get(&at);
    assert!(!dead.text().contains("s3cret"), "{}", dead.text());
    let shown = json_of(&dead);
    assert_eq!(
        (&shown["state"], &shown["code"], &shown["died_at"]),
        (&json!("dead"), &json!("out_of_paper"), &json!(9))
    );
    assert_eq!((shown.get("result"), shown.get("due"), dead.header("retry-after")), (None, None, None));
}

#[test]
fn a_request_becomes_a_job_without_the_credentials_of_its_client() {
    let fields =
        "cookie: a=s3cret\r\nauthorization: Bearer s3cret\r\nproxy-authorization: s3cret\r\nx-kept: yes\r\n";
    for credentials in [false, true] {
        let scene = Scene::new();
        let front = scene.front_with(pushing(Route { action: None, credentials, ..reports() }));
        assert_eq!(post(&mut front.client(), fields, "x=1").status, 202);
        let claim = scene.report();
        let request = claim.request();
        assert_eq!(
            (request.method.as_str(), request.url.as_str(), &*request.body),
            ("POST", "/reports", &b"x=1"[..])
        );
        assert_eq!(claim.header("x-kept"), ["yes"]);
        let secrets = ["cookie", "authorization", "proxy-authorization"].map(|name| claim.header(name).len());
        assert_eq!(secrets, if credentials { [1, 1, 0] } else { [0, 0, 0] });

        let at = format!("/jobs/reports/{}", claim.id());
        let reply = claim.reply(201, &[("x-page", "7")], b"\xff\x00");
        scene.end(&claim, std::str::from_utf8(&reply).expect("JSON"), &["state", "done"]);
        let response = &status(&front, &at)["response"];
        assert_eq!((&response["status"], &response["headers"]["x-page"]), (&json!(201), &json!("7")));
        assert_eq!(response["body_base64"], "/wA=");
    }
}

#[test]
fn a_body_that_is_no_json_is_refused_before_it_is_a_job() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(reports()));
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for body in ["{", "{\"a\":1}x", "'a'", "\"\\ud800\"", "NaN", &deep] {
        let response = post(&mut front.client(), "accept: application/json\r\n", body);
        assert_eq!((response.status, &json_of(&response)["code"]), (400, &json!("bad_http")), "{body}");
        assert!(response.text().contains("must be JSON"), "{}", response.text());
    }
    assert_eq!(scene.redis.run(&["LLEN", REPORTS]).integer(), 0);
}

#[test]
fn what_a_route_says_is_said_to_the_worker() {
    let scene = Scene::new();
    let route = Route {
        keep_ms: Some(7_000),
        attempts: Some(9),
        ttl_ms: Some(60_000),
        lane: Some("low".into()),
        encoding: Some("msgpack".into()),
        status_path: Some("/api/of/{queue}/{id}".into()),
        ..reports()
    };
    let front = scene.front_with(pushing(route));
    let at = pushed(&front, "[1]");
    let claim = scene.claim_from(&["tempest:{reports}:low"]);
    assert_eq!(at, format!("/api/of/reports/{}", claim.id()), "as a proxy before the front has it");
    let envelope = &claim.job.envelope;
    assert_eq!((envelope.attempts, envelope.lane.as_str()), (Some(9), "low"));
    assert_eq!(envelope.background.as_ref().map(|it| it.keep_ms), Some(7_000));
    assert!(envelope.queued_at_ms.is_some_and(|queued| envelope.deadline_ms == queued + 60_000));
    assert_eq!(claim.job.encoding(), Encoding::MsgPack);
    assert_eq!(claim.job.args().decode::<Vec<u8>>().expect("a list"), [1]);
}

#[test]
fn a_delayed_job_waits_and_then_runs() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(Route { delay_ms: Some(600), ttl_ms: Some(5_000), ..reports() }));
    let response = post(&mut front.client(), "", "");
    assert_eq!(json_of(&response)["state"], "later");
    let shown = status(&front, &response.header("location").expect("a location"));
    assert_eq!((&shown["state"], shown["due"].is_u64()), (&json!("later"), true));
    let envelope = scene.report().job.envelope;
    let queued = envelope.queued_at_ms.expect("a time");
    assert_eq!(envelope.deadline_ms, queued + 5_600, "from when it might have run");
    assert!(front.now_ms() >= queued + 600);
}

#[test]
fn the_same_idempotency_key_is_the_same_job_for_the_same_client() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(Route { idempotency_key: true, ..reports() }));
    let push = |fields: &str| {
        let response = post(&mut front.client(), fields, "");
        assert_eq!(response.status, 202);
        json_of(&response)
    };
    let first = push("idempotency-key: k1\r\n");
    scene.note(&scene.report(), &["state", "running"]);
    let again = push("idempotency-key: k1\r\n");
    assert_eq!((&again["id"], &again["state"]), (&first["id"], &json!("running")));
    assert_eq!(again["status"], first["status"]);
    let others = [
        push("idempotency-key: k2\r\n"),
        push("idempotency-key: k1\r\nauthorization: Bearer somebody else\r\n"),
        push(""),
        push(""),
    ];
    assert!(others.iter().all(|other| other["id"] != first["id"]), "{others:?}");
    assert_eq!(scene.redis.run(&["LLEN", REPORTS]).integer(), 4);
    let keys = scene.redis.run(&["KEYS", "tempest:{reports}:unique:*"]).list();
    assert_eq!(keys.len(), 3);
    let key = String::from_utf8_lossy(&keys[0]).into_owned();
    assert!(scene.redis.run(&["PTTL", &key]).integer() > 86_000_000, "for a day");
}

#[test]
fn an_idempotency_key_means_nothing_where_the_route_does_not_trust_it() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(reports()));
    (0..2).for_each(|_| drop(post(&mut front.client(), "idempotency-key: k1\r\n", "")));
    assert_eq!(scene.redis.run(&["LLEN", REPORTS]).integer(), 2);
}

#[test]
fn a_push_whose_answer_was_lost_is_repeated_and_is_one_job() {
    for idempotency_key in [false, true] {
        let scene = Scene::new();
        let proxy = scene.proxy();
        let config = pushing(Route { idempotency_key, ..reports() });
        let front = scene.front_at(&proxy.url(), config);
        // Redis knows the script from here on.
        assert_eq!(post(&mut front.client(), "idempotency-key: k0\r\n", "").status, 202);
        proxy.prepare(Fault::lose_answer("tempest:{reports}:job:"));
        let response = post(&mut front.client(), "idempotency-key: k1\r\n", "");
        scene.wait("the cut", proxy.happened(1));
        assert_eq!(response.status, 202, "{}", response.text());
        assert_eq!(scene.redis.run(&["LLEN", REPORTS]).integer(), 2, "one each");
    }
}

#[test]
fn a_redis_that_is_away_or_a_lane_that_is_full_is_told_at_once() {
    let mut scene = Scene::new();
    scene.attend("reports");
    let admin = AdminConfig { listen: vec!["127.0.0.1:0".into()], ..AdminConfig::default() };
    let config = pushing(Route { backlog_bytes_max: Some(100_000), ..reports() });
    let front = scene.front_with(FrontConfig { admin, ..config });
    let at = pushed(&front, &format!("\"{}\"", "x".repeat(200_000)));
    let full = || post(&mut front.client(), "accept: application/json\r\n", "");
    eventually("the front has seen how full it is", || full().status == 503);
    let refused = full();
    assert_eq!(json_of(&refused)["code"], "queue_full");
    assert!(refused.header("retry-after").is_some());
    let text = front.asked("/metrics").text();
    assert!(text.contains("tempest_jobs_pushed_total{queue=\"reports\",outcome=\"queue_full\"} "), "{text}");
    assert!(text.contains(
        "route=\"/reports\",target=\"background\",queue=\"reports\",method=\"POST\",status=\"202\""
    ));

    scene.redis.run(&["DEL", REPORTS]);
    eventually("the front has seen that it is empty", || full().status == 202);
    scene.redis.kill();
    let mut code = Value::Null;
    eventually("the front knows that Redis is away", || {
        code = json_of(&full())["code"].clone();
        code == "redis_away"
    });
    assert_eq!(front.get(&at).status, 503);
}

#[test]
fn a_route_that_contradicts_itself_is_refused() {
    let refused = |route: Route| route.check().expect_err("a mistake").join("\n");
    let plain = |route: Route| Route { path: "/x".into(), queue: Some("q".into()), ..route };
    let topic = Route { path: "/x".into(), topic: Some("t".into()), background: true, ..Route::default() };
    let cases = [
        (topic, "background needs a queue"),
        (
            plain(Route { keep_ms: Some(1), ..Route::default() }),
            "keep_ms is for routes with background = true",
        ),
        (Route { coalesce: true, ..reports() }, "coalesce is for routes that wait for a reply"),
        (Route { keep_ms: Some(1 << 40), ..reports() }, "keep_ms is 0 to 2592000000, 30 days"),
        (Route { ttl_ms: Some(0), ..reports() }, "ttl_ms is 1 to 2592000000, 30 days"),
        (Route { attempts: Some(0), ..reports() }, "attempts is 1 to 1000"),
        (Route { status_path: Some("/jobs".into()), ..reports() }, "status_path is a path with {id} in it"),
        (
            Route { path: "/jobs/{id}".into(), ..jobs() },
            "jobs needs {queue} and {id} in the path, or {id} and a queue",
        ),
        (Route { topic: Some("t".into()), ..jobs() }, "needs exactly one of queue, topic, static and jobs"),
    ];
    for (route, line) in cases {
        let told = refused(route);
        assert!(told.contains(line), "{told}");
    }
    assert!(config().routes.is_empty(), "and without routes nothing is different");
}

#[test]
fn a_service_of_an_application_says_what_is_wrong_with_its_route() {
    let scene = Scene::new();
    let front = scene.embedded(config());
    let waiting = Route { background: false, action: None, ..reports() };
    let wrong = [
        front.cluster.push_route(&waiting).map(drop),
        front.cluster.push_route(&Route { status_path: Some("/jobs".into()), ..reports() }).map(drop),
        front.cluster.work_route(&reports()).map(drop),
        front.cluster.status("no queue").map(drop),
    ];
    let said = wrong.map(|wrong| wrong.expect_err("a mistake").to_string());
    assert!(said[0].contains("background = true"), "{said:?}");
    assert!(said[1].contains("status_path is a path with {id}"), "{said:?}");
    assert!(said[2].contains("services of their own"), "{said:?}");
    assert!(said[3].contains("bad_name"), "{said:?}");
}
