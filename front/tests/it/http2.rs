//! HTTP/2 in plaintext, by prior knowledge: many requests and streams on one connection.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Method, Request, StatusCode};
use tempest_front::{FrontConfig, HttpConfig};
use tokio::{net::TcpStream, task::JoinHandle};

use crate::{
    client::Client,
    scene::{LANE, Running, Scene, config, limited},
    server::eventually,
};

/// A connection, and how it ended.
struct Connection {
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("the front listens");
        let (requests, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
        Self { requests: requests.ready().await.expect("ready"), ended: tokio::spawn(connection) }
    }

    async fn send(&mut self, method: Method, path: &str, body: &[u8]) -> ResponseFuture {
        let request = Request::builder().method(method).uri(format!("http://a.test{path}"));
        self.send_whole(request.body(()).expect("a request"), body).await
    }

    async fn send_whole(&mut self, request: Request<()>, body: &[u8]) -> ResponseFuture {
        let mut requests = self.requests.clone().ready().await.expect("it may send");
        let (response, mut stream) = requests.send_request(request, body.is_empty()).expect("sent");
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true).expect("sent");
        }
        response
    }
}

/// What came back, with its body as far as it was sent.
async fn whole(response: ResponseFuture) -> (http::response::Parts, Vec<u8>) {
    let (head, mut body) = response.await.expect("a response").into_parts();
    let mut bytes = Vec::new();
    while let Some(some) = body.data().await {
        let some = some.expect("a whole body");
        body.flow_control().release_capacity(some.len()).expect("released");
        bytes.extend_from_slice(&some);
    }
    (head, bytes)
}

/// Reads a stream until this text has come.
async fn until(body: &mut RecvStream, text: &str) {
    let mut heard = String::new();
    while !heard.contains(text) {
        let some = body.data().await.expect("it goes on").expect("whole");
        heard.push_str(&String::from_utf8_lossy(&some));
    }
}

fn connect(scene: &Scene, front: &Running) -> Connection {
    scene.wait("a connection", Connection::open(front.address))
}

#[test]
fn a_request_looks_like_one_of_http_1_to_its_worker() {
    let scene = Scene::new();
    let front = scene.front();
    let mut connection = connect(&scene, &front);
    let body: Vec<u8> = (0..=255).cycle().take(40_000).collect();
    let response = scene.wait("sent", connection.send(Method::PUT, "/a%20b?c=d", &body));
    let claim = scene.claim();
    let request = claim.request();
    assert_eq!((request.method.as_str(), request.url.as_str()), ("PUT", "/a%20b?c=d"));
    assert_eq!((request.host.as_str(), request.scheme.as_str()), ("a.test", "http"));
    assert_eq!(claim.header("host"), ["a.test"]);
    assert_eq!(request.body, body);
    let headers = [("x-a", "1"), ("x-a", "2"), ("connection", "close"), ("transfer-encoding", "chunked")];
    scene.answer(&claim, 201, &headers, &body);
    let (head, answered) = scene.wait("a response", whole(response));
    assert_eq!((head.status, answered), (StatusCode::CREATED, body));
    assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert!(!head.headers.contains_key("connection") && !head.headers.contains_key("transfer-encoding"));
}

#[test]
fn requests_on_one_connection_do_not_wait_for_each_other() {
    let scene = Scene::new();
    let front = scene.front();
    let mut connection = connect(&scene, &front);
    let first = scene.wait("sent", connection.send(Method::GET, "/first", b""));
    let slow = scene.claim();
    let second = scene.wait("sent", connection.send(Method::GET, "/second", b""));
    scene.answer(&scene.claim(), 200, &[], b"second");
    assert_eq!(scene.wait("the second", whole(second)).1, b"second");
    scene.answer(&slow, 200, &[], b"first");
    assert_eq!(scene.wait("the first", whole(first)).1, b"first");
}

#[test]
fn many_event_streams_share_one_connection() {
    let scene = Scene::new();
    let mut front = scene.front();
    let mut connection = connect(&scene, &front);
    let streams = scene.wait("eight streams", async {
        let mut streams = Vec::new();
        for n in 0..8 {
            let response = connection.send(Method::GET, &format!("/sub/t{n}"), b"").await;
            let (head, body) = response.await.expect("a response").into_parts();
            assert_eq!(head.headers["content-type"], "text/event-stream");
            streams.push(body);
        }
        streams
    });
    eventually("all are open", || front.cluster.streams() == 8);
    (0..8).for_each(|n| drop(scene.redis.run(&["PUBLISH", &format!("t{n}"), &format!("event {n}")])));
    let streams = scene.wait("each hears its own", async {
        let mut heard = Vec::new();
        for (n, mut body) in streams.into_iter().enumerate() {
            until(&mut body, &format!("data: event {n}\n\n")).await;
            heard.push(body);
        }
        heard
    });
    // Closing one leaves the others.
    let mut rest: Vec<_> = streams.into_iter().skip(1).collect();
    eventually("one is closed", || front.cluster.streams() == 7);
    scene.redis.run(&["PUBLISH", "t7", "more"]);
    scene.wait("the last hears more", until(&mut rest[6], "data: more"));
    // The end of the front is an end with a hint, not a broken connection.
    front.stop();
    scene.wait("the hint", until(&mut rest[0], "retry: "));
    drop(rest);
    assert_eq!(front.ended().cut, 0);
    scene.wait("the connection ends", connection.ended).expect("no panic").expect("in good order");
}

#[test]
fn a_request_that_is_reset_takes_its_job_along_and_no_other() {
    let scene = Scene::new();
    let front = scene.front();
    let mut connection = connect(&scene, &front);
    let (kept, dropped) = scene.wait("sent", async {
        (connection.send(Method::GET, "/kept", b"").await, connection.send(Method::GET, "/reset", b"").await)
    });
    eventually("both wait", || scene.redis.run(&["LLEN", LANE]).integer() == 2);
    drop(dropped);
    eventually("one is removed", || scene.redis.run(&["LLEN", LANE]).integer() == 1);
    let claim = scene.claim();
    assert_eq!(claim.request().url, "/kept");
    scene.answer(&claim, 200, &[], b"kept");
    assert_eq!(scene.wait("a response", whole(kept)).1, b"kept");
}

#[test]
fn a_connection_that_is_lost_takes_all_of_its_jobs_along() {
    let scene = Scene::new();
    let front = scene.front();
    let mut connection = connect(&scene, &front);
    let waiting = scene.wait("sent", async {
        let mut waiting = Vec::new();
        for n in 0..5 {
            waiting.push(connection.send(Method::POST, &format!("/{n}"), b"x").await);
        }
        waiting
    });
    eventually("all wait", || scene.redis.run(&["LLEN", LANE]).integer() == 5);
    connection.ended.abort();
    drop((waiting, connection));
    eventually("all are removed", || scene.redis.run(&["LLEN", LANE]).integer() == 0);
    eventually("nobody waits", || front.cluster.waiting() == 0);
}

#[test]
fn a_stopping_front_answers_what_it_has_and_says_goodbye() {
    let scene = Scene::new();
    let mut front = scene.front();
    let mut connection = connect(&scene, &front);
    let response = scene.wait("sent", connection.send(Method::POST, "/", b"x"));
    let claim = scene.claim();
    front.stop();
    eventually("it takes no more connections", || std::net::TcpStream::connect(front.address).is_err());
    scene.answer(&claim, 200, &[], b"answered");
    let (head, body) = scene.wait("a response", whole(response));
    assert_eq!((head.status, body.as_slice()), (StatusCode::OK, b"answered".as_slice()));
    scene.wait("goodbye", connection.ended).expect("no panic").expect("GOAWAY without an error");
    assert_eq!(front.ended().cut, 0);
}

#[test]
fn refusals_say_their_code_here_too() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { body_bytes_max: 1000, ..config() });
    let mut connection = connect(&scene, &front);
    let refused = |connection: &mut Connection, request: Request<()>, body: &[u8]| {
        let response = scene.wait("sent", connection.send_whole(request, body));
        let (head, body) = scene.wait("a refusal", whole(response));
        (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    };
    let to = |method: &str, uri: &str| Request::builder().method(method).uri(uri);
    let too_large = to("POST", "http://a.test/").body(()).unwrap();
    let (status, body) = refused(&mut connection, too_large, &[b'x'; 1001]);
    assert!(status == 413 && body.contains("too_large"), "{status} {body}");
    let two_hosts = to("GET", "http://a.test/").header("host", "b.test").body(()).unwrap();
    let (status, body) = refused(&mut connection, two_hosts, b"");
    assert!(status == 400 && body.contains("bad_http"), "{status} {body}");
    // They do not end the connection.
    let response = scene.wait("sent", connection.send(Method::GET, "/", b""));
    scene.answer(&scene.claim(), 200, &[], b"still here");
    assert_eq!(scene.wait("a response", whole(response)).1, b"still here");
}

#[test]
fn a_header_that_is_too_large_is_refused_alone() {
    let scene = Scene::new();
    let front = scene.front_with(limited(HttpConfig { header_bytes_max: 8 << 10, ..HttpConfig::default() }));
    let mut connection = connect(&scene, &front);
    let request = Request::get("http://a.test/").header("x-large", "x".repeat(12 << 10)).body(()).unwrap();
    let response = scene.wait("sent", connection.send_whole(request, b""));
    assert_eq!(
        scene.wait("a refusal", whole(response)).0.status,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let response = scene.wait("sent", connection.send(Method::GET, "/", b""));
    scene.answer(&scene.claim(), 200, &[], b"done");
    assert_eq!(scene.wait("a response", whole(response)).1, b"done");
}

#[test]
fn an_idle_connection_is_told_to_go_but_not_one_with_a_stream() {
    let scene = Scene::new();
    let front = scene.front_with(limited(HttpConfig { keep_alive_ms: 400, ..HttpConfig::default() }));
    let idle = connect(&scene, &front);
    let mut busy = connect(&scene, &front);
    let response = scene.wait("sent", busy.send(Method::GET, "/sub/t", b""));
    let mut body = scene.wait("a stream", response).expect("a response").into_body();
    let begun = Instant::now();
    scene.wait("goodbye", idle.ended).expect("no panic").expect("in good order");
    assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
    std::thread::sleep(Duration::from_millis(800));
    scene.redis.run(&["PUBLISH", "t", "still here"]);
    scene.wait("an event", until(&mut body, "data: still here"));
}

/// CVE-2023-44487: streams that are opened and reset as fast as can be.
#[test]
fn rapid_resets_do_no_harm() {
    let scene = Scene::new();
    let front = scene.front();
    let connection = connect(&scene, &front);
    scene.wait("resets", async {
        for _ in 0..5_000 {
            let Ok(mut requests) = connection.requests.clone().ready().await else { break };
            let request = Request::get("http://a.test/").body(()).expect("a request");
            match requests.send_request(request, true) {
                Ok((response, mut stream)) => {
                    stream.send_reset(Reason::CANCEL);
                    drop(response);
                }
                Err(_) => break,
            }
            tokio::task::yield_now().await;
        }
    });
    drop(connection.requests);
    eventually("no job is left", || {
        front.cluster.waiting() == 0 && scene.redis.run(&["LLEN", LANE]).integer() == 0
    });
    scene.answering(|| assert_eq!(front.get("/").status, 200));
}

#[test]
fn what_only_begins_like_http_2_is_http_1() {
    let scene = Scene::new();
    let front = scene.front();
    for method in ["P", "PR", "PRI", "PUT", "PRIVATE"] {
        let mut client = front.client();
        // In two parts, so that the first could become either.
        let (first, second) = method.split_at(1);
        client.send(first);
        std::thread::sleep(Duration::from_millis(30));
        client.send(format!("{second} / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"));
        let claim = scene.claim();
        assert_eq!(claim.request().method, method);
        scene.answer(&claim, 200, &[], b"");
        assert_eq!(client.response().status, 200, "{method}");
    }
    let mut slow = Client::connect(front.address);
    for part in [&b"PRI * HT"[..], b"TP/2.0\r\n\r\nS", b"M\r\n\r\n\0\0\0\x04\0\0\0\0\0"] {
        slow.send(part);
        std::thread::sleep(Duration::from_millis(30));
    }
    let mut settings = [0; 9];
    std::io::Read::read_exact(&mut slow.socket(), &mut settings).expect("an answer");
    assert_eq!(settings[3], 4, "a frame of settings");
}
