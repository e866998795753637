//! `tempest publish`

use serde_json::json;

use crate::{
    server::{Client, Server},
    shop::Shop,
};

fn subscribed(server: &Server, topic: &str) -> Client {
    let mut client = server.client();
    client.run(&["SUBSCRIBE", topic]);
    client
}

#[test]
fn an_event_is_heard_and_counted() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let mut listener = subscribed(&server, "test");
    assert_eq!(shop.call(&["publish", "test", "[\"Bob\"]"]).good(), "heard by 1\n");
    assert_eq!(listener.receive().unwrap().list()[2], b"[\"Bob\"]");
    let told = shop.call(&["publish", "nobody/here", "-x", "--json"]).json();
    assert_eq!(told, json!({ "topic": "nobody/here", "heard": 0 }));
}

#[test]
fn data_is_read_from_standard_input() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let mut listener = subscribed(&server, "acme.test");
    let call = ["publish", "test", "--topic-prefix", "acme."];
    assert_eq!(shop.call_with_input(&call, b"two\nlines \xff\n").good(), "heard by 1\n");
    assert_eq!(listener.receive().unwrap().list()[2], b"two\nlines \xff");
}

#[test]
fn names_of_the_cluster_itself_are_refused() {
    let server = Server::start();
    let shop = Shop::at(server.url());
    let line = shop.call(&["publish", "tempest:x", "1"]).one_line(2);
    assert!(line.contains("tempest:x"), "{line}");
    let line = shop.call(&["publish", "a b", "1"]).one_line(2);
    assert!(line.contains("topic"), "{line}");
}
