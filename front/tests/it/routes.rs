//! The routing table: host, path and method decide, then queue, lane, action, time and encoding are those of the route.

use std::path::PathBuf;

use tempest_front::{FrontConfig, Route};
use tempest_protocol::Encoding;

use crate::scene::{Running, Scene, routes};

fn to_queue(path: &str, queue: &str) -> Route {
    Route { path: path.into(), queue: Some(queue.into()), ..Route::default() }
}

/// The lane in which the job of a GET waits.
#[track_caller]
fn lane_of(scene: &Scene, front: &Running, host: &str, path: &str) -> String {
    let lanes = ["a", "b", "c"].map(|queue| format!("tempest:{{{queue}}}"));
    let lanes: Vec<_> = lanes.iter().map(String::as_str).collect();
    let mut client = front.client();
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    let job = scene.claim_from(&lanes);
    scene.answer(&job, 200, &[], b"");
    assert_eq!(client.response().status, 200);
    job.lane
}

fn attended() -> Scene {
    let scene = Scene::new();
    ["a", "b", "c"].iter().for_each(|queue| scene.attend(queue));
    scene
}

#[test]
fn the_host_decides_first_then_the_path() {
    let scene = attended();
    let table = vec![
        to_queue("/{*rest}", "a"),
        Route { host: Some("Api.example.com".into()), ..to_queue("/v1/{*rest}", "b") },
        to_queue("/special", "c"),
        to_queue("/apart/{*rest}", "b"),
        to_queue("/apart/", "c"),
    ];
    let front = scene.front_with(routes(table));
    let cases = [
        ("example.com", "/", "a"),
        ("example.com", "/v1/x", "a"),
        ("api.example.com", "/v1/x", "b"),
        ("API.EXAMPLE.COM:8080", "/v1/", "b"),
        ("api.example.com", "/elsewhere", "a"),
        ("example.com", "/special", "c"),
        ("example.com", "/special/not", "a"),
        ("example.com", "/apart/x", "b"),
        ("example.com", "/apart/", "c"),
    ];
    for (host, path, queue) in cases {
        assert_eq!(lane_of(&scene, &front, host, path), format!("tempest:{{{queue}}}"), "{host}{path}");
    }
}

#[test]
fn one_path_may_go_to_several_queues_by_method() {
    let scene = attended();
    let by = |queue: &str, methods: &[&str]| Route {
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        ..to_queue("/things/{id}", queue)
    };
    let front = scene.front_with(routes(vec![by("a", &["GET"]), by("b", &["PUT", "DELETE"]), by("c", &[])]));
    for (method, queue) in [("GET", "a"), ("HEAD", "a"), ("PUT", "b"), ("DELETE", "b"), ("POST", "c")] {
        let mut client = front.client();
        client.send(format!("{method} /things/7 HTTP/1.1\r\nhost: a\r\n\r\n"));
        let job = scene.claim_from(&["tempest:{a}", "tempest:{b}", "tempest:{c}"]);
        assert_eq!(job.lane, format!("tempest:{{{queue}}}"), "{method}");
        scene.answer(&job, 200, &[], b"");
        assert_eq!(client.response_to(method).status, 200);
    }
}

#[test]
fn lane_action_encoding_and_time_are_those_of_the_route() {
    let scene = Scene::new();
    let route = Route {
        lane: Some("high".into()),
        action: Some("thumbnail".into()),
        encoding: Some("msgpack".into()),
        timeout_ms: Some(12_000),
        ..to_queue("/thumbnails/{*rest}", "default")
    };
    let front = scene.front_with(routes(vec![route]));
    let mut client = front.client();
    client.send("GET /thumbnails/1 HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim_from(&["tempest:{default}:high"]);
    let envelope = &job.job.envelope;
    assert_eq!((envelope.action.as_str(), envelope.lane.as_str()), ("thumbnail", "high"));
    assert_eq!(job.job.encoding(), Encoding::MsgPack);
    assert!(envelope.queued_at_ms.is_some_and(|queued| envelope.deadline_ms == queued + 12_000));
    scene.answer(&job, 200, &[("x", "y")], b"\xff\x00");
    assert_eq!(client.response().body, b"\xff\x00");
}

#[test]
fn a_limit_of_a_route_is_its_own() {
    let scene = Scene::new();
    let small = Route { body_bytes_max: Some(10), ..to_queue("/small", "default") };
    let front = scene.front_with(routes(vec![small, to_queue("/{*rest}", "default")]));
    let post =
        |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n12345678901");
    let mut client = front.client();
    client.send(post("/small"));
    assert_eq!(client.response().status, 413);
    scene.exchange(&front, post("/other"));
}

#[test]
fn without_routes_sub_is_eventsource_and_all_else_is_work() {
    let scene = Scene::new();
    let front = scene.front();
    drop(front.events("/sub/test"));
    for path in ["/", "/sub", "/subway", "/index.html", "/a/b/c", "/?q", "//"] {
        let (job, _) = scene.exchange(&front, format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(job.request().url, path);
    }
    let (job, _) = scene.exchange(&front, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((job.request().method.as_str(), job.request().url.as_str()), ("OPTIONS", "*"));
}

/// A folder with files, and a secret beside it.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let around = tempfile::tempdir().expect("a folder");
    let public = around.path().join("public");
    std::fs::create_dir_all(public.join("deep")).expect("a folder");
    for (name, text) in [
        ("index.html", "<h1>hi"),
        ("data.bin", "0123456789"),
        ("deep/a b.txt", "deep"),
        ("../secret", "s3cret"),
    ] {
        std::fs::write(public.join(name), text).expect("written");
    }
    (around, public)
}

fn files_at(path: &str, folder: PathBuf) -> FrontConfig {
    routes(vec![
        Route { path: path.into(), static_dir: Some(folder), ..Route::default() },
        to_queue("/{*rest}", "default"),
    ])
}

#[test]
fn files_are_served_in_whole_and_in_part() {
    let scene = Scene::new();
    let (_around, public) = folder();
    let front = scene.front_with(files_at("/static/{*file}", public));
    let get = |path: &str, more: &str| {
        let mut client = front.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{more}\r\n"));
        client.response()
    };
    let whole = get("/static/data.bin", "");
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let part = get("/static/data.bin", "range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range").as_deref(), Some("bytes 2-4/10"));
    assert_eq!(get("/static/data.bin", "range: bytes=99-\r\n").status, 416);
    let modified = whole.header("last-modified").expect("a date");
    assert_eq!(get("/static/data.bin", &format!("if-modified-since: {modified}\r\n")).status, 304);
    let page = get("/static/", "");
    assert_eq!(
        (page.text().as_str(), page.header("content-type").as_deref()),
        ("<h1>hi", Some("text/html; charset=utf-8"))
    );
    assert_eq!(get("/static/deep/a%20b.txt", "").text(), "deep");
}

#[test]
fn no_path_leads_out_of_the_folder() {
    let scene = Scene::new();
    let (_around, public) = folder();
    let front = scene.front_with(files_at("/static/{*file}", public));
    for path in [
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "deep/../../secret",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "nothing",
        "%00",
    ] {
        let response = front.get(&format!("/static/{path}"));
        assert!(response.status == 404 || response.status == 400, "{path}: {}", response.status);
        assert!(!response.text().contains("s3cret") && !response.text().contains("root:"), "{path}");
    }
    let mut client = front.client();
    client.send("POST /static/data.bin HTTP/1.1\r\nhost: a\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD")));
}
