//! What is pushed at the same time leaves together: each push has its own answer all the same.

use bytes::Bytes;
use futures_util::future::join_all;
use tempest_broker::{Broker, Caps, Error, Pushing};
use tempest_protocol::Lane;

use crate::{
    harness::{broker, job, queue},
    server::Server,
};

fn push(broker: &Broker, lane: Lane, frame: &Bytes) -> Pushing {
    broker.push_soon(&queue(), lane, frame, &Caps::default())
}

async fn answers(pushes: &[Pushing]) -> Vec<Result<u64, Error>> {
    join_all(pushes.iter().map(Pushing::answer)).await
}

/// How often a command was sent to Redis.
fn sent(broker: &Broker, name: &str) -> u64 {
    broker.stats().commands.sent().find(|(known, _)| *known == name).map_or(0, |(_, count)| count)
}

// One thread, so that nothing leaves before all have asked.
#[tokio::test]
async fn pushes_to_a_lane_are_one_command_in_their_order() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let frames: Vec<_> = (0..200).map(|n| job(&n.to_string())).collect();
    let lanes = [Lane::Normal, Lane::Normal, Lane::High];
    let pushes: Vec<_> =
        frames.iter().enumerate().map(|(n, frame)| push(&broker, lanes[n % 3], frame)).collect();
    let depths: Vec<_> = answers(&pushes).await.into_iter().map(|depth| depth.expect("pushed")).collect();
    for (lane, key) in [(Lane::Normal, "tempest:{default}"), (Lane::High, "tempest:{default}:high")] {
        let mine = |n: &usize| lanes[n % 3] == lane;
        let expected: Vec<_> = (0..200).filter(mine).map(|n| frames[n].to_vec()).collect();
        assert_eq!(server.run(&["LRANGE", key, "0", "-1"]).list(), expected, "{key}");
        let told: Vec<_> = (0..200).filter(mine).map(|n| depths[n]).collect();
        assert_eq!(told, (1..=expected.len() as u64).collect::<Vec<_>>(), "{key}");
    }
    assert_eq!(sent(&broker, "RPUSH"), 3, "at most 128 values in each");
}

#[tokio::test]
async fn a_large_value_begins_a_command_and_keeps_its_place() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let large = Bytes::from("x".repeat(1 << 20));
    let frames = [job("a"), large, job("b")];
    let pushes: Vec<_> = frames.iter().map(|frame| push(&broker, Lane::Normal, frame)).collect();
    let depths: Vec<_> = answers(&pushes).await.into_iter().map(Result::ok).collect();
    assert_eq!(depths, [Some(1), Some(2), Some(3)]);
    assert_eq!(
        server.run(&["LRANGE", "tempest:{default}", "0", "-1"]).list(),
        frames.map(|frame| frame.to_vec())
    );
    assert_eq!(sent(&broker, "RPUSH"), 2);
}

#[tokio::test]
async fn a_refusal_is_told_to_each_and_harms_no_other_list() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    server.run(&["SET", "tempest:{default}", "no list"]);
    let lanes = [Lane::Normal, Lane::Low, Lane::Normal];
    let pushes: Vec<_> = lanes.iter().map(|lane| push(&broker, *lane, &job("a"))).collect();
    let told = answers(&pushes).await;
    for refused in [&told[0], &told[2]] {
        assert!(matches!(refused, Err(Error::Refused { word, .. }) if word == "WRONGTYPE"), "{refused:?}");
    }
    assert!(matches!(told[1], Ok(1)), "{told:?}");
}
