//! How the requests of a route are treated: rates, other origins, shared jobs, compression, fields, limits.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;
use tempest_front::{Cors, FrontConfig, Rate, Route};

use crate::{
    client::{Client, Response},
    scene::{Running, Scene, config, routes},
    server::eventually,
};

fn work(route: Route) -> FrontConfig {
    routes(vec![Route { path: "/{*rest}".into(), queue: Some("default".into()), ..route }])
}

fn get(client: &mut Client, path: &str, fields: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
}

/// A client at another address of this machine.
fn client_at(front: &Running, address: [u8; 4]) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(IpAddr::from(address), 0).into()).expect("a loopback address");
    socket.connect(&front.address.into()).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    Client::from_reader(std::io::BufReader::new(TcpStream::from(socket)))
}

/// Sends a GET and answers its job.
fn served(
    scene: &Scene,
    client: &mut Client,
    fields: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Response {
    get(client, "/", fields);
    let claim = scene.claim();
    scene.answer(&claim, 200, headers, body);
    client.response()
}

#[test]
fn a_client_that_sends_more_than_its_rate_is_refused_and_no_other() {
    let scene = Scene::new();
    let rate = Rate { requests: 2, per_ms: 60_000, burst: None };
    let front = scene.front_with(work(Route { rate: Some(rate), ..Route::default() }));
    let (mut one, mut two) = (client_at(&front, [127, 0, 0, 1]), client_at(&front, [127, 0, 0, 2]));
    for _ in 0..2 {
        assert_eq!(served(&scene, &mut one, "", &[], b"").status, 200);
    }
    get(&mut one, "/", "");
    let refused = one.response();
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("rate_limited"));
    let wait: u64 = refused.header("retry-after").expect("told").parse().expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(served(&scene, &mut two, "", &[], b"").status, 200, "another client");
}

#[test]
fn a_bucket_fills_again() {
    let scene = Scene::new();
    let rate = Rate { requests: 1, per_ms: 300, burst: Some(1) };
    let front = scene.front_with(work(Route { rate: Some(rate), ..Route::default() }));
    let mut client = front.client();
    assert_eq!(served(&scene, &mut client, "", &[], b"").status, 200);
    // One token each 300 ms, whatever the machine does meanwhile.
    std::thread::sleep(Duration::from_millis(350));
    assert_eq!(served(&scene, &mut client, "", &[], b"").status, 200);
}

fn cors(credentials: bool) -> Cors {
    Cors {
        origins: vec!["https://app.example".into(), "https://*.pages.example".into()],
        methods: vec!["PUT".into()],
        headers: vec!["x-token".into()],
        expose: vec!["x-total".into()],
        credentials,
        max_age_s: Some(600),
    }
}

#[test]
fn pages_of_allowed_origins_may_read_responses_and_refusals() {
    let scene = Scene::new();
    let front = scene.front_with(work(Route {
        cors: Some(cors(true)),
        methods: vec!["GET".into(), "OPTIONS".into()],
        ..Route::default()
    }));
    let mut client = front.client();
    let evil = [("access-control-allow-origin", "https://evil.example")];
    for origin in ["https://app.example", "https://a.b.pages.example"] {
        let read = served(&scene, &mut client, &format!("origin: {origin}\r\n"), &evil, b"hi");
        assert_eq!(read.all("access-control-allow-origin"), [origin], "a worker's own does not count");
        assert_eq!(read.header("access-control-allow-credentials").as_deref(), Some("true"));
        assert_eq!(read.header("access-control-expose-headers").as_deref(), Some("x-total"));
        assert_eq!(read.header("vary").as_deref(), Some("origin"));
    }
    for origin in [
        "https://evil.example",
        "https://pages.example",
        "https://.pages.example",
        "null",
        "http://app.example",
    ] {
        let read = served(&scene, &mut client, &format!("origin: {origin}\r\n"), &evil, b"hi");
        assert_eq!(read.header("access-control-allow-origin"), None, "{origin}");
    }
    scene.redis.cli("CONFIG SET maxmemory 1");
    eventually("it is refused", || {
        get(&mut client, "/", "origin: https://app.example\r\n");
        let refused = client.response();
        assert_eq!(refused.header("access-control-allow-origin").as_deref(), Some("https://app.example"));
        refused.status == 503
    });
}

#[test]
fn a_preflight_is_answered_without_a_job() {
    let scene = Scene::new();
    let front = scene.front_with(work(Route { cors: Some(cors(false)), ..Route::default() }));
    let mut client = front.client();
    let ask = |origin: &str| {
        format!(
            "OPTIONS /x HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\naccess-control-request-method: PUT\r\n\r\n"
        )
    };
    client.send(ask("https://app.example"));
    let told = client.response();
    assert_eq!(told.status, 204);
    assert_eq!(told.header("access-control-allow-methods").as_deref(), Some("GET, HEAD, POST, PUT"));
    assert_eq!(told.header("access-control-allow-headers").as_deref(), Some("x-token"));
    assert_eq!(told.header("access-control-max-age").as_deref(), Some("600"));
    assert_eq!(told.header("access-control-allow-origin").as_deref(), Some("https://app.example"));
    client.send(ask("https://evil.example"));
    let told = client.response();
    assert_eq!((told.status, told.header("access-control-allow-origin")), (204, None));
    assert_eq!(told.header("access-control-allow-methods"), None);
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0);
    client.send("OPTIONS /x HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(scene.claim().request().method, "OPTIONS", "any other OPTIONS is a job");
}

#[test]
fn a_stream_can_be_read_by_pages_of_allowed_origins() {
    let scene = Scene::new();
    let front = scene.front_with(routes(vec![Route {
        path: "/sub/{topic}".into(),
        topic: Some("{topic}".into()),
        cors: Some(cors(true)),
        response_headers: [("x-mine".to_owned(), "yes".to_owned())].into(),
        ..Route::default()
    }]));
    let mut client = front.client();
    client.send("GET /sub/test HTTP/1.1\r\nhost: a\r\norigin: https://app.example\r\n\r\n");
    let (_, status, headers) = client.head();
    let value =
        |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice());
    assert_eq!(status, 200);
    assert_eq!(value("access-control-allow-origin"), Some(b"https://app.example".as_slice()));
    assert_eq!(value("access-control-allow-credentials"), Some(b"true".as_slice()));
    assert_eq!(value("x-mine"), Some(b"yes".as_slice()));
}

#[test]
fn identical_gets_in_flight_share_a_job() {
    let scene = Scene::new();
    let front = scene.front_with(work(Route { coalesce: true, ..Route::default() }));
    let mut clients: Vec<_> = (0..10).map(|_| front.client()).collect();
    clients.iter_mut().for_each(|client| get(client, "/same", "cookie: a=1\r\n"));
    let mut other = front.client();
    get(&mut other, "/same", "cookie: a=2\r\n");
    let (first, second) = (scene.claim(), scene.claim());
    let (shared, alone) = if first.header("cookie") == ["a=1"] { (first, second) } else { (second, first) };
    assert_eq!(alone.header("cookie"), ["a=2"], "requests with other cookies are others");
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0, "ten requests, one job");
    // Whoever made the job leaves: the others go on waiting.
    clients.remove(0);
    scene.answer(&shared, 200, &[("x", "y")], b"for all");
    for client in &mut clients {
        let response = client.response();
        assert_eq!((response.text().as_str(), response.header("x").as_deref()), ("for all", Some("y")));
    }
    let ids: std::collections::HashSet<_> = clients
        .iter_mut()
        .map(|client| {
            get(client, "/sub/none-here", "");
            let claim = scene.claim();
            scene.answer(&claim, 200, &[], b"");
            client.response().header("x-request-id")
        })
        .collect();
    assert_eq!(ids.len(), 9, "each request has a name of its own");
    scene.answer(&alone, 200, &[], b"mine");
    assert_eq!(other.response().text(), "mine");
}

#[test]
fn a_shared_job_ends_with_the_last_that_waits_and_cookies_are_not_shared() {
    let scene = Scene::new();
    let front = scene.front_with(work(Route { coalesce: true, ..Route::default() }));
    let mut one = front.client();
    get(&mut one, "/", "");
    let mut two = front.client();
    eventually("the first job waits", || scene.redis.cli("LLEN tempest:{default}").integer() == 1);
    get(&mut two, "/", "");
    let claim = scene.claim();
    std::thread::sleep(Duration::from_millis(100)); // until the second request has joined
    scene.answer(&claim, 200, &[("set-cookie", "session=1")], b"one");
    assert_eq!(one.response().header("set-cookie").as_deref(), Some("session=1"));
    let again = scene.claim();
    scene.answer(&again, 200, &[("set-cookie", "session=2")], b"two");
    assert_eq!(two.response().header("set-cookie").as_deref(), Some("session=2"));

    let mut left: Vec<_> = (0..3).map(|_| front.client()).collect();
    left.iter_mut().for_each(|client| get(client, "/left", ""));
    eventually("the job waits", || scene.redis.cli("LLEN tempest:{default}").integer() == 1);
    drop(left);
    eventually("it is taken back", || scene.redis.cli("LLEN tempest:{default}").integer() == 0);
}

#[test]
fn large_responses_are_compressed_for_clients_that_take_it() {
    let scene = Scene::new();
    let front = scene.front_with(work(Route { compress: true, ..Route::default() }));
    let mut client = front.client();
    let text = "all work and no play ".repeat(100);
    let tagged = [("content-type", "text/plain"), ("etag", "\"1\"")];
    let plain = served(&scene, &mut client, "", &tagged, text.as_bytes());
    assert_eq!((plain.text(), plain.header("etag").as_deref()), (text.clone(), Some("\"1\"")));
    let packed = served(&scene, &mut client, "accept-encoding: gzip\r\n", &tagged, text.as_bytes());
    assert_eq!(packed.header("content-encoding").as_deref(), Some("gzip"));
    assert_eq!(packed.header("etag").as_deref(), Some("W/\"1\""), "other bytes than those it was made of");
    assert!(packed.header("vary").is_some_and(|vary| vary.contains("accept-encoding")));
    assert!(packed.body.len() < 200);
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_string(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, text);
    let small = served(&scene, &mut client, "accept-encoding: gzip\r\n", &tagged, b"hi");
    assert_eq!((small.text().as_str(), small.header("content-encoding")), ("hi", None));
    let image = [("content-type", "image/png")];
    let image = served(&scene, &mut client, "accept-encoding: gzip\r\n", &image, text.as_bytes());
    assert_eq!(image.header("content-encoding"), None);
    let own = [("content-type", "text/plain"), ("content-encoding", "br")];
    let own = served(&scene, &mut client, "accept-encoding: gzip, br\r\n", &own, text.as_bytes());
    assert_eq!((own.all("content-encoding"), own.text()), (vec!["br".to_owned()], text));
}

#[test]
fn events_are_compressed_only_where_the_route_asks_and_each_arrives_at_once() {
    let scene = Scene::new();
    let topic = |path: &str, compress: bool, compress_events: bool| Route {
        path: path.into(),
        topic: Some("test".into()),
        compress,
        compress_events,
        ..Route::default()
    };
    let front = scene.front_with(routes(vec![topic("/plain", true, false), topic("/packed", false, true)]));
    let mut plain = front.client();
    get(&mut plain, "/plain", "accept-encoding: gzip\r\n");
    let (_, _, headers) = plain.head();
    assert!(!headers.iter().any(|(name, _)| name == "content-encoding"));
    let mut packed = front.client();
    get(&mut packed, "/packed", "accept-encoding: gzip\r\n");
    let (_, _, headers) = packed.head();
    assert!(headers.iter().any(|(name, value)| name == "content-encoding" && value == b"gzip"));
    eventually("both listen", || scene.redis.cli("PUBLISH test first").integer() == 1);
    let mut events = flate2::read::GzDecoder::new(crate::client::Chunks::of(packed.into_reader()));
    let mut seen = String::new();
    while !seen.contains("data: first\n\n") {
        let mut bytes = [0; 64];
        let read = events.read(&mut bytes).expect("it goes on");
        assert!(read > 0, "it ended: {seen}");
        seen += &String::from_utf8_lossy(&bytes[..read]);
    }
}

#[test]
fn fields_of_the_front_and_the_route_are_added_unless_the_worker_sets_them() {
    let scene = Scene::new();
    let fields =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let route = Route {
        response_headers: fields(&[("x-frame-options", "DENY"), ("x-both", "route")]),
        ..Route::default()
    };
    let front = scene.front_with(FrontConfig {
        response_headers: fields(&[("referrer-policy", "no-referrer"), ("x-both", "front")]),
        ..work(route)
    });
    let mut client = front.client();
    let told = served(&scene, &mut client, "", &[("x-frame-options", "SAMEORIGIN")], b"");
    assert_eq!(told.all("x-frame-options"), ["SAMEORIGIN"]);
    assert_eq!(told.header("referrer-policy").as_deref(), Some("no-referrer"));
    assert_eq!(told.all("x-both"), ["route"]);
}

#[test]
fn somebody_may_come_to_serve_a_queue_while_its_request_waits() {
    let scene = Scene::without_worker(crate::server::Server::start());
    let front = scene.front_with(work(Route { no_worker_wait_ms: Some(20_000), ..Route::default() }));
    let mut client = front.client();
    get(&mut client, "/", "");
    std::thread::sleep(Duration::from_millis(600));
    let claim = scene.claim();
    scene.answer(&claim, 200, &[], b"late");
    assert_eq!(client.response().text(), "late");
}

#[test]
fn connections_and_streams_of_one_client_are_limited() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig {
        connections_per_client_max: 2,
        streams_per_client_max: 1,
        connections_max: 3,
        ..config()
    });
    let mut first = client_at(&front, [127, 0, 0, 1]);
    get(&mut first, "/sub/a", "");
    assert_eq!(first.head().1, 200);
    let mut second = client_at(&front, [127, 0, 0, 1]);
    get(&mut second, "/sub/a", "");
    let refused = second.response();
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (429, true), "a second stream");
    let mut third = client_at(&front, [127, 0, 0, 1]);
    let refused = third.response();
    assert_eq!(refused.status, 429, "a third connection");
    assert_eq!(refused.header("connection").as_deref(), Some("close"));
    let mut other = client_at(&front, [127, 0, 0, 2]);
    get(&mut other, "/sub/a", "");
    assert_eq!(other.head().1, 200, "another client");
    let mut fourth = client_at(&front, [127, 0, 0, 3]);
    let refused = fourth.response();
    assert_eq!(
        (refused.status, refused.text().contains("limit_reached")),
        (503, true),
        "more than there may be in all"
    );
    drop(first);
    eventually("its place is free again", || {
        let mut again = client_at(&front, [127, 0, 0, 1]);
        again.try_send("GET /sub/a HTTP/1.1\r\nhost: a\r\n\r\n");
        again.head().1 == 200
    });
}

#[test]
fn a_burst_is_served_as_far_as_the_deadline_reaches_and_the_rest_is_told_when_to_come() {
    let scene = Scene::new();
    let work_ms = 100;
    let front = scene.front_with(work(Route { timeout_ms: Some(1_000), ..Route::default() }));
    let reply = |claim: &crate::scene::Claim| {
        std::thread::sleep(Duration::from_millis(work_ms));
        let reply = json!({"id": claim.id(), "work_us": work_ms * 1000, "status": 200, "body": "done"});
        scene.send(claim, reply.to_string().as_bytes());
    };
    let mut warm = front.client();
    get(&mut warm, "/", "");
    reply(&scene.claim());
    assert_eq!(warm.response().status, 200);

    let mut clients: Vec<_> = (0..50).map(|_| front.client()).collect();
    clients.iter_mut().for_each(|client| get(client, "/", ""));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_300) {
        if scene.redis.cli("LLEN tempest:{default}").integer() > 0 {
            reply(&scene.claim());
        }
    }
    let responses: Vec<_> = clients.iter_mut().map(Client::response).collect();
    let count = |status: u16| responses.iter().filter(|response| response.status == status).count();
    let (served, late, refused) = (count(200), count(504), count(503));
    assert_eq!(served + late + refused, 50);
    assert!((5..=10).contains(&served), "served {served}, late {late}, refused {refused}");
    assert!(late <= 4, "served {served}, late {late}, refused {refused}");
    let waits = responses.iter().filter_map(|response| response.header("retry-after"));
    let waits: Vec<u64> = waits.map(|wait| wait.parse().expect("seconds")).collect();
    assert_eq!(waits.len(), refused);
    assert!(waits.iter().all(|wait| (1..=6).contains(wait)), "{waits:?}");
}
