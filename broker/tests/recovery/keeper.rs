//! The rest of the keeper's work: promotion, `dead`, mailboxes, the sweep (traps 20, 21, 32).

use std::time::Duration;

use tempest_broker::KeeperOptions;

use crate::{
    scene::{broker, dead, hasty_keeper, held, hold, list, register},
    server::{Server, eventually},
};

/// Trap 21: a queue no front has a route for is looked after all the same.
#[tokio::test]
async fn jobs_that_are_due_return_to_their_lanes() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("SADD tempest:queues q");
    let far = broker.now_ms() + 3_600_000;
    for (due, job) in [
        (1, r#"{"action":"a","attempt":2}"#),
        (2, r#"{"action":"b","lane":"low"}"#),
        (far, r#"{"action":"c"}"#),
        (3, "no job"),
    ] {
        server.run(&["ZADD", "tempest:{q}:later", &due.to_string(), job]);
    }
    broker.keep(hasty_keeper()).looked(2).await;
    assert_eq!(list(&server, "tempest:{q}"), [r#"{"action":"a","attempt":2}"#]);
    assert_eq!(list(&server, "tempest:{q}:low"), [r#"{"action":"b","lane":"low"}"#]);
    assert_eq!(server.cli("ZRANGE tempest:{q}:later 0 -1").list(), [br#"{"action":"c"}"#]);
    assert_eq!(dead(&server)[0]["error"]["code"], "bad_job");
}

/// Trap 20: of several keepers one promotes each job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rival_keepers_promote_each_job_once() {
    let server = Server::start();
    server.cli("SADD tempest:queues q");
    let mut client = server.client();
    for job in 0..3_000 {
        client.run(&["ZADD", "tempest:{q}:later", "1", &format!(r#"{{"action":"a","args":{job}}}"#)]);
    }
    for _ in 0..3 {
        broker(server.url()).await.keep(hasty_keeper());
    }
    eventually("all are promoted", || server.cli("ZCARD tempest:{q}:later").integer() == 0);
    let mut jobs = list(&server, "tempest:{q}");
    assert_eq!(jobs.len(), 3_000);
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 3_000, "none twice");
}

#[tokio::test]
async fn a_job_that_cannot_be_promoted_stays() {
    let server = Server::start();
    let script = tempest_protocol::scripts::PROMOTE;
    server.run(&["ZADD", "tempest:{q}:later", "7", "job"]);
    server.cli("SET tempest:{q} oops");
    let answer = server.run(&["EVAL", script, "2", "tempest:{q}:later", "tempest:{q}", "job"]);
    assert!(format!("{answer:?}").contains("WRONGTYPE"), "{answer:?}");
    assert_eq!(server.cli("ZSCORE tempest:{q}:later job").text(), "7");
}

#[tokio::test]
async fn dead_is_bounded_by_number_and_age() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("SADD tempest:queues q");
    let now = broker.now_ms();
    let week = 7 * 24 * 3_600_000;
    server.run(&["ZADD", "tempest:{q}:dead", &(now - week - 1_000).to_string(), r#"{"n":"old"}"#]);
    for n in 0..15 {
        server.run(&["ZADD", "tempest:{q}:dead", &(now - 1_000 + n).to_string(), &format!(r#"{{"n":{n}}}"#)]);
    }
    broker.keep(KeeperOptions { dead_jobs_max: 10, ..hasty_keeper() }).looked(2).await;
    let kept: Vec<_> =
        dead(&server).iter().map(|entry| entry["n"].as_u64().expect("not the old one")).collect();
    assert_eq!(kept, (5..15).collect::<Vec<_>>(), "the oldest leave first");
}

/// Trap 32: the mailbox of a process that is gone does not stay for ever; one whose owner lives does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mailboxes_of_the_gone_are_removed() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let inbox = broker.open_inbox("front").await.unwrap();
    server.cli("SADD tempest:mailboxes gone");
    server.cli("RPUSH tempest:mailbox:{gone} reply");
    broker.keep(hasty_keeper()).looked(2).await;
    assert_eq!(server.cli("EXISTS tempest:mailbox:{gone}").integer(), 1, "not at once");
    tokio::task::block_in_place(|| {
        eventually("it is removed", || server.cli("EXISTS tempest:mailbox:{gone}").integer() == 0);
    });
    assert_eq!(server.cli("SISMEMBER tempest:mailboxes gone").integer(), 0);
    assert_eq!(server.run(&["SISMEMBER", "tempest:mailboxes", inbox.mailbox().as_str()]).integer(), 1);
}

/// Trap 8: a worker that claimed unregistered (a failover ate its registration) is found by the sweep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweep_finds_what_no_set_names() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    hold(&server, "orphan.3", br#"{"action":"a"}"#);
    server.run(&["RPUSH", "tempest:{q}:run:nobody", "x"]);
    server.cli("RPUSH tempest:mailbox:{unlisted} reply");
    let options = KeeperOptions { mailbox_idle: Duration::ZERO, ..hasty_keeper() };
    broker.keep(options);
    tokio::task::block_in_place(|| {
        eventually("the orphan is recovered", || held(&server, "orphan.3") == 0);
        eventually("the mailbox is removed", || {
            server.cli("EXISTS tempest:mailbox:{unlisted}").integer() == 0
        });
    });
    assert_eq!(list(&server, "tempest:{q}"), [r#"{"attempt":2,"action":"a"}"#]);
    assert!(server.cli("PTTL tempest:sweep").integer() > 3_000_000, "the next sweep is in an hour");
    assert_eq!(held(&server, "nobody"), 1, "a name that says no worker is left alone");
}

#[tokio::test]
async fn a_mailbox_in_use_is_not_swept() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("RPUSH tempest:mailbox:{fresh} reply");
    broker.keep(hasty_keeper()).looked(3).await;
    assert_eq!(server.cli("EXISTS tempest:sweep").integer(), 1);
    assert_eq!(server.cli("EXISTS tempest:mailbox:{fresh}").integer(), 1);
}

/// A queue somebody broke by hand does not keep the others from being looked after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_queue_harms_no_other() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("SADD tempest:queues broken");
    server.cli("SET tempest:{broken} oops");
    register(&server, "w.0", false);
    hold(&server, "w.0", br#"{"action":"a"}"#);
    broker.keep(hasty_keeper());
    tokio::task::block_in_place(|| eventually("recovered", || held(&server, "w.0") == 0));
}
