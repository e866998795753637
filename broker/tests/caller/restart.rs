//! Redis dies and comes back: whoever waited goes on waiting, and what is sent afterwards arrives.

use std::time::Duration;

use crate::{
    harness::{body, broker, id, job, queue, reply, subscribe, topics, within},
    server::{Server, eventually},
};
use tempest_broker::{Caps, Live};
use tempest_protocol::Lane;

#[tokio::test(flavor = "multi_thread")]
async fn an_open_mailbox_lives_on_over_a_restart() {
    let mut server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let mut waiter = inbox.expect(&id("a"));
    server.restart();
    let about = format!("{}:about", inbox.key());
    eventually("its owner says that it lives", || server.run(&["EXISTS", &about]).integer() == 1);
    assert_eq!(server.cli("SCARD tempest:mailboxes").integer(), 1);
    server.run(&["RPUSH", inbox.key(), &reply("a", "after the restart")]);
    assert_eq!(body(&mut waiter).await, "after the restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_redis_kept_arrive_after_it_came_back() {
    let mut server = Server::start_durable();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let mut waiter = inbox.expect(&id("a"));
    server.pause();
    server.kill();
    server.restart();
    server.run(&["RPUSH", inbox.key(), &reply("a", "kept")]);
    server.restart();
    assert_eq!(body(&mut waiter).await, "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_parts_of_a_broker_come_back_together_again_and_again() {
    let mut server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let topics = topics(&broker);
    let mut events = subscribe(&topics, &["news"]).await;
    for round in 0..3 {
        server.restart();
        within("a push", async {
            while broker.push(&queue(), Lane::Normal, &job("j"), &Caps::default()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        assert_eq!(server.run(&["LINDEX", "tempest:{default}", "0"]).bytes(), job("j"));
        eventually("the topic is subscribed to again", || server.cli("PUBLISH news hello").integer() == 1);
        let event = within("an event", events.next()).await;
        assert_eq!(event, Live::Events("data: hello\n\n".into()));
        let name = format!("r{round}");
        let mut waiter = inbox.expect(&id(&name));
        server.run(&["RPUSH", inbox.key(), &reply(&name, "x")]);
        assert_eq!(body(&mut waiter).await, "x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_broker_leaves_no_connection() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let topics = topics(&broker);
    let events = subscribe(&topics, &["news"]).await;
    let clients = || {
        server.cli("CLIENT LIST TYPE normal").text().lines().count()
            + server.cli("CLIENT LIST TYPE pubsub").text().lines().count()
    };
    assert!(clients() >= 4, "commands, mailbox, topics, and this one");
    drop((inbox, events, topics));
    within("the end", broker.close()).await;
    drop(broker);
    eventually("all connections are closed", || clients() == 1);
}
