//! Background jobs are pushed once, however often somebody asks.

use tempest_broker::{Broker, NewJob, Pushed, PushedUnique};
use tempest_protocol::{Action, Encoding, Envelope, Holds, Lane, Raw, Tag};

use crate::{
    harness::{broker, id, queue},
    proxy::{Fault, Proxy},
    server::Server,
};

fn new_job(name: &str, lane: Lane, due_ms: Option<u64>) -> NewJob {
    let envelope =
        Envelope { id: Some(id(name)), lane, ..Envelope::new(Action::new("echo").expect("a name")) };
    let frame = envelope.encode(&Raw::null(Encoding::Json));
    NewJob::new(&envelope, frame, due_ms).expect("it has an id")
}

async fn push(broker: &Broker, jobs: &[NewJob]) -> Vec<Pushed> {
    broker.enqueue(&queue(), jobs).await.expect("pushed")
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_go_where_they_belong_in_their_order() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    let mut jobs: Vec<_> =
        (0..200).map(|number| new_job(&format!("n{number}"), Lane::Normal, None)).collect();
    jobs.push(new_job("h", Lane::High, None));
    jobs.push(new_job("l", Lane::Low, Some(9_000_000_000_000)));
    jobs.push(new_job("n0", Lane::Normal, None));
    let pushed = push(&broker, &jobs).await;
    assert_eq!(pushed[..202], [Pushed::New; 202]);
    assert_eq!(pushed[202], Pushed::Known, "an id that was pushed in the same breath");
    let lane = server.run(&["LRANGE", "tempest:{default}", "0", "-1"]).list();
    let expected: Vec<_> = jobs[..200].iter().map(|job| job.frame().to_vec()).collect();
    assert_eq!(lane, expected);
    assert_eq!(server.cli("LLEN tempest:{default}:high").integer(), 1);
    assert_eq!(server.run(&["ZRANGE", "tempest:{default}:later", "0", "-1"]).list().len(), 1);
    assert_eq!(server.cli("HGET tempest:{default}:job:l due").text(), "9000000000000");
    assert!(server.cli("PTTL tempest:{default}:job:n7").integer() > 0);
    let lives_ms = server.cli("PTTL tempest:{default}:job:l").integer();
    let due_in_ms = 9_000_000_000_000 - broker.now_ms().cast_signed();
    assert!(lives_ms > due_in_ms, "the record outlives the delay");
}

/// Trap 9 has no bite here: what carries an id may be pushed again when the answer was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_whose_answer_was_lost_may_be_repeated() {
    let server = Server::start();
    let proxy = Proxy::start(server.port()).await;
    let broker = broker(&proxy.url()).await;
    let jobs: Vec<_> = (0..40).map(|number| new_job(&format!("n{number}"), Lane::Normal, None)).collect();
    push(&broker, &[new_job("first", Lane::Normal, None)]).await; // the script is known from here on
    proxy.prepare(Fault::lose_answer("n39"));
    broker.enqueue(&queue(), &jobs).await.expect_err("the answer is lost");
    broker.up().await;
    let pushed = push(&broker, &jobs).await;
    assert_eq!(pushed, [Pushed::Known; 40]);
    assert_eq!(server.cli("LLEN tempest:{default}").integer(), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_rivals_gets_a_unique_key() {
    let server = Server::start();
    let (broker, key) = (broker(&server.url()).await, Tag::new("k/1:2").expect("a name"));
    let rivals = (0..20).map(|number| {
        let (broker, key) = (broker.clone(), key.clone());
        tokio::spawn(async move {
            let job = new_job(&format!("n{number}"), Lane::Normal, None);
            broker.enqueue_unique(&queue(), &job, &key, Holds::Running, 60_000).await.expect("asked")
        })
    });
    let mut new = 0;
    for rival in rivals.collect::<Vec<_>>() {
        new += u32::from(rival.await.expect("no panic") == PushedUnique::Pushed(Pushed::New));
    }
    assert_eq!((new, server.cli("LLEN tempest:{default}").integer()), (1, 1));
}

/// Whose answer was lost pushes again: it is not told that its own push, or one that came after it, was in its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_unique_push_that_is_repeated_is_known_whoever_holds_the_key_by_then() {
    let server = Server::start();
    let (broker, key) = (broker(&server.url()).await, Tag::new("k").expect("a name"));
    let push = async |name: &str, holds| {
        let job = new_job(name, Lane::Normal, None);
        broker.enqueue_unique(&queue(), &job, &key, holds, 60_000).await.expect("asked")
    };
    let (new, known) = (PushedUnique::Pushed(Pushed::New), PushedUnique::Pushed(Pushed::Known));
    assert_eq!(push("a", Holds::Queued).await, new);
    assert_eq!(push("a", Holds::Queued).await, known);
    server.cli("DEL tempest:{default}:unique:k"); // a worker has started it
    assert_eq!(push("b", Holds::Queued).await, new);
    assert_eq!(push("a", Holds::Queued).await, known, "it runs, and the next one waits");
    server.cli("DEL tempest:{default}:job:b tempest:{default}:unique:k tempest:{default}");
    assert_eq!(push("b", Holds::Time).await, new);
    server.cli("DEL tempest:{default}:job:b"); // a worker has done it
    for holds in [Holds::Time, Holds::Running] {
        assert_eq!(push("b", holds).await, known, "it holds the key for its time");
    }
    assert_eq!(server.cli("LLEN tempest:{default}").integer(), 1);
    assert_eq!(push("c", Holds::Time).await, PushedUnique::Held(id("b")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_redis_has_forgotten_is_brought_along_again() {
    let server = Server::start();
    let broker = broker(&server.url()).await;
    push(&broker, &[new_job("a", Lane::Normal, None)]).await;
    server.cli("SCRIPT FLUSH");
    assert_eq!(push(&broker, &[new_job("b", Lane::Normal, None)]).await, [Pushed::New]);
    server.cli("SET tempest:{default}:high oops");
    let refused = broker.enqueue(&queue(), &[new_job("c", Lane::High, None)]).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("WRONGTYPE")));
    assert_eq!(server.cli("EXISTS tempest:{default}:job:c").integer(), 0, "no record without a job");
}
