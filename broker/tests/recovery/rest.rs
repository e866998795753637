//! Workers that rest leave their leases to the supervisor of their process.

use std::{collections::HashSet, time::Duration};

use tempest_broker::Broker;
use tempest_protocol::limits;

use crate::{
    scene::{broker, hasty_keeper, hold, register},
    server::{Server, eventually},
};

const RESTING: &str = r#"{"lang":"rust","resting":true}"#;
/// What is left of a lease here that nobody has renewed.
const SHORT_MS: i64 = 1_500;

/// A worker whose lease will soon run out.
fn worker(server: &Server, worker: &str, about: &str) {
    register(server, &format!("{worker}.0"), false);
    server.run(&["SET", &lease(worker), about, "PX", &SHORT_MS.to_string()]);
}

fn lease(worker: &str) -> String {
    format!("tempest:{{q}}:lease:{worker}")
}

fn left_ms(server: &Server, worker: &str) -> i64 {
    server.run(&["PTTL", &lease(worker)]).integer()
}

fn shelter(broker: &Broker, tags: &[&str]) {
    broker.shelter(tags.iter().map(|tag| (*tag).to_owned()).collect::<HashSet<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_of_a_child_that_rests_is_renewed_and_no_other() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    worker(&server, "host-1-aa", RESTING);
    worker(&server, "host-1-aa-2", RESTING);
    worker(&server, "host-1-bb", RESTING);
    worker(&server, "host-1-cc", r#"{"resting":false}"#);
    worker(&server, "host-1-dd", "no json");
    worker(&server, "host-1-ee", RESTING);
    hold(&server, "host-1-ee.0", br#"{"action":"a"}"#);
    shelter(&broker, &["aa", "cc", "dd", "ee"]);
    broker.keep(hasty_keeper()).looked(2).await;
    for renewed in ["host-1-aa", "host-1-aa-2"] {
        assert!(left_ms(&server, renewed) > SHORT_MS, "{renewed}");
    }
    for left_alone in ["host-1-bb", "host-1-cc", "host-1-dd", "host-1-ee"] {
        assert!(left_ms(&server, left_alone) <= SHORT_MS, "{left_alone}");
    }
}

/// Redis may have stood still for longer than a lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ran_out_is_set_again_unless_its_worker_has_left() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    worker(&server, "host-1-aa", RESTING);
    worker(&server, "host-1-bb", RESTING);
    shelter(&broker, &["aa", "bb", "cc"]);
    let mut keeper = broker.keep(hasty_keeper());
    keeper.looked(2).await;
    register(&server, "host-1-cc.0", false);
    server.cli("SREM tempest:{q}:workers host-1-bb.0");
    server.run(&["DEL", &lease("host-1-aa"), &lease("host-1-bb")]);
    tokio::task::block_in_place(|| {
        eventually("it is there again", || left_ms(&server, "host-1-aa") > SHORT_MS);
    });
    assert_eq!(server.run(&["GET", &lease("host-1-aa")]).text(), RESTING);
    for gone in ["host-1-bb", "host-1-cc"] {
        assert_eq!(
            server.run(&["EXISTS", &lease(gone)]).integer(),
            0,
            "{gone} was never seen at rest, or has left"
        );
    }
}

/// A supervisor that does nothing any more keeps nobody alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_named_again_is_kept_no_longer() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    worker(&server, "host-1-aa", RESTING);
    shelter(&broker, &["aa"]);
    broker.keep(hasty_keeper()).looked(2).await;
    assert!(left_ms(&server, "host-1-aa") > SHORT_MS);
    tokio::time::sleep(limits::LEASE + Duration::from_millis(200)).await;
    let before = left_ms(&server, "host-1-aa");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(left_ms(&server, "host-1-aa") < before, "it is not renewed");
}
