//! `tempest doctor`

use serde_json::Value;

use crate::{
    server::{Server, free_port},
    shop::{Shop, Told},
};

/// A shop whose front would listen on a port that is free.
fn shop(server: &Server) -> Shop {
    Shop::at(server.url()).with("TEMPEST_LISTEN", "127.0.0.1:0").with("TEMPEST_STREAMS_MAX", "10")
}

fn checks(told: &Told) -> Value {
    let about: Value = serde_json::from_str(&told.out).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    assert_eq!(about["ok"], Value::Bool(told.code == Some(0)), "{told:?}");
    about["checks"].clone()
}

/// Level and what to do of one check.
fn of<'c>(checks: &'c Value, name: &str) -> (&'c str, &'c str) {
    let check = checks.as_array().and_then(|all| all.iter().find(|check| check["check"] == name));
    let check = check.unwrap_or_else(|| panic!("no {name} in {checks:#}"));
    (check["level"].as_str().expect("a level"), check["mend"].as_str().expect("a text"))
}

#[test]
fn a_good_cluster_passes_and_nothing_is_changed() {
    let server = Server::start_with(&["--save", "", "--appendonly", "yes", "--maxmemory", "512mb"]);
    let shop = shop(&server);
    let told = shop.call(&["doctor", "--json"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let checks = checks(&told);
    for name in [
        "config",
        "redis.reachable",
        "redis.version",
        "redis.role",
        "redis.eviction",
        "redis.memory",
        "redis.persistence",
        "redis.pubsub_buffer",
        "redis.timeout",
        "redis.keepalive",
        "redis.clients",
        "redis.clock",
        "redis.rights",
        "workers.versions",
        "machine.open_files",
        "front.listen",
    ] {
        assert_eq!(of(&checks, name).0, "ok", "{name}: {checks:#}");
    }
    assert_eq!(server.cli("DBSIZE").integer(), 0);
    let text = shop.call(&["doctor"]).good();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), checks.as_array().unwrap().len() + 1, "{text}");
    assert!(lines.last().unwrap().ends_with(" 0 to mend"), "{text}");
}

#[test]
fn what_is_wrong_with_redis_is_said_with_the_command_that_mends_it() {
    let server = Server::start_with(&["--save", "", "--maxmemory-policy", "allkeys-lru", "--timeout", "60"]);
    let told = shop(&server).call(&["doctor", "--json"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let checks = checks(&told);
    let prompt = format!("redis-cli -p {} config set ", server.port());
    for (name, level, option) in [
        ("redis.eviction", "fail", "maxmemory-policy noeviction"),
        ("redis.memory", "warn", "maxmemory "),
        ("redis.persistence", "warn", "appendonly yes"),
        ("redis.timeout", "warn", "timeout 0"),
    ] {
        let (found, mend) = of(&checks, name);
        assert_eq!(found, level, "{name}");
        let typed = mend.strip_prefix(&prompt).unwrap_or_else(|| panic!("{name}: {mend}"));
        assert!(typed.starts_with(option), "{name}: {mend}");
        let words: Vec<_> = typed.split(',').next().unwrap().split(' ').collect();
        server.run(&[&["CONFIG", "SET"][..], &words].concat());
    }
    let again = shop(&server).call(&["doctor", "--json"]);
    assert_eq!(again.code, Some(0), "what it said to type mends it: {again:?}");
}

#[test]
fn rights_that_are_missing_are_named() {
    let server = Server::start();
    let all = "ACL SETUSER bob on >secret ~tempest:* &* +@all";
    server.cli(&format!("{all} -blmove -publish -object"));
    let url = server.url().replace("//", "//bob:secret@");
    let shop = shop(&server).with("TEMPEST_REDIS_URL", &url);
    let told = shop.call(&["doctor"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let line = told.out.lines().find(|line| line.contains("redis.rights")).expect("judged");
    assert!(line.starts_with("fail") && line.contains("BLMOVE tempest:{doctor}"), "{line}");
    assert!(!told.out.contains("secret") && !told.err.contains("secret"), "{told:?}");
    server.cli("ACL SETUSER bob +blmove +publish");
    let about = checks(&shop.call(&["doctor", "--json"]));
    assert_eq!(of(&about, "redis.rights").0, "warn", "{about:#}");
    server.cli("ACL SETUSER bob +object resetkeys ~other:*");
    assert_eq!(of(&checks(&shop.call(&["doctor", "--json"])), "redis.rights").0, "fail");
    assert_eq!(server.cli("DBSIZE").integer(), 0);
}

/// The account that `docs/operations/deploying.md` names.
#[test]
fn the_account_that_is_recommended_has_all_rights() {
    let server = Server::start();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/deploying.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let line = page.lines().find_map(|line| line.trim().strip_prefix("user tempest ")).expect("the account");
    server.cli(&format!("ACL SETUSER tempest {line}").replace("PASSWORD", "secret"));
    let url = server.url().replace("//", "//tempest:secret@");
    let checks = checks(&shop(&server).with("TEMPEST_REDIS_URL", &url).call(&["doctor", "--json"]));
    assert_eq!(of(&checks, "redis.rights").0, "ok", "{checks:#}");
}

#[test]
fn a_redis_that_is_away_is_one_line_and_the_rest_is_looked_at() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let told = Shop::new().call(&["doctor", "--redis-url", &url, "--listen", "127.0.0.1:0"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let failed: Vec<_> = told.out.lines().filter(|line| line.starts_with("fail")).collect();
    assert_eq!(failed.len(), 1, "{told:?}");
    assert!(failed[0].contains("redis.reachable") && failed[0].contains("tempest up"), "{failed:?}");
    assert!(told.out.contains("machine.open_files"), "{told:?}");
    assert_eq!(told.err.trim_end().lines().count(), 1, "{told:?}");
}

#[test]
fn mistakes_in_the_file_are_said_each() {
    let shop = Shop::new();
    shop.write("tempest.toml", "[front]\nlisen = \"x\"\ntimeout_ms = \"soon\"\n");
    let told = shop.call(&["doctor"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let failed: Vec<_> = told.out.lines().filter(|line| line.starts_with("fail  config")).collect();
    assert_eq!(failed.len(), 2, "{told:?}");
    assert!(failed[0].contains("tempest.toml:2: [front] has no lisen; did you mean listen?"), "{failed:?}");
}

#[test]
fn workers_of_another_version_are_counted() {
    let server = Server::start();
    let about = r#"{"lang":"python","version":"0.0.1","host":"h"}"#;
    server.cli("SADD tempest:queues mail");
    for worker in ["h-1-abc", "h-2-def"] {
        server.cli(&format!("SADD tempest:{{mail}}:workers {worker}.0"));
        server.run(&["SET", &format!("tempest:{{mail}}:lease:{worker}"), about]);
    }
    let told = shop(&server).call(&["doctor"]);
    let line = told.out.lines().find(|line| line.contains("workers.versions")).expect("judged");
    assert!(
        line.starts_with("warn") && line.contains("2 of 2") && line.contains("2 × python 0.0.1"),
        "{line}"
    );
}

#[test]
fn certificates_are_read_and_their_days_counted() {
    let server = Server::start();
    let shop = shop(&server)
        .with("TEMPEST_TLS_LISTEN", "127.0.0.1:0")
        .with("TEMPEST_TLS_CERTIFICATE", "missing.pem")
        .with("TEMPEST_TLS_KEY", "missing.key");
    let told = shop.call(&["doctor"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let line = told.out.lines().find(|line| line.contains("tls.certificate")).expect("judged");
    assert!(line.starts_with("fail") && line.contains("missing.pem"), "{line}");
}
