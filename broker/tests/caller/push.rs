//! Push, caps, taking back, and pushes whose answer was lost.

use std::time::Duration;

use tempest_broker::{Caps, Error};
use tempest_protocol::Lane;

use crate::{
    harness::{broker, id, job, queue, within},
    proxy::{Act, Fault, Proxy, Way},
    server::{Answer, Server, eventually},
};

const LANE: &str = "tempest:{default}";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_an_rpush_anyone_could_have_typed() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    for (lane, key) in [(Lane::High, ":high"), (Lane::Normal, ""), (Lane::Low, ":low")] {
        let depth = broker.push(&queue(), lane, &job("a"), &Caps::default()).await.expect("pushed");
        assert_eq!(depth, 1);
        let key = format!("{LANE}{key}");
        assert_eq!(server.run(&["LRANGE", &key, "0", "-1"]).list(), [job("a").to_vec()]);
    }
    assert_eq!(broker.push(&queue(), Lane::Normal, &job("b"), &Caps::default()).await.expect("pushed"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_cap_a_push_is_taken_back() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let caps = Caps { jobs: 2, ..Caps::default() };
    for name in ["a", "b"] {
        broker.push(&queue(), Lane::Normal, &job(name), &caps).await.expect("there is room");
    }
    let refused = broker.push(&queue(), Lane::Normal, &job("c"), &caps).await;
    assert!(matches!(&refused, Err(Error::QueueFull { queue }) if queue == "default"), "{refused:?}");
    assert_eq!(server.run(&["LRANGE", LANE, "0", "-1"]).list(), [job("a").to_vec(), job("b").to_vec()]);
    broker.push(&queue(), Lane::High, &job("c"), &caps).await.expect("the cap is per lane");
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_cap_a_job_that_a_worker_already_has_runs() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let mut worker = server.client();
    worker.send(&["BLMOVE", LANE, "run", "LEFT", "RIGHT", "20"]).expect("sent");
    eventually("the worker waits", || server.cli("INFO clients").text().contains("blocked_clients:1"));
    let caps = Caps { jobs: 0, ..Caps::default() };
    let depth = broker.push(&queue(), Lane::Normal, &job("a"), &caps).await.expect("it runs");
    assert_eq!(depth, 1);
    assert_eq!(worker.receive().expect("claimed"), Answer::Text(job("a").to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_equal_frames_the_last_is_taken_back() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    for name in ["a", "b", "a"] {
        broker.push(&queue(), Lane::Normal, &job(name), &Caps::default()).await.expect("pushed");
    }
    assert!(broker.take_back(&queue(), Lane::Normal, &job("a")).await.expect("answered"));
    assert_eq!(server.run(&["LRANGE", LANE, "0", "-1"]).list(), [job("a").to_vec(), job("b").to_vec()]);
    assert!(!broker.take_back(&queue(), Lane::Normal, &job("c")).await.expect("answered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_is_lost_is_said_to_be_in_doubt_and_never_sent_again() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    proxy.prepare(Fault::lose_answer("RPUSH"));
    let lost = broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await;
    assert!(matches!(lost, Err(Error::Away(_))), "{lost:?}");
    within("the connection is back", broker.up()).await;
    assert_eq!(server.cli("LLEN tempest:{default}").integer(), 1, "it was carried out once");
    assert!(
        broker.take_back(&queue(), Lane::Normal, &job("a")).await.expect("answered"),
        "so it may be repeated"
    );
    assert_eq!(server.cli("LLEN tempest:{default}").integer(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_never_arrived_cannot_be_taken_back() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    proxy.prepare(Fault::cut_request("RPUSH", 3));
    let lost = broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await;
    assert!(matches!(lost, Err(Error::Away(_))), "{lost:?}");
    within("the connection is back", broker.up()).await;
    assert!(!broker.take_back(&queue(), Lane::Normal, &job("a")).await.expect("answered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_no_longer_answers_is_left_behind() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    proxy.prepare(Fault { way: Way::Answer, after: b"RPUSH".to_vec(), bytes: 0, act: Act::Stall });
    let lost =
        within("an end of the wait", broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default())).await;
    assert!(matches!(lost, Err(Error::Away(_))), "{lost:?}");
    within("a new connection", broker.up()).await;
    assert!(broker.take_back(&queue(), Lane::Normal, &job("a")).await.expect("answered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_nothing_is_sent() {
    let mut server = Server::start();
    let broker = broker(&server.url()).await;
    server.kill();
    within("the loss is noticed", async {
        while !matches!(
            broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await,
            Err(Error::Down)
        ) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(broker.up_since(), None);
    server.restart();
    within("the connection is back", broker.up()).await;
    assert_eq!(server.cli("LLEN tempest:{default}").integer(), 0);
    broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await.expect("pushed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_memory_refuses_a_push_but_lets_it_be_taken_back() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await.expect("pushed");
    server.cli("CONFIG SET maxmemory 1");
    let refused = broker.push(&queue(), Lane::Normal, &job("b"), &Caps::default()).await;
    assert!(matches!(&refused, Err(Error::Refused { word, .. }) if word == "OOM"), "{refused:?}");
    assert!(broker.take_back(&queue(), Lane::Normal, &job("a")).await.expect("LREM works without memory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_takes_out_of_a_short_lane_and_tells_the_worker_otherwise() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let mut worker = server.client();
    worker.run(&["SUBSCRIBE", "tempest:{default}:control"]);
    let told = |answer: Answer| answer.list()[2].clone();

    broker.push(&queue(), Lane::Low, &job("a"), &Caps::default()).await.expect("pushed");
    assert!(
        broker.cancel(&queue(), Lane::Low, &job("a"), &id("a"), 1, None).await.expect("answered"),
        "it waited"
    );
    assert!(
        !broker.cancel(&queue(), Lane::Low, &job("a"), &id("a"), 1, None).await.expect("answered"),
        "it runs"
    );
    assert_eq!(told(worker.receive().expect("told")), b"cancel a");

    broker.push(&queue(), Lane::Low, &job("deep"), &Caps::default()).await.expect("pushed");
    assert!(
        !broker.cancel(&queue(), Lane::Low, &job("deep"), &id("deep"), 1_000, None).await.expect("answered")
    );
    assert_eq!(told(worker.receive().expect("told")), b"cancel deep");
    assert_eq!(server.cli("LLEN tempest:{default}:low").integer(), 1, "a long lane is not searched");
}

/// A push after the end is told the truth, and is not left waiting.
#[tokio::test]
async fn who_pushes_when_all_is_over_is_told_that_nothing_was_sent() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await.expect("pushed");
    broker.close().await;
    let pushed = broker.push(&queue(), Lane::Normal, &job("b"), &Caps::default()).await;
    assert!(matches!(pushed, Err(Error::Down)), "{pushed:?}");
}
