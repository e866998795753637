//! A Redis that cannot serve is refused at the start, with one line that says what to do.

use tempest_broker::{Broker, Error, Settings};

use crate::{
    harness::broker,
    server::{Server, free_port},
};

/// The one line a newcomer sees.
async fn refusal(url: &str) -> String {
    match Broker::connect(Settings::new(url, "test")).await {
        Err(Error::Setup(line)) => {
            assert_eq!(line.lines().count(), 1, "more than one line: {line:?}");
            line
        }
        Err(other) => panic!("a setup error was expected, not {other:?}"),
        Ok(_) => panic!("{url} was accepted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redis_says_how_to_get_one() {
    let port = free_port();
    let line = refusal(&format!("redis://127.0.0.1:{port}")).await;
    assert!(line.contains(&format!("redis://127.0.0.1:{port}")), "{line}");
    assert!(line.contains("redis-server") && line.contains("TEMPEST_REDIS_URL"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_none_shows_what_one_looks_like() {
    for url in ["localhost", "http://localhost:6379", "redis://localhost:port", ""] {
        let line = refusal(url).await;
        assert!(line.contains("redis://127.0.0.1:6379"), "{url:?}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_one_line() {
    let line = refusal("redis://no-such-host.invalid:6379").await;
    assert!(line.contains("cannot reach Redis"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_is_refused() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = Server::start_with(&["--save", "", "--maxmemory-policy", policy]);
        let line = refusal(&server.url()).await;
        assert!(line.contains(policy), "{line}");
        assert!(line.contains("config set maxmemory-policy noeviction"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_showing_it() {
    let server = Server::start();
    server.cli("CONFIG SET requirepass right");
    let wrong = refusal(&format!("redis://:wrong-secret@127.0.0.1:{}", server.port())).await;
    assert!(wrong.contains("password"), "{wrong}");
    assert!(!wrong.contains("wrong-secret"), "the password is shown: {wrong}");
    let none = refusal(&server.url()).await;
    assert!(none.contains("NOAUTH") && none.contains("password"), "{none}");
    broker(&format!("redis://:right@127.0.0.1:{}", server.port())).await.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_at_the_port_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
        }
    });
    let line = refusal(&format!("redis://127.0.0.1:{port}")).await;
    assert!(line.contains(&format!("127.0.0.1:{port}")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_never_answers_does_not_hang() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let line = crate::harness::within("a refusal", refusal(&format!("redis://127.0.0.1:{port}"))).await;
    assert!(line.contains("cannot reach Redis"), "{line}");
}
