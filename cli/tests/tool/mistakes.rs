//! What a newcomer does wrong is one line that says what to do.

use std::net::TcpListener;

use crate::{
    server::{Server, free_port},
    shop::Shop,
};

#[test]
fn no_redis() {
    let shop = Shop::new();
    let url = format!("redis://127.0.0.1:{}", free_port());
    for command in [&["queues"][..], &["push", "q", "a"], &["front", "--listen", "127.0.0.1:0"]] {
        let call = [command, &["--redis-url", &url]].concat();
        let line = shop.call(&call).one_line(1);
        assert!(line.contains(&url) && line.contains("TEMPEST_REDIS_URL"), "{line}");
    }
}

#[test]
fn a_wrong_url() {
    let shop = Shop::new();
    for url in ["localhost:6379", "http://localhost", "redis://"] {
        let line = shop.call(&["queues", "--redis-url", url]).one_line(2);
        assert!(line.starts_with("--redis-url: ") && line.contains("redis://127.0.0.1:6379"), "{line}");
    }
    let line = Shop::at("nonsense".into()).call(&["queues"]).one_line(2);
    assert!(line.starts_with("TEMPEST_REDIS_URL: "), "{line}");
    let line = shop.call(&["queues", "--redis-url", "redis://host:port"]).one_line(1);
    assert!(line.contains("redis://127.0.0.1:6379"), "{line}");
}

#[test]
fn a_port_that_is_taken() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let line = shop.call(&["front", "--listen", &address]).one_line(1);
    assert!(line.contains(&address) && line.contains("--listen"), "{line}");
    let told = Shop::new().call(&["up", "--redis-port", &taken.local_addr().unwrap().port().to_string()]);
    let line = told.one_line(1);
    assert!(line.contains("--redis-port"), "{line}");
}

#[test]
fn a_redis_that_evicts() {
    let server = Server::start();
    server.cli("CONFIG SET maxmemory-policy allkeys-lru");
    let line = Shop::at(server.url()).call(&["front", "--listen", "127.0.0.1:0"]).one_line(1);
    assert!(line.contains("noeviction") && line.contains("redis-cli config set"), "{line}");
}

#[test]
fn a_bad_file() {
    let shop = Shop::new();
    shop.write("tempest.toml", "[front]\nlisen = \"localhost:1\"\n");
    let line = shop.call(&["up"]).one_line(2);
    assert_eq!(line, "tempest.toml:2: [front] has no lisen; did you mean listen?");
    let line = shop.call(&["up", "--config", "missing.toml"]).one_line(2);
    assert!(line.contains("missing.toml") && line.contains("tempest init"), "{line}");
}

#[test]
fn several_mistakes_are_said_at_once() {
    let shop = Shop::new().with("TEMPEST_DRAIN_MS", "soon");
    shop.write("tempest.toml", "[front]\ntimeout_ms = 0\n");
    let told = shop.call(&["config", "--listen", "1337"]);
    assert_eq!(told.code, Some(2));
    let lines: Vec<_> = told.err.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for name in ["--listen", "TEMPEST_DRAIN_MS", "tempest.toml:2"] {
        assert!(lines.iter().any(|line| line.contains(name)), "{name}: {lines:#?}");
    }
}

#[test]
fn a_command_that_is_called_wrongly() {
    let shop = Shop::new();
    let line = |call: &[&str]| shop.call(call).one_line(2);
    assert!(line(&[]).contains("no command"));
    assert!(line(&["pusch"]).contains("pusch"));
    assert!(line(&["push", "q"]).contains("ACTION"));
    assert!(line(&["push", "a b", "x"]).contains("queue"));
    assert!(line(&["push", "q", "a", "--lane", "urgent"]).contains("high, normal or low"));
    assert!(line(&["push", "q", "a", "--timeout", "soon"]).contains("500ms"));
    assert!(line(&["queues", "--jason"]).contains("--jason"));
    let json = line(&["push", "q", "a", "hello"]);
    assert!(json.contains("not JSON") && json.contains("'\"text\"'"), "{json}");
    assert!(line(&["push", "q", "a", "[1] x"]).contains("not JSON"));
    assert!(line(&["push", "q", "a", r#""\ud800""#]).contains("bad_json"));
    let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
    let server = Server::start();
    let told = Shop::at(server.url()).call(&["push", "q", "a", &deep]);
    assert!(told.one_line(2).contains("too_deep"));
}
