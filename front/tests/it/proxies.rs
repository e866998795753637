//! Whose word about a client is believed.

use tempest_front::{FrontConfig, Proxies};

use crate::scene::{Claim, Running, Scene, config};

const SAID: &str = "forwarded: for=192.0.2.60;proto=https;host=shop.example\r\nx-forwarded-for: 192.0.2.61\r\n\
    x-forwarded-proto: https\r\nx-forwarded-host: evil.example\r\nx-forwarded-port: 444\r\nx-real-ip: 192.0.2.62\r\n";

fn behind_proxy(scene: &Scene) -> Running {
    let trusted_proxies = Proxies::new(&["127.0.0.0/8"]).expect("a network");
    scene.front_with(FrontConfig { trusted_proxies, ..config() })
}

fn job(scene: &Scene, front: &Running, fields: &str) -> Claim {
    scene.exchange(front, format!("GET / HTTP/1.1\r\nhost: front.example\r\n{fields}\r\n")).0
}

#[test]
fn a_trusted_proxy_tells_of_its_client() {
    let scene = Scene::new();
    let front = behind_proxy(&scene);
    let claim = job(&scene, &front, SAID);
    let request = claim.request();
    assert_eq!(
        (request.remote.as_str(), request.scheme.as_str(), request.host.as_str()),
        ("192.0.2.60", "https", "shop.example")
    );
    assert_eq!(claim.header("x-forwarded-for"), ["192.0.2.61"], "what it sent is passed on");
    assert_eq!(claim.header("host"), ["front.example"]);
}

#[test]
fn the_word_of_anybody_else_is_removed() {
    let scene = Scene::new();
    let front = scene.front();
    let claim = job(&scene, &front, SAID);
    let request = claim.request();
    assert_eq!(
        (request.remote.as_str(), request.scheme.as_str(), request.host.as_str()),
        ("127.0.0.1", "http", "front.example")
    );
    let fields =
        ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];
    for field in fields.into_iter().chain(["x-real-ip"]) {
        assert!(claim.header(field).is_empty(), "{field}");
    }
}

#[test]
fn a_malformed_word_fails_no_request() {
    let scene = Scene::new();
    let front = behind_proxy(&scene);
    for field in [
        "forwarded: for=\"",
        "forwarded: ;;;=",
        "x-forwarded-for: ,,",
        "x-forwarded-host: a b",
        "forwarded: \u{e9}",
    ] {
        let request = job(&scene, &front, &format!("{field}\r\n")).request();
        assert_eq!(
            (request.remote.as_str(), request.host.as_str()),
            ("127.0.0.1", "front.example"),
            "{field}"
        );
    }
}

#[test]
fn a_header_of_the_proxy_protocol_tells_it_before_the_first_request() {
    let scene = Scene::new();
    let trusted_proxies = Proxies::new(&["127.0.0.1"]).expect("an address");
    let front = scene.front_with(FrontConfig { trusted_proxies, proxy_protocol: true, ..config() });
    let v2 =
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[192, 0, 2, 61, 10, 0, 0, 1, 0x12, 0x67, 0, 80]]
            .concat();
    let cases: [(&[u8], &str); 3] = [
        (b"PROXY TCP4 192.0.2.60 10.0.0.1 4711 80\r\n", "192.0.2.60"),
        (&v2, "192.0.2.61"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ];
    for (header, remote) in cases {
        let mut client = front.client();
        client.send([header, b"GET /a HTTP/1.1\r\nhost: a\r\nforwarded: for=1.1.1.1\r\n\r\n"].concat());
        let claim = scene.claim();
        let expected = if remote == "127.0.0.1" { "1.1.1.1" } else { remote };
        assert_eq!(claim.request().remote, expected, "a client behind it is not trusted itself");
        scene.answer(&claim, 200, &[], b"one");
        assert_eq!(client.response().text(), "one");
        client.send("GET /b HTTP/1.1\r\nhost: a\r\n\r\n");
        let claim = scene.claim();
        assert_eq!(claim.request().remote, remote, "for all requests of the connection");
        scene.answer(&claim, 200, &[], b"two");
        assert_eq!(client.response().text(), "two");
    }
}

#[test]
fn a_trusted_proxy_that_sends_no_header_is_cut() {
    let scene = Scene::new();
    let trusted_proxies = Proxies::new(&["127.0.0.1"]).expect("an address");
    let front = scene.front_with(FrontConfig { trusted_proxies, proxy_protocol: true, ..config() });
    let mut client = front.client();
    client.try_send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.rest_of_broken(), b"");
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0);
}
