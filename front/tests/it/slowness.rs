//! Clients that are slow, idle, or send too much: each is told, and costs nobody else anything.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use tempest_front::{FrontConfig, HttpConfig};

use crate::{
    client::Client,
    scene::{LANE, Scene, config, limited},
};

fn quick() -> HttpConfig {
    HttpConfig { header_timeout_ms: 400, body_timeout_ms: 400, keep_alive_ms: 1_500, ..HttpConfig::default() }
}

const SLOW: &str = "408 slow_request: The request did not arrive in time.\n";

#[test]
fn a_head_that_does_not_come_to_its_end_is_408() {
    let scene = Scene::new();
    let front = scene.front_with(limited(quick()));
    let begun = Instant::now();
    let mut client = front.client();
    // One byte a time: each of them in time, all of them too late.
    for byte in b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: abcdefghijklmnopqrstuvwxyz" {
        client.try_send([*byte]);
        std::thread::sleep(Duration::from_millis(20));
        if begun.elapsed() > Duration::from_millis(900) {
            break;
        }
    }
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (408, SLOW));
    assert_eq!(response.header("connection").as_deref(), Some("close"));
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[test]
fn the_second_request_of_a_connection_has_the_same_limit() {
    let scene = Scene::new();
    let front = scene.front_with(limited(quick()));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello");
    scene.answer(&scene.claim(), 200, &[], b"first");
    assert_eq!(client.response().text(), "first");
    // An idle client is not a slow one.
    std::thread::sleep(Duration::from_millis(700));
    client.send("GET / HTT");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (408, SLOW));
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let scene = Scene::new();
    let front = scene.front_with(limited(quick()));
    let mut fresh = front.client();
    let mut used = front.client();
    used.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    scene.answer(&scene.claim(), 200, &[], b"first");
    assert_eq!(used.response().text(), "first");
    let begun = Instant::now();
    assert_eq!(used.rest(), b"");
    assert!(begun.elapsed() >= Duration::from_millis(1_200), "{:?}", begun.elapsed());
    // Even one that never said anything is closed; how soon is the business of the first byte.
    fresh.finish();
    assert_eq!(fresh.rest(), b"");
}

#[test]
fn a_body_that_pauses_is_408_and_no_job() {
    let scene = Scene::new();
    let front = scene.front_with(limited(quick()));
    for head in ["content-length: 10", "transfer-encoding: chunked"] {
        let mut client = front.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n5\r\nab"));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (408, SLOW), "{head}");
        assert_eq!(client.rest_of_broken(), b"");
    }
    assert_eq!(scene.redis.run(&["LLEN", LANE]).integer(), 0);
}

#[test]
fn a_body_must_come_within_the_timeout_of_its_route() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 800, ..limited(quick()) });
    let begun = Instant::now();
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n");
    while begun.elapsed() < Duration::from_millis(1_300) {
        client.try_send("x");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.response().status, 408);
    assert_eq!(scene.redis.run(&["LLEN", LANE]).integer(), 0);
}

#[test]
fn a_slow_body_that_goes_on_is_served() {
    let scene = Scene::new();
    let front = scene.front_with(limited(quick()));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 12\r\n\r\n");
    for byte in b"hello, world" {
        std::thread::sleep(Duration::from_millis(60));
        client.send([*byte]);
    }
    let claim = scene.claim();
    assert_eq!(claim.request().body.as_ref(), b"hello, world");
    scene.answer(&claim, 200, &[], b"done");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let scene = Scene::new();
    let front = scene.front();
    for fields in ["content-length: 4000000", "transfer-encoding: chunked"] {
        let mut client = front.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n"));
        let (mut sending, body) =
            (client.socket().try_clone().expect("a second handle"), vec![b'x'; 4_000_000]);
        let sender = std::thread::spawn(move || {
            if fields.starts_with("transfer") {
                sending.write_all(b"3d0900\r\n").ok();
            }
            sending.write_all(&body).ok();
        });
        let response = client.response();
        assert_eq!(response.status, 413, "{fields}");
        assert!(response.text().contains("too_large"), "{fields}");
        assert_eq!(client.rest_of_broken(), b"", "{fields}");
        sender.join().expect("sent");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { body_bytes_max: 10, ..config() });
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\nexpect: 100-continue\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 413, "and no 100 before it");
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    let (_, status, headers) = client.head();
    assert_eq!((status, headers.len()), (100, 0));
    client.send("hello");
    let claim = scene.claim();
    assert_eq!(claim.request().body.as_ref(), b"hello");
    scene.answer(&claim, 200, &[], b"done");
    assert_eq!(client.response().text(), "done");
}

#[test]
fn heads_have_limits_of_their_own() {
    let scene = Scene::new();
    let limits = HttpConfig {
        header_bytes_max: 2_000,
        header_fields_max: 10,
        target_bytes_max: 100,
        ..HttpConfig::default()
    };
    let front = scene.front_with(limited(limits));
    let refused = |head: String, status: u16, code: &str| {
        let mut client = front.client();
        client.try_send(head);
        let response = client.response();
        assert_eq!(response.status, status);
        assert!(response.text().starts_with(&format!("{status} {code}: ")), "{}", response.text());
        assert_eq!(client.rest_of_broken(), b"");
    };
    let large = "x".repeat(2_000);
    refused(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {large}\r\n\r\n"), 431, "headers_too_large");
    refused(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {large}{large}"), 431, "headers_too_large");
    refused(format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(10)), 431, "headers_too_large");
    refused(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(100)), 414, "target_too_long");
    let (claim, _) = scene.exchange(&front, format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(99)));
    assert_eq!(claim.request().url.len(), 100);

    let front = scene.front();
    let refused = |head: String, status: u16, code: &str| {
        let mut client = front.client();
        client.try_send(head);
        let response = client.response();
        assert_eq!(response.status, status);
        assert!(response.text().starts_with(&format!("{status} {code}: ")), "{}", response.text());
    };
    refused(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000)), 431, "headers_too_large");
    refused(format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(9_000)), 414, "target_too_long");
    refused(format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(100)), 431, "headers_too_large");
}

#[test]
fn a_connection_has_as_many_requests_as_it_may() {
    let scene = Scene::new();
    let front = scene.front_with(limited(HttpConfig { keep_alive_requests_max: 3, ..HttpConfig::default() }));
    let mut client = front.client();
    for n in 1..=3 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        scene.answer(&scene.claim(), 200, &[], b"done");
        let connection = client.response().header("connection");
        assert_eq!(connection.as_deref(), (n == 3).then_some("close"));
    }
    assert_eq!(client.rest(), b"");
}

/// What a worker says is never taken for what hyper says, wherever in a response it stands.
#[test]
fn a_reply_that_looks_like_a_refusal_of_the_server_passes() {
    const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    for body in [BARE.to_vec(), [b"before ", BARE].concat(), BARE.repeat(3), BARE.repeat(5_000)] {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        scene.answer(&scene.claim(), 200, &[], &body);
        assert_eq!(client.response().body, body);
    }
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    scene.answer(&scene.claim(), 400, &[], b"");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (400, ""));
    // And with garbage behind it, both come: the reply as it is, and a refusal in words.
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n\x01\x02 garbage\r\n\r\n");
    scene.answer(&scene.claim(), 200, &[], BARE);
    assert_eq!(client.response().body, BARE);
    let response = client.response();
    assert!(response.status == 400 && response.text().starts_with("400 bad_http: "), "{response:?}");
}

/// Seeded, so that what fails once fails again.
#[test]
fn mutations_of_good_requests_do_no_harm() {
    const GOOD: [&str; 4] = [
        "GET /a?b=c HTTP/1.1\r\nhost: a.test\r\naccept: */*\r\nuser-agent: me\r\n\r\n",
        "POST /form HTTP/1.1\r\nhost: a.test\r\ncontent-length: 11\r\ncontent-type: text/plain\r\n\r\nhello world",
        "POST /c HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "GET /sub/t HTTP/1.1\r\nhost: a.test\r\naccept: text/event-stream\r\nlast-event-id: 7\r\n\r\n",
    ];
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { timeout_ms: 1_000, ..limited(quick()) });
    let mut random = fastrand::Rng::with_seed(20_261_121);
    let address = front.address;
    scene.answering(|| {
        let mut threads = Vec::new();
        for _ in 0..20 {
            let mut random = random.fork();
            threads.push(std::thread::spawn(move || {
                for _ in 0..100 {
                    let good = GOOD[random.usize(..GOOD.len())];
                    let bytes = mutated(&mut random, good.as_bytes());
                    let client = Client::connect(address);
                    let mut socket = client.socket();
                    socket.write_all(&bytes).ok();
                    socket.shutdown(std::net::Shutdown::Write).ok();
                    // An answer, an end or a reset, but no silence: the read has a limit.
                    let mut answer = Vec::new();
                    let read = socket.read_to_end(&mut answer);
                    let quiet = read.err().map(|error| error.kind());
                    let quiet =
                        matches!(quiet, Some(std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));
                    assert!(!quiet, "silence after {:?}", String::from_utf8_lossy(&bytes));
                    let sane =
                        answer.is_empty() || answer.starts_with(b"HTTP/1.") || answer.starts_with(b"\0\0");
                    assert!(sane, "{:?}", String::from_utf8_lossy(&answer));
                }
            }));
        }
        for thread in threads {
            thread.join().expect("no harm");
        }
        assert_eq!(front.get("/still/here").status, 200);
    });
}

fn mutated(random: &mut fastrand::Rng, good: &[u8]) -> Vec<u8> {
    const SPICE: [&[u8]; 10] = [
        b"\r\n",
        b"\n",
        b"\0",
        b" ",
        b":",
        b"\r\n\r\n",
        b"content-length: 3\r\n",
        b"chunked",
        b"\xff",
        b"HTTP/1.1",
    ];
    let mut bytes = good.to_vec();
    for _ in 0..random.usize(1..5) {
        let at = random.usize(..=bytes.len());
        match random.u8(..4) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 => drop(bytes.splice(at..at, SPICE[random.usize(..SPICE.len())].iter().copied())),
            2 => bytes.truncate(at),
            _ => drop(bytes.drain(at..(at + random.usize(..6)).min(bytes.len()))),
        }
    }
    bytes
}
