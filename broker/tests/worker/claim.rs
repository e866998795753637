//! Claims, looks and lost answers.

use std::time::{Duration, Instant};

use serde_json::json;
use tempest_broker::{Error, Lookout, Odd, Trouble};
use tempest_protocol::{Lane, limits};

use crate::{
    place::{Place, connect},
    proxy::{Act, Fault, Proxy, Way},
    server::{Client, eventually},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_moves_the_oldest_job_into_the_run_list() {
    let place = Place::open().await;
    place.server.cli("RPUSH tempest:{q} a b");
    let mut link = place.broker.claim_link();
    let job = link.claim(Lane::Normal, &place.run(0)).await.expect("claimed");
    assert_eq!(job.as_deref(), Some(&b"a"[..]));
    assert_eq!(place.list("tempest:{q}:run:host-1-abc.0"), ["a"]);
    assert_eq!(place.list("tempest:{q}"), ["b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_on_an_empty_lane_ends_after_the_block_with_nothing() {
    let place = Place::open().await;
    let mut link = place.broker.claim_link();
    let began = Instant::now();
    assert_eq!(link.claim(Lane::High, &place.run(0)).await.expect("an answer"), None);
    let took = began.elapsed();
    assert!(took >= limits::BLOCK && took < limits::BLOCK_ANSWER, "{took:?}");
}

/// A worker that waited in vain waits longer, and what is odd ends that: a job whose claim's answer was lost, a lease that
/// nobody has kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_claim_looks_whether_all_is_as_it_should_be() {
    let place = Place::open().await;
    let lookout = Lookout { worker: place.worker.clone(), empty: vec![place.run(0), place.run(1)] };
    let mut link = place.broker.claim_link();
    let places = vec![(place.queue.clone(), 2)];
    let lease = place.broker.lease(place.worker.clone(), places, &json!({})).await.expect("a beat");
    let began = Instant::now();
    let answer = link.claim_idle(Lane::Normal, &place.run(0), &lookout).await.expect("an answer");
    assert_eq!(answer, (None, None));
    assert!(began.elapsed() >= limits::BLOCK_IDLE, "{:?}", began.elapsed());
    place.server.run(&["RPUSH", place.run(1).key(), "lost"]);
    let began = Instant::now();
    let answer = link.claim_idle(Lane::Normal, &place.run(0), &lookout).await.expect("an answer");
    assert_eq!(answer, (None, Some(Odd::Jobs)));
    place.server.run(&["DEL", place.run(1).key()]);
    lease.leave().await.expect("left");
    place.server.cli("RPUSH tempest:{q} a");
    let answer = link.claim_idle(Lane::Normal, &place.run(0), &lookout).await.expect("an answer");
    assert_eq!(answer, (Some("a".into()), Some(Odd::Lease)));
    assert!(began.elapsed() < limits::BLOCK_IDLE, "both at once: {:?}", began.elapsed());
}

/// Who cannot be woken does not wait that long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_cannot_be_woken_stays_short() {
    let mut place = Place::open().await;
    let url = place.server.account("mute", &["~*", "&*", "+@all", "-client|id"].map(str::to_owned));
    place.broker = connect(&url).await;
    let lookout = Lookout { worker: place.worker.clone(), empty: vec![place.run(0)] };
    let began = Instant::now();
    let answer = place.broker.claim_link().claim_idle(Lane::Normal, &place.run(0), &lookout).await;
    assert_eq!(answer.expect("an answer"), (None, Some(Odd::Lease)));
    assert!(began.elapsed() < limits::BLOCK_IDLE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looks_take_as_much_as_there_is() {
    let place = Place::open().await;
    place.server.cli("RPUSH tempest:{q}:low a b");
    let runs = [place.run(0), place.run(1), place.run(2)];
    let jobs = place.broker.take(Lane::Low, &runs).await.expect("taken");
    assert_eq!(jobs.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(place.broker.held(&runs).await.expect("counted"), [1, 1, 0]);
    assert_eq!(place.broker.look(&runs[1]).await.expect("seen"), ["b"]);
}

/// Trap 28: a claim that blocks is woken at once; one whose Redis forbids that ends by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_claim_can_be_woken() {
    let place = Place::open().await;
    let mut link = place.broker.claim_link();
    let (id, run) = (link.id(), place.run(0));
    assert!(!place.broker.unblock(&id).await.expect("nothing blocks yet"));
    let claim = tokio::spawn(async move { (Instant::now(), link.claim(Lane::Normal, &run).await) });
    while !place.broker.unblock(&id).await.expect("permitted") {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (began, answer) = claim.await.expect("no panic");
    assert_eq!(answer.expect("woken, not broken"), None);
    assert!(began.elapsed() < limits::BLOCK, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_to_wake_a_claim_ends_by_itself() {
    let place = Place::open().await;
    place.server.run(&["ACL", "SETUSER", "w", "on", ">pw", "~*", "&*", "+@all", "-client|unblock"]);
    let broker = connect(&format!("redis://w:pw@127.0.0.1:{}", place.server.port())).await;
    let mut link = broker.claim_link();
    let (id, run) = (link.id(), place.run(0));
    let claim = tokio::spawn(async move { link.claim(Lane::Normal, &run).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!broker.unblock(&id).await.expect("not an error"));
    assert_eq!(claim.await.expect("no panic").expect("an answer"), None);
}

/// Traps 1 and 3: the answer to a claim is lost. The claim reports it, sends nothing again by itself, and the job is
/// where a look finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_is_lost_is_found_by_a_look() {
    let place = Place::open().await;
    let proxy = Proxy::start(place.server.port()).await;
    let broker = connect(&proxy.url()).await;
    let mut link = broker.claim_link();
    assert_eq!(link.claim(Lane::Low, &place.run(0)).await.expect("connected"), None);
    place.server.cli("RPUSH tempest:{q} x y");
    proxy.prepare(Fault::lose_answer("BLMOVE"));
    let error = link.claim(Lane::Normal, &place.run(0)).await.expect_err("cut");
    assert_eq!(error.trouble(), Trouble::Reconnect, "{error}");
    assert_eq!(place.broker.look(&place.run(0)).await.expect("seen"), ["x"]);
    assert_eq!(
        link.claim(Lane::Normal, &place.run(1)).await.expect("a new connection").as_deref(),
        Some(&b"y"[..])
    );
}

/// At every byte of a claim's answer the job is either known or found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_cut_of_an_answer_loses_a_job() {
    let place = Place::open().await;
    let proxy = Proxy::start(place.server.port()).await;
    let broker = connect(&proxy.url()).await;
    for bytes in 0..b"$2\r\nxx\r\n".len() {
        let mut link = broker.claim_link();
        place.server.cli("RPUSH tempest:{q} xx");
        let after = b"BLMOVE".to_vec();
        proxy.prepare(Fault { way: Way::Answer, after, bytes, act: Act::Cut });
        let answer = link.claim(Lane::Normal, &place.run(0)).await;
        assert!(answer.is_err(), "{bytes} of 8 bytes are no answer: {answer:?}");
        assert_eq!(place.broker.look(&place.run(0)).await.expect("seen"), ["xx"]);
        place.server.run(&["DEL", place.run(0).key()]);
        proxy.happened(bytes + 1).await;
    }
}

/// A Redis that falls silent: past the limit the connection is closed and never used again (trap 4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_given_up() {
    let place = Place::open().await;
    let proxy = Proxy::start(place.server.port()).await;
    let broker = connect(&proxy.url()).await;
    let mut link = broker.claim_link();
    let (after, act) = (b"BLMOVE".to_vec(), Act::Stall);
    proxy.prepare(Fault { way: Way::Answer, after, bytes: 0, act });
    let began = Instant::now();
    let error = link.claim(Lane::Normal, &place.run(0)).await.expect_err("silence");
    assert!(matches!(error, Error::Away(_)), "{error}");
    let took = began.elapsed();
    assert!(took >= limits::BLOCK_ANSWER && took < limits::BLOCK_ANSWER * 2, "{took:?}");
    place.server.cli("RPUSH tempest:{q} x");
    assert_eq!(
        link.claim(Lane::Normal, &place.run(1)).await.expect("a new connection").as_deref(),
        Some(&b"x"[..])
    );
}

/// A claim that is dropped closes its connection: it cannot take a job that nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_claim_takes_nothing_later() {
    let place = Place::open().await;
    let mut link = place.broker.claim_link();
    let limit = Duration::from_millis(300);
    assert!(tokio::time::timeout(limit, link.claim(Lane::Normal, &place.run(0))).await.is_err());
    let blocked = || place.server.cli("INFO clients").text().contains("blocked_clients:0");
    eventually("nothing blocks any more", blocked);
    place.server.cli("RPUSH tempest:{q} x");
    assert!(place.list(place.run(0).key()).is_empty());
}

/// Trap 30: what a failover does to a blocked claim means "connect anew".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_under_a_blocked_claim_is_a_reconnect() {
    let place = Place::open().await;
    let mut link = place.broker.claim_link();
    let run = place.run(0);
    let claim = tokio::spawn(async move {
        let first = link.claim(Lane::Normal, &run).await;
        let second = link.claim(Lane::Normal, &run).await;
        (first, second)
    });
    let mut admin = Client::connect(place.server.port()).expect("connected");
    eventually("the claim blocks", || admin.run(&["INFO", "clients"]).text().contains("blocked_clients:1"));
    place.server.cli("REPLICAOF 127.0.0.1 1");
    let (first, second) = claim.await.expect("no panic");
    assert_eq!(first.expect_err("unblocked").trouble(), Trouble::Reconnect);
    assert_eq!(second.expect_err("read only").trouble(), Trouble::Reconnect);
}

/// Trap 16: a full memory refuses claims, which is a reason to wait, not to connect anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_is_a_reason_to_wait() {
    let place = Place::open().await;
    place.server.cli("RPUSH tempest:{q} x");
    place.server.cli("CONFIG SET maxmemory 1");
    let mut link = place.broker.claim_link();
    let error = link.claim(Lane::Normal, &place.run(0)).await.expect_err("refused");
    assert_eq!(error.trouble(), Trouble::BackOff, "{error}");
    let error = place.broker.take(Lane::Normal, &[place.run(0)]).await.expect_err("refused");
    assert_eq!(error.trouble(), Trouble::BackOff, "{error}");
    assert_eq!(place.list("tempest:{q}"), ["x"]);
}
