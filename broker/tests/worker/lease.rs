//! Leases and beats.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tempest_broker::{Lease, Rest};
use tempest_protocol::limits;

use crate::{
    place::{Place, connect, name},
    proxy::Proxy,
    server::eventually,
};

async fn lease(place: &Place) -> Lease {
    let places = vec![(place.queue.clone(), 2)];
    place.broker.lease(place.worker.clone(), places, &json!({"state": "running"})).await.expect("a beat")
}

fn entries(place: &Place) -> Vec<String> {
    let mut entries: Vec<_> = place.server.run(&["SMEMBERS", "tempest:{q}:workers"]).list();
    entries.sort();
    entries.into_iter().map(|entry| String::from_utf8(entry).expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_beat_is_answered_before_the_lease_is_there() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    assert_eq!(entries(&place), ["host-1-abc.0", "host-1-abc.1"]);
    assert_eq!(place.server.cli("GET tempest:{q}:lease:host-1-abc").text(), r#"{"state":"running"}"#);
    let left = place.server.cli("PTTL tempest:{q}:lease:host-1-abc").integer();
    assert!((1..=3_000).contains(&left), "{left}");
    assert_eq!(place.server.cli("SMEMBERS tempest:queues").list(), [b"q"]);
    assert!(lease.confirmed_within(limits::LEASE));
    lease.set_about(&json!({"state": "draining"})).await.expect("a beat");
    assert_eq!(place.server.cli("GET tempest:{q}:lease:host-1-abc").text(), r#"{"state":"draining"}"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_beat_tells_the_jobs_in_hand() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    let in_hand = Arc::new(AtomicU64::new(1));
    let told = in_hand.clone();
    lease.tell(Rest::Slow, move || {
        let jobs = json!([{"id": told.load(Ordering::Relaxed).to_string()}]);
        [("jobs".to_owned(), jobs)].into_iter().collect()
    });
    for number in [2, 3] {
        in_hand.store(number, Ordering::Relaxed);
        let expected = json!({"state": "running", "jobs": [{"id": number.to_string()}]});
        let said = || place.server.cli("GET tempest:{q}:lease:host-1-abc").text();
        eventually("it is told", || serde_json::from_str::<serde_json::Value>(&said()).unwrap() == expected);
    }
    lease.beat_now().await.expect("a beat");
}

/// Who rests says so once more, and then nothing until there is something new to say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_no_beat_at_rest() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    let (resting, done) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let (rests, told) = (resting.clone(), done.clone());
    lease.tell(Rest::Kept, move || {
        let rests = rests.load(Ordering::Relaxed) == 1;
        [("resting".to_owned(), rests.into()), ("done".to_owned(), told.load(Ordering::Relaxed).into())]
            .into_iter()
            .collect()
    });
    let said = || place.server.cli("GET tempest:{q}:lease:host-1-abc").text();
    eventually("it says that it rests", || said().contains(r#""resting":true"#));
    let count = lease.beats().borrow().count;
    tokio::time::sleep(limits::BEAT * 2 + Duration::from_millis(300)).await;
    assert_eq!(lease.beats().borrow().count, count, "no beat");
    done.store(1, Ordering::Relaxed);
    eventually("what is new is told", || said().contains(r#""done":1"#));
    resting.store(0, Ordering::Relaxed);
    let count = lease.beats().borrow().count;
    eventually("it beats again", || lease.beats().borrow().count > count + 1);
}

/// Who rests without a supervisor beats more rarely, each time for longer; a job ends that at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beats_are_rare_and_last_longer_at_rest_and_a_job_ends_that() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    let resting = Arc::new(AtomicU64::new(1));
    let rests = resting.clone();
    lease.tell(Rest::Slow, move || {
        [("resting".to_owned(), (rests.load(Ordering::Relaxed) == 1).into())].into_iter().collect()
    });
    let left = || place.server.cli("PTTL tempest:{q}:lease:host-1-abc").integer();
    eventually("its lease lasts longer", || left() > 4_000);
    let mut beats = lease.beats();
    // That one may have been seen in Redis before it was confirmed here.
    beats.changed().await.expect("it beats all the same");
    let before = beats.borrow_and_update().sent;
    beats.changed().await.expect("it beats all the same");
    let apart = beats.borrow().sent.duration_since(before);
    assert!(apart >= limits::BEAT_IDLE, "{apart:?}");
    assert_eq!(lease.lapses(), 0, "no claim is held for stale");
    resting.store(0, Ordering::Relaxed);
    lease.wake();
    eventually("a beat says so", || left() <= 3_000);
    let count = lease.beats().borrow().count;
    lease.wake();
    assert_eq!(lease.beats().borrow().count, count, "who does not rest is not woken");
}

/// Trap 8: a registration that Redis forgot is there again with the next beat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_forgot_is_registered_again_within_a_beat() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    place.server.cli("FLUSHALL");
    let mut beats = lease.beats();
    beats.changed().await.expect("beats go on");
    beats.changed().await.expect("beats go on");
    assert_eq!(entries(&place).len(), 2);
    assert_eq!(place.server.cli("EXISTS tempest:{q}:lease:host-1-abc").integer(), 1);
    assert_eq!(place.server.cli("SISMEMBER tempest:queues q").integer(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_takes_everything_away_and_no_beat_brings_it_back() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    lease.leave().await.expect("left");
    tokio::time::sleep(limits::BEAT + Duration::from_millis(300)).await;
    assert!(entries(&place).is_empty());
    assert_eq!(place.server.cli("EXISTS tempest:{q}:lease:host-1-abc").integer(), 0);
}

/// Trap 11: a gap longer than a lease between two confirmed beats is told, however quickly the next one comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_longer_than_a_lease_is_told_as_a_lapse() {
    let mut place = Place::open().await;
    let proxy = Proxy::start(place.server.port()).await;
    place.broker = connect(&proxy.url()).await;
    let lease = lease(&place).await;
    assert_eq!(lease.lapses(), 0);
    proxy.stall(true);
    tokio::time::sleep(limits::LEASE + Duration::from_millis(500)).await;
    assert!(!lease.confirmed_within(limits::LEASE));
    proxy.stall(false);
    let mut beats = lease.beats();
    beats.mark_unchanged();
    tokio::time::timeout(Duration::from_secs(5), beats.changed())
        .await
        .expect("in time")
        .expect("beats go on");
    assert_eq!(lease.lapses(), 1);
    assert!(lease.confirmed_within(limits::LEASE));
}

/// Trap 10, a worker's half: it beats again at once when Redis is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beats_go_on_within_a_second_of_a_restart() {
    let mut place = Place::open().await;
    let lease = lease(&place).await;
    place.server.restart();
    let back = Instant::now();
    let registered = || place.server.cli("EXISTS tempest:{q}:lease:host-1-abc").integer() == 1;
    eventually("the lease is there again", registered);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(entries(&place).len(), 2);
    drop(lease);
}

/// A refused beat (the memory is full) is tried on, and is not taken for a confirmed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_beat_is_tried_again() {
    let place = Place::open().await;
    let lease = lease(&place).await;
    place.server.cli("CONFIG SET maxmemory 1");
    let error = lease.beat_now().await.expect_err("refused");
    assert!(error.to_string().contains("OOM"), "{error}");
    place.server.cli("CONFIG SET maxmemory 0");
    let before = lease.beats().borrow().count;
    eventually("a beat is confirmed", || lease.beats().borrow().count > before);
    assert_eq!(lease.worker(), &name("host-1-abc"));
}
