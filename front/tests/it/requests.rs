//! What a worker gets of a request.

use tempest_front::Route;
use tempest_protocol::Encoding;

use crate::scene::{Claim, Scene, config, routes};

/// The job of one request with these header lines.
fn job_of(request: &str) -> Claim {
    let scene = Scene::new();
    let front = scene.front();
    scene.exchange(&front, request.replace('\n', "\r\n")).0
}

#[test]
fn a_plain_request_arrives_whole() {
    let job = job_of("GET /a/b?c=d HTTP/1.1\nHost: Example.com:8080\nUser-Agent: me\nX-Empty:\n\n");
    let request = job.request();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("GET", "/a/b?c=d"));
    assert_eq!((request.host.as_str(), request.scheme.as_str()), ("Example.com:8080", "http"));
    assert_eq!(request.remote, "127.0.0.1");
    assert!(request.body.is_empty());
    let headers: Vec<_> = request.headers.iter().collect();
    let id = job.id();
    let expected: [(&str, &[u8]); 4] = [
        ("host", b"Example.com:8080"),
        ("user-agent", b"me"),
        ("x-empty", b""),
        ("x-request-id", id.as_bytes()),
    ];
    assert_eq!(headers, expected, "lower-case names, in order, nothing added but the request's name");
    let envelope = &job.job.envelope;
    assert_eq!((envelope.action.as_str(), envelope.attempt), ("url", 1));
    assert!(envelope.queued_at_ms.is_some_and(|queued| envelope.deadline_ms == queued + 30_000));
}

#[test]
fn the_target_is_handed_on_as_it_was_sent() {
    let scene = Scene::new();
    let front = scene.front();
    let targets = [
        "/",
        "/?",
        "//double//slash",
        "/a/../b/./c",
        "/%2e%2E/%00/%zz",
        "/a;b=c/d,e?x=%20&y=+&&z=#".trim_end_matches('#'),
        "/sub",
        "/?a[]=1&b={c:1}|d^e`f",
        "/~user/*'()!$@:",
    ];
    for target in targets {
        let (job, _) = scene.exchange(&front, format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(job.request().url, target);
    }
}

#[test]
fn bytes_above_ascii_in_the_target_are_percent_encoded() {
    let scene = Scene::new();
    let front = scene.front();
    let (job, _) = scene.exchange(&front, "GET /caf\u{e9}?q=\u{20ac} HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(job.request().url, "/caf%C3%A9?q=%E2%82%AC");
}

#[test]
fn an_absolute_target_tells_the_host() {
    let job = job_of("GET http://other.example/x?y HTTP/1.1\nHost: ignored\n\n");
    assert_eq!(job.request().url, "http://other.example/x?y");
    assert_eq!(job.request().host, "other.example");
}

#[test]
fn every_method_reaches_the_worker_and_safe_ones_may_run_twice() {
    let scene = Scene::new();
    let front = scene.front();
    let methods = [
        ("GET", Some(2)),
        ("OPTIONS", Some(2)),
        ("TRACE", Some(2)),
        ("PUT", Some(2)),
        ("DELETE", Some(2)),
        ("POST", None),
        ("PATCH", None),
        ("PROPFIND", None),
        ("BREW", None),
    ];
    for (method, attempts) in methods {
        let (job, _) = scene.exchange(&front, format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(job.request().method, method);
        assert_eq!(job.job.envelope.attempts, attempts, "{method}");
    }
}

#[test]
fn an_idempotency_key_counts_only_where_a_route_trusts_it() {
    let scene = Scene::new();
    let route = |path: &str, idempotency_key| Route {
        path: path.into(),
        queue: Some("default".into()),
        idempotency_key,
        ..Route::default()
    };
    let front = scene.front_with(routes(vec![route("/trusts", true), route("/does-not", false)]));
    for (path, attempts) in [("/trusts", Some(2)), ("/does-not", None)] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\nidempotency-key: 1\r\n\r\n");
        assert_eq!(scene.exchange(&front, request).0.job.envelope.attempts, attempts, "{path}");
    }
}

#[test]
fn repeated_headers_stay_repeated_and_cookies_are_joined() {
    let job = job_of(
        "GET / HTTP/1.1\nHost: a\nX-Two: one, still one\nCookie: a=1; b=2\nX-Two: two\nCookie: c=3\nx-two: three\n\n",
    );
    assert_eq!(job.header("x-two"), ["one, still one", "two", "three"]);
    assert_eq!(job.header("cookie"), ["a=1; b=2; c=3"]);
}

#[test]
fn header_values_are_bytes() {
    let scene = Scene::new();
    let front = scene.front();
    let (job, _) = scene.exchange(&front, b"GET / HTTP/1.1\r\nhost: a\r\nx: caf\xe9 \xff\x80\r\n\r\n");
    let request = job.request();
    assert_eq!(request.headers.first("x"), Some(b"caf\xe9 \xff\x80".as_slice()));
}

#[test]
fn what_concerns_the_connection_and_what_can_be_spoofed_is_dropped() {
    let job = job_of(concat!(
        "GET / HTTP/1.1\nHost: a\nConnection: X-Hop, keep-alive\nX-Hop: 1\nKeep-Alive: 5\nTE: trailers\n",
        "Trailer: x\nUpgrade: websocket\nProxy-Authorization: secret\nProxy-Connection: keep-alive\n",
        "Proxy: http://evil\nX_Forwarded_For: 6.6.6.6\nX-Forwarded-For: 7.7.7.7\nX-Kept: yes\n\n",
    ));
    let request = job.request();
    let names: Vec<_> = request.headers.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["host", "x-kept", "x-request-id"]);
}

#[test]
fn a_body_with_a_length_arrives_byte_for_byte_in_both_encodings() {
    let scene = Scene::new();
    let route = |encoding: &str| Route {
        path: format!("/{encoding}"),
        queue: Some("default".into()),
        encoding: Some(encoding.into()),
        ..Route::default()
    };
    let front = scene.front_with(routes(vec![route("json"), route("msgpack")]));
    let all_bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let bodies: [&[u8]; 5] =
        [b"text", "h\u{e9}llo \u{1f600} \" \\ \u{0}".as_bytes(), b"\xff", &all_bytes, b"{\"a\":1}"];
    for (path, encoding) in [("json", Encoding::Json), ("msgpack", Encoding::MsgPack)] {
        for body in bodies {
            let head = format!("POST /{path} HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
            let (job, _) = scene.exchange(&front, [head.as_bytes(), body].concat());
            assert_eq!(job.job.encoding(), encoding);
            assert_eq!(job.request().body, body);
            assert_eq!(job.header("content-length"), [body.len().to_string()]);
        }
    }
}

#[test]
fn a_chunked_body_is_put_together_and_its_length_told() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n");
    client.send("5\r\nhello\r\n");
    client.send(b"7;ext=1\r\n, \xffworl\r\n");
    client.send("1\r\nd\r\n0\r\nx: trailer\r\n\r\n");
    let job = scene.claim();
    assert_eq!(job.request().body, b"hello, \xffworld".as_slice());
    assert_eq!(job.header("content-length"), ["13"]);
    assert!(job.header("transfer-encoding").is_empty() && job.header("x").is_empty());
    scene.answer(&job, 200, &[], b"");
    assert_eq!(client.response().status, 200);
}

#[test]
fn an_empty_body_with_a_length_keeps_its_length() {
    let job = job_of("POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n");
    assert_eq!(job.header("content-length"), ["0"]);
    let job = job_of("POST / HTTP/1.1\nHost: a\n\n");
    assert!(job.header("content-length").is_empty());
}

#[test]
fn expect_continue_is_granted_and_not_handed_on() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    let (_, status, _) = client.head();
    assert_eq!(status, 100);
    client.send("body");
    let job = scene.claim();
    assert_eq!(job.request().body, b"body".as_slice());
    assert!(job.header("expect").is_empty());
    scene.answer(&job, 200, &[], b"");
    assert_eq!(client.response().status, 200);
}

#[test]
fn the_trace_context_stands_in_the_envelope() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let job = job_of(&format!("GET / HTTP/1.1\nHost: a\nTraceparent: {trace}\n\n"));
    assert_eq!(job.job.envelope.traceparent.as_deref(), Some(trace));
}

#[test]
fn the_deadline_of_a_job_is_that_of_its_front() {
    let scene = Scene::new();
    let front = scene.front_with(tempest_front::FrontConfig { timeout_ms: 7_000, ..config() });
    let (job, _) = scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let envelope = &job.job.envelope;
    assert!(envelope.queued_at_ms.is_some_and(|queued| envelope.deadline_ms == queued + 7_000));
    let seconds: u64 =
        scene.redis.cli("TIME").list()[0].iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0'));
    let now = seconds * 1_000;
    assert!(envelope.queued_at_ms.is_some_and(|queued| queued.abs_diff(now) < 10_000), "it is Redis time");
}

#[test]
fn below_a_nested_service_the_worker_gets_the_original_target() {
    let scene = Scene::new();
    let front = scene.embedded(config());
    let (job, _) = scene.exchange(&front, "GET /deep/path?x HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!((job.request().url.as_str(), job.request().remote.as_str()), ("/deep/path?x", "127.0.0.1"));
}
