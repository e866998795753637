//! What a client is told when there is no reply: one status, one fixed sentence, nothing from inside.

use serde_json::{Value, json};
use tempest_front::{FrontConfig, HttpConfig, Rate, Route};

use crate::{
    client::Response,
    scene::{Claim, Running, Scene, config, routes, timed},
    server::eventually,
};

/// What a GET is told when its job gets this reply.
#[track_caller]
fn told(scene: &Scene, front: &Running, mut reply: Value) -> Response {
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    reply["id"] = json!(job.id());
    scene.send(&job, reply.to_string().as_bytes());
    client.response()
}

#[test]
fn errors_of_workers_have_their_statuses_and_fixed_texts() {
    let scene = Scene::new();
    let front = scene.front();
    let secret = "Traceback: password=hunter2 at /srv/app.py:7";
    let cases = [
        ("no_handler", 501),
        ("worker_lost", 502),
        ("bad_reply", 502),
        ("timeout", 504),
        ("handler_error", 500),
        ("not_found", 500),
        ("too_large", 500),
        ("queue_full", 500),
        ("my_own_word", 500),
    ];
    for (code, status) in cases {
        let response = told(&scene, &front, json!({"error": {"code": code, "message": secret}}));
        assert_eq!(response.status, status, "{code}");
        let text = response.text();
        assert!(text.starts_with(&format!("{status} ")) && text.lines().count() == 1, "{text}");
        assert!(!text.contains("hunter2") && !text.contains("my_own_word"), "{text}");
        assert_eq!(response.header("content-type").as_deref(), Some("text/plain; charset=utf-8"));
        assert_eq!(response.header("cache-control").as_deref(), Some("no-store"));
    }
}

#[test]
fn a_lost_worker_is_told_with_how_it_died_if_we_know() {
    let scene = Scene::new();
    let front = scene.front();
    let cases = [
        ("killed by signal 9 (SIGKILL)", "It was killed by signal 9."),
        ("exited with code 1", "It exited with code 1."),
        ("killed by signal <script>", ""),
        ("the lease ran out", ""),
    ];
    for (message, cause) in cases {
        let response = told(&scene, &front, json!({"error": {"code": "worker_lost", "message": message}}));
        assert_eq!(response.status, 502);
        let text = response.text();
        assert!(text.contains(cause) && !text.contains("script") && !text.contains("lease"), "{text}");
        assert_eq!(text.contains(" It "), !cause.is_empty(), "{text}");
    }
}

#[test]
fn a_reply_that_cannot_be_used_is_502() {
    let scene = Scene::new();
    let front = scene.front();
    let cases = [
        json!({"status": 100}),
        json!({"status": 600}),
        json!({"status": "200"}),
        json!({"status": 200, "body": "a", "body_base64": "YQ=="}),
        json!({"status": 200, "body_base64": "not base64!"}),
        json!({"status": 200, "body": {"a": 1}}),
        json!({"status": 200, "headers": {"x": "a\r\nset-cookie: evil=1"}}),
        json!({"status": 200, "headers": {"x\r\ny": "a"}}),
        json!({"status": 200, "headers": {"x y": "a"}}),
        json!({"status": 200, "headers": {"x": "\u{20ac}"}}),
        json!({"status": 200, "headers": {"x": 7}}),
        json!({"status": 200, "result": 1}),
        json!({}),
    ];
    for reply in cases {
        let response = told(&scene, &front, reply.clone());
        assert_eq!(response.status, 502, "{reply}");
        assert!(response.header("set-cookie").is_none());
    }
}

#[test]
fn replies_without_a_readable_id_disturb_nobody() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    let garbage: [&[u8]; 6] = [b"", b"garbage", b"{}", b"\xff\xfe", b"{\"id\":7,\"status\":200}", b"[1,2]"];
    for frame in garbage {
        scene.send(&job, frame);
    }
    scene.answer(&job, 200, &[], b"fine");
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_at_once() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\nexpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 413, "no 100 before it");
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0);
}

#[test]
fn a_body_that_turns_out_too_large_is_refused() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { body_bytes_max: 1_000, ..config() });
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        client.try_send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    client.try_send("0\r\n\r\n");
    assert_eq!(client.response().status, 413);
    let exactly = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{}", "x".repeat(1_000));
    assert_eq!(scene.exchange(&front, exactly).0.request().body.len(), 1_000);
}

#[test]
fn a_reply_that_never_comes_is_504_at_the_deadline_and_the_job_is_gone() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 700, ..config() });
    let (response, took) = timed(|| front.get("/"));
    assert_eq!(response.status, 504);
    assert!(took.as_millis() >= 700, "{took:?}");
    eventually("the queued job is removed", || scene.redis.cli("LLEN tempest:{default}").integer() == 0);
    assert_eq!(front.cluster.waiting(), 0);
}

#[test]
fn a_path_without_a_route_is_404_and_a_method_without_one_405() {
    let scene = Scene::new();
    let route = |path: &str, methods: &[&str]| Route {
        path: path.into(),
        queue: Some("default".into()),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        ..Route::default()
    };
    let table = vec![route("/a", &["GET"]), route("/a", &["POST", "PUT"]), route("/b/{id}", &["DELETE"])];
    let front = scene.front_with(routes(table));
    assert_eq!(front.get("/nothing").status, 404);
    let request = |method: &str, path: &str| {
        let mut client = front.client();
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        client.response_to(method)
    };
    let refused = request("DELETE", "/a");
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD, POST, PUT")));
    let refused = request("GET", "/b/7");
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("DELETE")));
    scene.exchange(&front, "PUT /a HTTP/1.1\r\nhost: a\r\n\r\n");
}

#[test]
fn requests_that_are_read_in_two_ways_are_refused() {
    let scene = Scene::new();
    let front = scene.front();
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nbad header: x\r\n\r\n", 400),
        ("NONSENSE\r\n\r\n", 400),
    ];
    for (request, status) in cases {
        let mut client = front.client();
        client.send(request);
        assert_eq!(client.response().status, status, "{request:?}");
    }
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0);
    // HTTP/1.0 knew no Host.
    scene.exchange(&front, "GET / HTTP/1.0\r\n\r\n");
}

#[test]
fn a_length_beside_chunked_is_ignored_and_the_connection_closed() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    assert_eq!(job.request().body, b"x".as_slice());
    scene.answer(&job, 200, &[], b"");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.rest(), b"", "nothing after it is read as a request");
}

/// The next job for this path: those that nobody answered in time may still lie before it.
#[track_caller]
fn next_of(scene: &Scene, path: &str) -> Claim {
    loop {
        let claim = scene.claim();
        if claim.request().url == path {
            return claim;
        }
    }
}

#[test]
fn every_status_of_the_front_comes_with_its_code() {
    let scene = Scene::new();
    let http = HttpConfig { header_timeout_ms: 300, ..HttpConfig::default() };
    let of = |path: &str, route: Route| Route { path: path.into(), queue: Some("default".into()), ..route };
    let rate = Rate { requests: 1, per_ms: 3_600_000, burst: None };
    let table = vec![
        of("/get", Route { methods: vec!["GET".into()], ..Route::default() }),
        of("/job", Route::default()),
        of("/late", Route { timeout_ms: Some(200), ..Route::default() }),
        of("/rated", Route { rate: Some(rate), ..Route::default() }),
        Route { path: "/none".into(), queue: Some("nobody".into()), ..Route::default() },
    ];
    let front = scene.front_with(FrontConfig { http, ..routes(table) });
    let long = "x".repeat(9_000);
    let fields = "x: y\r\n".repeat(200);
    let cases = [
        ("GET /job HTTP/1.1\r\n\r\n".to_owned(), 400, "bad_http"),
        ("GET /job HTTP/9.9\r\nhost: a\r\n\r\n".into(), 400, "bad_http"),
        ("GET /other HTTP/1.1\r\nhost: a\r\n\r\n".into(), 404, "not_found"),
        ("PUT /get HTTP/1.1\r\nhost: a\r\n\r\n".into(), 405, "method_not_allowed"),
        ("GET /job HTT".into(), 408, "slow_request"),
        ("POST /job HTTP/1.0\r\n\r\n".into(), 411, "length_required"),
        ("POST /job HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n".into(), 413, "too_large"),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414, "target_too_long"),
        ("GET /rated HTTP/1.1\r\nhost: a\r\n\r\n".into(), 429, "rate_limited"),
        (format!("GET /job HTTP/1.1\r\nhost: a\r\n{fields}\r\n"), 431, "headers_too_large"),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n".into(), 501, "not_implemented"),
        ("GET /none HTTP/1.1\r\nhost: a\r\n\r\n".into(), 503, "no_worker"),
        ("GET /late HTTP/1.1\r\nhost: a\r\n\r\n".into(), 504, "timeout"),
    ];
    drop(scene.exchange(&front, "GET /rated HTTP/1.1\r\nhost: a\r\n\r\n"));
    for (request, status, code) in cases {
        let mut client = front.client();
        client.try_send(request);
        let response = client.response();
        assert_eq!(response.status, status, "{code}");
        assert!(response.text().starts_with(&format!("{status} {code}: ")), "{}", response.text());
    }
    let of_workers = [
        ("boom", 500, "handler_error"),
        ("no_handler", 501, "no_handler"),
        ("cancelled", 500, "cancelled: The job was"),
    ];
    for (code, status, said) in of_workers {
        let mut client = front.client();
        client.send("GET /job HTTP/1.1\r\nhost: a\r\n\r\n");
        scene.fail(&next_of(&scene, "/job"), code, "inside");
        let response = client.response();
        assert!(response.status == status && response.text().contains(said), "{}", response.text());
    }
    let bad = json!({"status": 1000});
    let mut client = front.client();
    client.send("GET /job HTTP/1.1\r\nhost: a\r\n\r\n");
    let claim = next_of(&scene, "/job");
    let reply = json!({"id": claim.id(), "status": bad["status"]});
    scene.send(&claim, reply.to_string().as_bytes());
    let response = client.response();
    assert!(response.status == 502 && response.text().contains("bad_reply"), "{}", response.text());
}
