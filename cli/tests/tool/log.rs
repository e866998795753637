//! The log of a front: a line for each request, as a person or a program reads it.

use serde_json::Value;

use crate::{
    server::{Server, eventually},
    signals::Running,
};

/// One route, without anything behind it.
const FILE: &str = "[[route]]\npath = \"/files/{*file}\"\nstatic = \".\"\n";

#[test]
fn a_request_is_one_line_for_a_person() {
    let server = Server::start();
    let front = Running::front(&server, FILE, &[]);
    assert_eq!(front.status("/files/tempest.toml?key=secret"), "200");
    let line = front.line("answered");
    for part in ["INFO", "client=127.0.0.1", "url=\"/files/tempest.toml\"", "status=200", "to=\"static\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("secret") && !line.contains('\u{1b}'), "{line}");
}

#[test]
fn a_request_is_one_value_for_a_program() {
    let server = Server::start();
    let front = Running::front(&server, FILE, &["--log-format", "json", "--log-access", "query"]);
    assert_eq!(front.status("/other?key=%22"), "404");
    let line: Value = serde_json::from_str(&front.line("answered")).expect("JSON");
    assert_eq!((&line["url"], &line["code"]), (&"/other?key=%22".into(), &"not_found".into()));
    assert_eq!(line["target"], "tempest::access");
}

#[test]
fn it_can_be_off() {
    let server = Server::start();
    let front = Running::front(&server, FILE, &["--log-access", "off"]);
    assert_eq!(front.status("/files/tempest.toml"), "200");
    let other = Running::front(&server, FILE, &["--log", "tempest::access=warn"]);
    assert_eq!(other.status("/files/tempest.toml"), "200");
    let seen = Running::front(&server, FILE, &[]);
    assert_eq!(seen.status("/files/tempest.toml"), "200");
    eventually("one that is on has a line", || seen.lines().iter().any(|line| line.contains("answered")));
    for silent in [front, other] {
        assert!(!silent.lines().iter().any(|line| line.contains("answered")), "{:?}", silent.lines());
    }
}
