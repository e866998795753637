//! A Redis that answers, but refuses: what is counted and told, and what it costs the server.

use std::time::{Duration, Instant};

use crate::{
    harness::{broker, job, queue, within},
    server::{Server, eventually},
};
use tempest_broker::{Broker, Caps, Error};
use tempest_protocol::Lane;

async fn push(broker: &Broker) -> Result<u64, Error> {
    broker.push(&queue(), Lane::Normal, &job("j"), &Caps::default()).await
}

fn counted(broker: &Broker, fault: &str) -> u64 {
    let mut counts = broker.stats().faults.counts();
    counts.find_map(|(word, count)| (word == fault).then_some(count)).expect("a known fault")
}

fn connections(server: &Server) -> i64 {
    let info = server.cli("INFO stats").text();
    let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_writes_is_not_flooded_with_connections() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    server.cli("REPLICAOF 127.0.0.1 1");
    let (before, begun) = (connections(&server), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        let refused = push(&broker).await.expect_err("refused");
        assert!(matches!(&refused, Error::Refused { word, .. } if word == "READONLY"), "at once: {refused}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate =
        f64::from(i32::try_from(connections(&server) - before).expect("few")) / begun.elapsed().as_secs_f64();
    assert!(rate < 20.0, "{rate:.0} a second");
    assert_eq!(counted(&broker, "READONLY"), 1, "one fault, however many commands it hits");
    server.cli("REPLICAOF NO ONE");
    within("a push", async { while push(&broker).await.is_err() {} }).await;
    drop(inbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_push_is_known_to_be_denied_it() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    assert_eq!(broker.stats().faults.pushes_denied(), None);
    server.cli("ACL SETUSER default -rpush");
    for _ in 0..3 {
        push(&broker).await.expect_err("refused");
    }
    let denied = broker.stats().faults.pushes_denied().expect("denied");
    assert_eq!(broker.stats().faults.current(), Some("NOPERM"));
    push(&broker).await.expect_err("refused");
    assert!(broker.stats().faults.pushes_denied() > Some(denied), "since the first one");
    server.cli("ACL SETUSER default +rpush");
    push(&broker).await.expect("pushed");
    assert_eq!(broker.stats().faults.pushes_denied(), None);
    assert_eq!(counted(&broker, "NOPERM"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_may_not_be_read_does_not_look_read_because_it_connects() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let inbox = broker.open_inbox("caller").await.expect("opened");
    let unread = || broker.stats().mailbox_read.age().unwrap_or(Duration::MAX);
    eventually("it is read", || unread() < Duration::from_secs(1));
    server.cli("ACL SETUSER default -blmove");
    eventually("it is unread for longer than a look and a try last", || unread() > Duration::from_secs(8));
    server.cli("ACL SETUSER default +blmove");
    eventually("it is read again", || unread() < Duration::from_secs(3));
    drop(inbox);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_several_commands_in_one_write_is_no_broken_connection() {
    let server = Server::start();
    let client = redis::Client::open(server.url()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("connected");
    server.cli("ACL SETUSER default -lrange");
    for is_transaction in [false, true] {
        let mut commands = redis::pipe();
        commands.cmd("PING").cmd("LRANGE").arg("list").arg(0).arg(-1);
        if is_transaction {
            commands.atomic();
        }
        let refused = commands.query_async::<redis::Value>(&mut connection).await.expect_err("refused");
        let error = Error::from(refused);
        assert!(matches!(&error, Error::Refused { word, .. } if word == "NOPERM"), "{error:?}");
    }
}
