//! The harness itself: a fault happens where it was asked for.

use crate::{
    proxy::{Fault, Proxy},
    server::{Answer, Client, Server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_lost_but_the_command_was_carried_out() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.prepare(Fault::lose_answer("INCR"));
    let mut client = Client::connect(proxy.port()).expect("connected");
    assert_eq!(client.run(&["PING"]), Answer::Text(b"PONG".to_vec()));
    assert!(matches!(client.run(&["INCR", "n"]), Answer::Error(_)));
    proxy.happened(1).await;
    assert_eq!(server.cli("GET n").text(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_cut_in_the_middle() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    proxy.prepare(Fault::cut_request("INCR", 2));
    let mut client = Client::connect(proxy.port()).expect("connected");
    assert!(matches!(client.run(&["INCR", "n"]), Answer::Error(_)));
    assert!(server.cli("GET n").is_nil());
    let mut again = Client::connect(proxy.port()).expect("a fault happens once");
    assert_eq!(again.run(&["INCR", "n"]).integer(), 1);
    proxy.cut_all();
    assert!(matches!(again.run(&["PING"]), Answer::Error(_)));
}

#[test]
fn a_durable_server_keeps_its_data_over_a_crash() {
    let mut server = Server::start_durable();
    server.cli("SET k v");
    server.restart();
    assert_eq!(server.cli("GET k").text(), "v");
}
