//! Requests that two readers could understand in two ways: each is refused and the connection closed, or is exactly the
//! requests a strict reader of RFC 9112 sees.

use crate::{
    client::Client,
    scene::{LANE, Running, Scene},
};

/// What must happen to some bytes.
enum Expected {
    /// Refused with this status, and nothing after it is read.
    Refused(u16),
    /// Jobs of these targets, in this order, with these bodies.
    Jobs(&'static [(&'static str, &'static str)]),
    /// The same, and the connection is closed after them.
    LastJobs(&'static [(&'static str, &'static str)]),
    /// The front never sees a request, and says nothing.
    Closed,
}
use Expected::{Closed, Jobs, LastJobs, Refused};

/// Would be seen as a second request by a reader that ends the first one too early.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /first HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}").into_bytes()
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET /first HTTP/1.1\r\n{fields}\r\n\r\n").into_bytes()
}

const ONE: &[(&str, &str)] = &[("/first", "")];
const WITH_BODY: &[(&str, &str)] = &[("/first", "hello")];
const TWO: &[(&str, &str)] = &[("/first", "hello"), ("/second", "")];

fn lengths() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let second = "hello GET /second HTTP/1.1\r\nhost: a\r\n\r\n".replace("hello ", "hello");
    vec![
        ("a length", post("content-length: 5", "hello"), Jobs(WITH_BODY)),
        ("a length, then a request", post("content-length: 5", &second), Jobs(TWO)),
        ("the same length twice", post("content-length: 5\r\ncontent-length: 5", "hello"), Jobs(WITH_BODY)),
        ("two lengths", post("content-length: 5\r\ncontent-length: 6", "hello!"), Refused(400)),
        ("two lengths, 0 first", post("content-length: 0\r\ncontent-length: 38", SMUGGLED), Refused(400)),
        ("a list of lengths", post("content-length: 5, 5", "hello"), Refused(400)),
        ("a list of two lengths", post("content-length: 5, 6", "hello!"), Refused(400)),
        ("a length with a sign", post("content-length: +5", "hello"), Refused(400)),
        ("a negative length", post("content-length: -5", "hello"), Refused(400)),
        ("a length in hexadecimal", post("content-length: 0x5", "hello"), Refused(400)),
        ("an empty length", post("content-length:", "hello"), Refused(400)),
        ("a length in two words", post("content-length: 5 5", "hello"), Refused(400)),
        ("a length with a fraction", post("content-length: 5.0", "hello"), Refused(400)),
        ("a length beyond 64 bits", post("content-length: 99999999999999999999", "hello"), Refused(400)),
        // What hyper calls too large.
        ("a huge length", post("content-length: 18446744073709551615", "hello"), Refused(431)),
        ("a length that is too large here", post("content-length: 9999999999", "hello"), Refused(413)),
    ]
}

fn codings() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let te = |value: &str| post(&format!("transfer-encoding: {value}"), chunked);
    vec![
        ("chunked", te("chunked"), Jobs(WITH_BODY)),
        ("chunked in capitals", te("CHUNKED"), Jobs(WITH_BODY)),
        ("chunked after a tab", te("\tchunked"), Jobs(WITH_BODY)),
        ("chunked twice in a list", te("chunked, chunked"), Refused(501)),
        (
            "chunked in two fields",
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked", chunked),
            Refused(501),
        ),
        ("another coding before", te("gzip, chunked"), Refused(501)),
        ("another coding after", te("chunked, identity"), Refused(400)),
        ("another coding alone", te("gzip"), Refused(400)),
        ("identity", te("identity"), Refused(400)),
        ("a word like chunked", te("xchunked"), Refused(400)),
        ("chunked with a control byte", te("chunked\x0b"), Refused(400)),
        ("chunked in quotes", te("\"chunked\""), Refused(400)),
        ("no coding at all", te(""), Refused(400)),
        ("a space before the colon", post("transfer-encoding : chunked", chunked), Refused(400)),
        ("a tab before the colon", post("transfer-encoding\t: chunked", chunked), Refused(400)),
        // RFC 9112 section 6.3: the coding wins, and the connection is closed after it.
        (
            "a length and a coding",
            post("content-length: 5\r\ntransfer-encoding: chunked", chunked),
            LastJobs(WITH_BODY),
        ),
        (
            "a coding and a length",
            post("transfer-encoding: chunked\r\ncontent-length: 5", chunked),
            LastJobs(WITH_BODY),
        ),
        (
            "a length, a coding, and a second request",
            post(
                &format!("content-length: {}\r\ntransfer-encoding: chunked", 5 + SMUGGLED.len()),
                &format!("0\r\n\r\n{SMUGGLED}"),
            ),
            LastJobs(ONE),
        ),
        (
            "a coding in HTTP/1.0",
            format!("POST /first HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunked}")
                .into_bytes(),
            Refused(400),
        ),
    ]
}

fn chunks() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let chunked = |body: &str| post("transfer-encoding: chunked", body);
    let second = "5\r\nhello\r\n0\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        ("two chunks", chunked("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Jobs(WITH_BODY)),
        ("chunks, then a request", chunked(second), Jobs(TWO)),
        ("an extension", chunked("5;a=b\r\nhello\r\n0\r\n\r\n"), Jobs(WITH_BODY)),
        ("trailers", chunked("5\r\nhello\r\n0\r\nx-a: b\r\n\r\n"), Jobs(WITH_BODY)),
        (
            "trailers that lie",
            chunked("5\r\nhello\r\n0\r\ncontent-length: 99\r\nhost: b\r\n\r\n"),
            Jobs(WITH_BODY),
        ),
        ("leading zeros", chunked("0005\r\nhello\r\n0\r\n\r\n"), Jobs(WITH_BODY)),
        ("a size in 0x", chunked("0x5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a negative size", chunked("-5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a size with a sign", chunked("+5\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("no size", chunked("\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a size beyond 64 bits", chunked("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a bare LF after the size", chunked("5\nhello\r\n0\r\n\r\n"), Refused(400)),
        ("a bare CR after the size", chunked("5\rhello\r\n0\r\n\r\n"), Refused(400)),
        ("no end of the chunk", chunked("5\r\nhelloXX0\r\n\r\n"), Refused(400)),
        ("an extension with a bare LF", chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"), Refused(400)),
    ]
}

fn heads() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let raw = |text: &str| text.as_bytes().to_vec();
    vec![
        ("no host", get("x: y"), Refused(400)),
        ("two hosts", get("host: a\r\nhost: b"), Refused(400)),
        ("the same host twice", get("host: a\r\nhost: a"), Refused(400)),
        ("an empty host", get("host:"), Refused(400)),
        ("a host with a space", get("host: a b"), Refused(400)),
        ("a host with a path", get("host: a/b"), Refused(400)),
        ("a host with a user", get("host: me@a"), Refused(400)),
        ("a host with a port that is none", get("host: a:b"), Refused(400)),
        ("a host with a port", get("host: a:80"), Jobs(ONE)),
        ("a host that is IPv6", get("host: [::1]:80"), Jobs(ONE)),
        ("no host in HTTP/1.0", raw("GET /first HTTP/1.0\r\n\r\n"), LastJobs(ONE)),
        ("a folded field", get("host: a\r\nx: y\r\n z"), Refused(400)),
        ("a folded first field", get(" host: a"), Refused(400)),
        ("a space before the colon", get("host : a"), Refused(400)),
        ("a name with a space", get("host: a\r\nx y: z"), Refused(400)),
        ("no name", get("host: a\r\n: z"), Refused(400)),
        ("no colon", get("host: a\r\nx"), Refused(400)),
        ("NUL in a value", get("host: a\r\nx: y\0z"), Refused(400)),
        ("a bare CR in a value", get("host: a\r\nx: y\rz"), Refused(400)),
        ("NUL in a name", get("host: a\r\nx\0: z"), Refused(400)),
        ("a control byte in a value", get("host: a\r\nx: \x01"), Refused(400)),
        ("NUL in the target", raw("GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("a space in the target", raw("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("two spaces", raw("GET  /first HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("a tab for a space", raw("GET\t/first HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("a space before the method", raw(" GET /first HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("an empty line before", raw("\r\nGET /first HTTP/1.1\r\nhost: a\r\n\r\n"), Jobs(ONE)),
        // RFC 9112 section 2.2 allows a reader to take a bare LF for the end of a line.
        ("bare LF", raw("GET /first HTTP/1.1\nhost: a\n\n"), Jobs(ONE)),
        ("bare CR", raw("GET /first HTTP/1.1\rhost: a\r\r"), Refused(400)),
        ("no version", raw("GET /first\r\n\r\n"), Refused(400)),
        ("HTTP/0.9", raw("GET /first HTTP/0.9\r\nhost: a\r\n\r\n"), Refused(400)),
        ("HTTP/1.2", raw("GET /first HTTP/1.2\r\nhost: a\r\n\r\n"), Refused(400)),
        ("HTTP/2.0", raw("GET /first HTTP/2.0\r\nhost: a\r\n\r\n"), Refused(400)),
        ("a version in small letters", raw("GET /first http/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("a target without a slash", raw("GET first HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("the whole address", raw("GET http://a/first HTTP/1.1\r\nhost: a\r\n\r\n"), Jobs(ONE)),
        (
            "the whole address with a user",
            raw("GET http://me@a/first HTTP/1.1\r\nhost: a\r\n\r\n"),
            Refused(400),
        ),
        ("a tunnel", raw("CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(501)),
        ("a method nobody knows", raw("FROB /first HTTP/1.1\r\nhost: a\r\n\r\n"), Jobs(ONE)),
        ("a method with a slash", raw("GE/T /first HTTP/1.1\r\nhost: a\r\n\r\n"), Refused(400)),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), Refused(400)),
        ("nothing", Vec::new(), Closed),
        ("half a head", raw("GET /first HT"), Closed),
        ("an HTTP/1.0 body without a length", raw("POST /first HTTP/1.0\r\n\r\nhello"), Refused(411)),
        ("an expectation nobody knows", get("host: a\r\nexpect: miracles"), Jobs(ONE)),
        ("an upgrade nobody offers", get("host: a\r\nupgrade: websocket\r\nconnection: upgrade"), Jobs(ONE)),
        (
            "after close",
            raw(&format!("GET /first HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n{SMUGGLED}")),
            LastJobs(ONE),
        ),
    ]
}

/// Sends the bytes and compares what becomes of them.
fn run(scene: &Scene, front: &Running, name: &str, bytes: &[u8], expected: &Expected) {
    let mut client = front.client();
    client.try_send(bytes);
    let (jobs, is_last) = match expected {
        Refused(status) => return assert_refused(scene, name, &mut client, *status),
        Closed => {
            client.finish();
            assert_eq!(client.rest_of_broken(), b"", "{name}");
            return assert_no_job(scene, name);
        }
        Jobs(jobs) => (jobs, false),
        LastJobs(jobs) => (jobs, true),
    };
    for (target, body) in *jobs {
        let claim = scene.claim();
        let request = claim.request();
        assert_eq!(
            (request.url.trim_start_matches("http://a"), &*request.body),
            (*target, body.as_bytes()),
            "{name}"
        );
        assert!(claim.header("transfer-encoding").is_empty(), "{name}");
        scene.answer(&claim, 200, &[], target.as_bytes());
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, *target), "{name}");
    }
    if is_last {
        assert_eq!(client.rest_of_broken(), b"", "{name}: closed");
    } else {
        client.send("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
        let claim = scene.claim();
        assert_eq!(claim.request().url, "/next", "{name}: the connection goes on where the request ended");
        scene.answer(&claim, 200, &[], b"next");
        assert_eq!(client.response().text(), "next", "{name}");
    }
    assert_no_job(scene, name);
}

fn assert_refused(scene: &Scene, name: &str, client: &mut Client, status: u16) {
    let response = client.response();
    assert_eq!(response.status, status, "{name}");
    let text = response.text();
    assert!(text.starts_with(&format!("{status} ")), "{name}: {text:?}");
    assert_eq!(response.header("connection").as_deref(), Some("close"), "{name}");
    assert_eq!(client.rest_of_broken(), b"", "{name}: nothing after it");
    assert_no_job(scene, name);
}

fn assert_no_job(scene: &Scene, name: &str) {
    assert_eq!(scene.redis.run(&["LLEN", LANE]).integer(), 0, "{name}: no job is left");
}

fn run_all(cases: Vec<(&str, Vec<u8>, Expected)>) {
    let scene = Scene::new();
    let front = scene.front();
    for (name, bytes, expected) in cases {
        eprintln!("{name}");
        run(&scene, &front, name, &bytes, &expected);
    }
}

#[test]
fn lengths_are_one_or_none() {
    run_all(lengths());
}

#[test]
fn codings_are_chunked_or_none() {
    run_all(codings());
}

#[test]
fn chunks_are_read_strictly() {
    run_all(chunks());
}

#[test]
fn heads_are_read_strictly() {
    run_all(heads());
}

#[test]
fn the_whole_address_wins_over_the_host() {
    let scene = Scene::new();
    let front = scene.front();
    let (claim, _) = scene.exchange(&front, "GET http://b.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert_eq!(claim.request().host, "b.test");
}
