//! How jobs leave their run lists.

use bytes::Bytes;
use tempest_broker::{Acked, Error, Trouble};
use tempest_protocol::Lane;

use crate::{
    place::{Place, connect},
    proxy::{Fault, Proxy},
    server::Answer,
};

const MAILBOX: &str = "tempest:mailbox:{m}";

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_and_its_ack_are_one_write() {
    let place = Place::open().await;
    let frame = place.hold("job");
    let settled = place.broker.answer_and_ack(MAILBOX, &bytes("reply"), &place.run(0), &frame).await;
    let settled = settled.expect("answered");
    assert!(settled.reply.is_ok());
    assert_eq!(settled.ack.expect("acked"), Acked::Done);
    assert_eq!(place.list(MAILBOX), ["reply"]);
    assert!(place.list(place.run(0).key()).is_empty());
}

/// Trap 2: the next claim may follow the ack in the same write, into the same slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_can_take_the_next_job_along() {
    let place = Place::open().await;
    place.server.cli("RPUSH tempest:{q}:high next");
    let frame = place.hold("job");
    for (lane, expected) in [(Lane::High, Some(&b"next"[..])), (Lane::High, None)] {
        let sent =
            place.broker.answer_ack_and_take(MAILBOX, &bytes("reply"), &place.run(0), &frame, lane).await;
        let (settled, next) = sent.expect("answered");
        assert!(settled.reply.is_ok() && settled.ack.is_ok());
        assert_eq!(next.expect("taken").as_deref(), expected);
    }
    assert_eq!(place.list(place.run(0).key()), ["next"]);
    place.server.cli("RPUSH tempest:{q}:high more");
    place.server.cli("CONFIG SET maxmemory 1");
    let reply = bytes("reply");
    let sent =
        place.broker.answer_ack_and_take(MAILBOX, &reply, &place.run(0), &bytes("next"), Lane::High).await;
    let (settled, next) = sent.expect("answered");
    assert!(settled.reply.is_err() && next.is_err());
    assert_eq!(settled.ack.expect("LREM is allowed"), Acked::Done);
}

/// Traps 1 and 2: an ack removes what was answered and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_removes_its_own_job_and_no_other() {
    let place = Place::open().await;
    let (first, second) = (place.hold("first"), place.hold("second"));
    assert_eq!(place.broker.ack(&place.run(0), &second).await.expect("acked"), Acked::Done);
    assert_eq!(place.list(place.run(0).key()), ["first"]);
    assert_eq!(place.broker.ack(&place.run(0), &second).await.expect("no error"), Acked::TakenAway);
    assert_eq!(place.broker.ack(&place.run(0), &first).await.expect("acked"), Acked::Done);
}

/// Trap 15: Redis may refuse the reply and carry out the ack; the two are told apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_reply_is_told_beside_an_ack_that_was_carried_out() {
    let place = Place::open().await;
    let frame = place.hold("job");
    place.server.cli("CONFIG SET maxmemory 1");
    let settled = place.broker.answer_and_ack(MAILBOX, &bytes("reply"), &place.run(0), &frame).await;
    let settled = settled.expect("answered");
    assert_eq!(settled.reply.expect_err("refused").trouble(), Trouble::BackOff);
    assert_eq!(settled.ack.expect("LREM is allowed"), Acked::Done);
    place.server.cli("CONFIG SET maxmemory 0");
    place.server.run(&["SET", MAILBOX, "not a list"]);
    let frame = place.hold("job");
    let settled = place.broker.answer_and_ack(MAILBOX, &bytes("reply"), &place.run(0), &frame).await;
    let settled = settled.expect("answered");
    assert_eq!(settled.reply.expect_err("refused").trouble(), Trouble::Operator);
    assert_eq!(settled.ack.expect("acked"), Acked::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_whose_answer_is_lost_is_reported_not_repeated() {
    let place = Place::open().await;
    let proxy = Proxy::start(place.server.port()).await;
    let broker = connect(&proxy.url()).await;
    let frame = place.hold("job");
    proxy.prepare(Fault::lose_answer("LREM"));
    let error =
        broker.answer_and_ack(MAILBOX, &bytes("reply"), &place.run(0), &frame).await.expect_err("cut");
    assert!(matches!(error, Error::Away(_)), "{error}");
    assert_eq!(place.list(MAILBOX), ["reply"]);
    broker.up().await;
    assert_eq!(broker.ack(&place.run(0), &frame).await.expect("connected again"), Acked::TakenAway);
}

/// Traps 12 and 27: back to the head of its own lane, bytes unchanged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_is_the_next_of_its_lane() {
    let place = Place::open().await;
    let frame = r#"{"action":"a","lane":"low","args":{"n":1.0}}"#;
    place.server.cli("RPUSH tempest:{q}:low next");
    place.hold(frame);
    let moved = place.broker.give_back(&place.run(0), Lane::Low).await.expect("moved");
    assert_eq!(moved.as_deref(), Some(frame.as_bytes()));
    assert_eq!(place.list("tempest:{q}:low"), [frame, "next"]);
    assert_eq!(place.broker.give_back(&place.run(0), Lane::Low).await.expect("no error"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_is_given_back_beside_one_that_runs() {
    let place = Place::open().await;
    place.hold("runs");
    place.hold("came");
    place.broker.give_back_newest(&place.run(0), Lane::High).await.expect("moved");
    assert_eq!(place.list("tempest:{q}:high"), ["came"]);
    assert_eq!(place.list(place.run(0).key()), ["runs"]);
}

/// Trap 20: both or none, and nothing is kept of a job that was taken away meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_is_put_off_or_kept_exactly_once() {
    let place = Place::open().await;
    let frame = place.hold("job");
    let again = place.broker.retry_later(&place.run(0), &frame, &bytes("again"), 1_234).await;
    assert_eq!(again.expect("put off"), Acked::Done);
    assert_eq!(place.server.cli("ZSCORE tempest:{q}:later again").text(), "1234");
    assert!(place.list(place.run(0).key()).is_empty());
    let twice = place.broker.retry_later(&place.run(0), &frame, &bytes("twice"), 1_234).await;
    assert_eq!(twice.expect("no error"), Acked::TakenAway);
    assert!(place.server.cli("ZSCORE tempest:{q}:later twice").is_nil());
    let frame = place.hold("job");
    assert_eq!(place.broker.bury(&place.run(0), &frame, &bytes("why"), 5).await.expect("kept"), Acked::Done);
    assert_eq!(place.server.cli("ZRANGE tempest:{q}:dead 0 -1").list(), [b"why"]);
}

/// An exchange whose answer was lost is made again: the first one's member must outlive the second's clean-up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_job_that_is_put_off_twice_is_kept() {
    let place = Place::open().await;
    let frame = place.hold("job");
    for (due_ms, acked) in [(1_000, Acked::Done), (2_000, Acked::TakenAway)] {
        let put = place.broker.retry_later(&place.run(0), &frame, &bytes("again"), due_ms).await;
        assert_eq!(put.expect("put off"), acked);
    }
    assert_eq!(place.server.cli("ZRANGE tempest:{q}:later 0 -1").list(), [b"again"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_half_refuses_the_whole() {
    let place = Place::open().await;
    let frame = place.hold("job");
    place.server.cli("CONFIG SET maxmemory 1");
    let refused = place.broker.retry_later(&place.run(0), &frame, &bytes("again"), 1).await;
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(place.list(place.run(0).key()), ["job"]);
    place.server.cli("CONFIG SET maxmemory 0");
    assert_eq!(place.broker.ack(&place.run(0), &frame).await.expect("acked"), Acked::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_job_is_the_next_of_its_lane_unless_it_was_taken_away() {
    let place = Place::open().await;
    place.server.cli("RPUSH tempest:{q} next");
    let frame = place.hold("job");
    let restarted = place.broker.restart(&place.run(0), &frame, &bytes("job2"), Lane::Normal, None).await;
    assert_eq!(restarted.expect("moved"), Acked::Done);
    assert_eq!(place.list("tempest:{q}"), ["job2", "next"]);
    let again = place.broker.restart(&place.run(0), &frame, &bytes("job2"), Lane::Normal, None).await;
    assert_eq!(again.expect("no error"), Acked::TakenAway);
    assert_eq!(place.list("tempest:{q}"), ["job2", "next"]);
    assert_eq!(place.server.cli("LLEN tempest:{q}"), Answer::Integer(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_taken_away_and_ended_is_not_said_to_wait_again() {
    let place = Place::open().await;
    let id = tempest_protocol::JobId::new("j").expect("a name");
    let restart = async |frame: &Bytes| {
        let again = bytes("job2");
        place.broker.restart(&place.run(0), frame, &again, Lane::Normal, Some(&id)).await.expect("answered")
    };
    assert_eq!(restart(&bytes("job")).await, Acked::TakenAway);
    assert_eq!(place.server.cli("EXISTS tempest:{q} tempest:{q}:job:j"), Answer::Integer(0));
    place.server.cli("HSET tempest:{q}:job:j state running worker w since 1");
    let frame = place.hold("job");
    assert_eq!(restart(&frame).await, Acked::Done);
    assert_eq!(place.list("tempest:{q}"), ["job2"]);
    let record = place.server.cli("HGETALL tempest:{q}:job:j").list();
    assert_eq!(record, [&b"state"[..], b"waiting"]);
}
