//! What a client gets of a reply.

use serde_json::json;

use crate::{
    client::Response,
    scene::{Claim, Running, Scene},
};

struct Bench {
    scene: Scene,
    front: Running,
}

impl Bench {
    fn new() -> Self {
        let scene = Scene::new();
        let front = scene.front();
        Self { scene, front }
    }

    /// The response to a request of this method whose job gets this frame as its reply.
    #[track_caller]
    fn response(&self, method: &str, frame: impl FnOnce(&Claim) -> Vec<u8>) -> Response {
        let mut client = self.front.client();
        client.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"));
        let job = self.scene.claim();
        self.scene.send(&job, &frame(&job));
        let response = client.response_to(method);
        // The connection is still good for another request: nothing more came than was announced.
        self.check_clean(client);
        response
    }

    fn check_clean(&self, mut client: crate::client::Client) {
        client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        let job = self.scene.claim();
        self.scene.answer(&job, 200, &[], b"next");
        assert_eq!(client.response().text(), "next");
    }

    #[track_caller]
    fn http(&self, method: &str, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.response(method, |job| job.reply(status, headers, body).to_vec())
    }

    /// The reply of a worker that writes JSON by hand.
    #[track_caller]
    fn json(&self, mut reply: serde_json::Value) -> Response {
        self.response("GET", |job| {
            reply["id"] = json!(job.id());
            reply.to_string().into_bytes()
        })
    }
}

#[test]
fn status_headers_and_body_come_back() {
    let bench = Bench::new();
    let response = bench.http("GET", 418, &[("content-type", "text/x"), ("x-a", "b")], b"\x00\xffbytes");
    assert_eq!((response.version.as_str(), response.status), ("HTTP/1.1", 418));
    assert_eq!(response.header("content-type").as_deref(), Some("text/x"));
    assert_eq!(response.header("x-a").as_deref(), Some("b"));
    assert_eq!(response.header("content-length").as_deref(), Some("7"));
    assert_eq!(response.body, b"\x00\xffbytes");
    assert!(response.header("date").is_some());
}

#[test]
fn every_set_cookie_stays_a_field_of_its_own() {
    let bench = Bench::new();
    let cookies = ["a=1; Path=/", "b=2, still b; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "a=3"];
    let reply = json!({"status": 200, "headers": {"set-cookie": cookies, "X-List": ["one"], "x-empty": []}});
    let response = bench.json(reply);
    assert_eq!(response.all("set-cookie"), cookies);
    assert_eq!(response.all("x-list"), ["one"]);
    assert!(response.all("x-empty").is_empty());
}

#[test]
fn the_length_is_counted_and_not_believed() {
    let bench = Bench::new();
    for told in ["0", "3", "999999", "x", "5, 5"] {
        let response = bench.http("GET", 200, &[("content-length", told)], b"hello");
        assert_eq!(response.header("content-length").as_deref(), Some("5"), "{told}");
        assert_eq!(response.body, b"hello");
    }
    let response = bench.http("GET", 200, &[], b"");
    assert_eq!(response.header("content-length").as_deref(), Some("0"));
}

#[test]
fn a_worker_cannot_smuggle_a_second_response() {
    let bench = Bench::new();
    let headers = [
        ("transfer-encoding", "chunked"),
        ("connection", "close, x-named"),
        ("x-named", "1"),
        ("keep-alive", "1"),
        ("upgrade", "h2c"),
        ("trailer", "x"),
        ("te", "x"),
        ("proxy-authenticate", "Basic"),
        ("x-kept", "1"),
    ];
    let response = bench.http("GET", 200, &headers, b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    let mut names: Vec<_> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-kept", "x-request-id"]);
}

#[test]
fn head_has_no_body_but_may_have_a_length() {
    let bench = Bench::new();
    let with_body = bench.http("HEAD", 200, &[], b"hello");
    assert_eq!(with_body.header("content-length").as_deref(), Some("5"));
    let with_length = bench.http("HEAD", 200, &[("content-length", "1234")], b"");
    assert_eq!(with_length.header("content-length").as_deref(), Some("1234"));
}

#[test]
fn statuses_without_a_body_have_none() {
    let bench = Bench::new();
    let none = bench.http("GET", 204, &[("content-length", "5"), ("x-a", "b")], b"hello");
    assert_eq!(
        (none.status, none.header("content-length"), none.header("x-a").as_deref()),
        (204, None, Some("b"))
    );
    let unchanged = bench.http("GET", 304, &[("content-length", "77"), ("etag", "\"e\"")], b"");
    assert_eq!((unchanged.status, unchanged.header("content-length")), (304, None));
    assert_eq!(unchanged.header("etag").as_deref(), Some("\"e\""));
    let with_body = bench.http("GET", 304, &[], b"hello");
    assert_eq!(with_body.status, 304);
}

#[test]
fn header_values_come_back_byte_for_code_point() {
    let bench = Bench::new();
    let response = bench.json(json!({"status": 200, "headers": {"x-latin": "caf\u{e9}"}}));
    let value =
        response.headers.iter().find(|(name, _)| name == "x-latin").map(|(_, value)| value.as_slice());
    assert_eq!(value, Some(b"caf\xe9".as_slice()));
}

#[test]
fn a_reply_by_hand_needs_only_id_and_status() {
    let bench = Bench::new();
    let response = bench.json(json!({"status": 200}));
    assert_eq!((response.status, response.text().as_str()), (200, ""));
    let php = bench.json(json!({"status": 201.0, "headers": [], "body": "h\u{e9}"}));
    assert_eq!((php.status, php.text().as_str()), (201, "h\u{e9}"));
    let base64 = bench.json(json!({"status": 200, "headers": {}, "body_base64": "AP8="}));
    assert_eq!(base64.body, b"\x00\xff");
    let unknown = bench.json(json!({"status": 200, "body": "x", "surprise": {"deep": [1]}}));
    assert_eq!(unknown.text(), "x");
}

#[test]
fn a_result_is_shown_as_json() {
    let bench = Bench::new();
    let response = bench.json(json!({"result": {"a": [1, null, "\u{20ac}"]}}));
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let value: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(value, json!({"a": [1, null, "\u{20ac}"]}));
    assert_eq!(bench.json(json!({"result": null})).text(), "null");
}

#[test]
fn a_reply_in_parts_is_one_response() {
    let bench = Bench::new();
    let mut client = bench.front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = bench.scene.claim();
    let parts = [
        json!({"id": job.id(), "attempt": 1, "more": true, "seq": 0, "status": 200, "headers": {"x": "y"}, "body": "a"}),
        json!({"id": job.id(), "attempt": 1, "more": true, "seq": 1, "body_base64": "/w=="}),
        json!({"id": job.id(), "attempt": 1, "seq": 2}),
    ];
    for part in parts {
        bench.scene.send(&job, part.to_string().as_bytes());
    }
    let response = client.response();
    assert_eq!((response.body.as_slice(), response.header("x").as_deref()), (b"a\xff".as_slice(), Some("y")));
}

#[test]
fn a_large_body_comes_back_whole() {
    let bench = Bench::new();
    let body: Vec<u8> = (0..=255).cycle().take(9 << 20).collect();
    let response = bench.http("GET", 200, &[], &body);
    assert!(response.body == body, "the bodies differ");
}

#[test]
fn a_second_reply_to_the_same_job_goes_nowhere() {
    let bench = Bench::new();
    let mut client = bench.front.client();
    client.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\n");
    let one = bench.scene.claim();
    bench.scene.answer(&one, 200, &[], b"first");
    assert_eq!(client.response().text(), "first");
    bench.scene.answer(&one, 200, &[], b"second");
    client.send("GET /two HTTP/1.1\r\nhost: a\r\n\r\n");
    let two = bench.scene.claim();
    bench.scene.answer(&one, 200, &[], b"third");
    bench.scene.answer(&two, 200, &[], b"another");
    assert_eq!(client.response().text(), "another");
}
