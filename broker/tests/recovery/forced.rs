//! A death that is known for sure: the supervisor saw it.

use tempest_broker::{Mode, Recovered};
use tempest_protocol::JobId;

use crate::{
    scene::{broker, dead, held, hold, list, queue, register, reply},
    server::Server,
};

const CAUSE: &str = "killed by signal 9 (SIGKILL)";

/// Traps 7 and 12: slots are found by their registration; each job returns to the head of its own lane.
#[tokio::test]
async fn each_job_returns_to_the_head_of_its_lane_with_attempt_raised() {
    let server = Server::start();
    server.run(&["RPUSH", "tempest:{q}", r#"{"action":"waiting"}"#]);
    register(&server, "h-1-abc.0", true);
    register(&server, "h-1-abc.7", true);
    hold(&server, "h-1-abc.0", br#"{"action":"a"}"#);
    hold(&server, "h-1-abc.0", br#"{"action":"b"}"#);
    hold(&server, "h-1-abc.7", br#"{"action":"c","attempt":1,"lane":"high"}"#);
    hold(&server, "h-1-abc.7", br#"{"action":"d","attempt":2,"lane":"low"}"#);
    let broker = broker(server.url()).await;
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(recovered, Recovered { requeued: 4, ..Recovered::default() });
    let normal =
        [r#"{"attempt":2,"action":"a"}"#, r#"{"attempt":2,"action":"b"}"#, r#"{"action":"waiting"}"#];
    assert_eq!(list(&server, "tempest:{q}"), normal);
    assert_eq!(list(&server, "tempest:{q}:high"), [r#"{"action":"c","attempt":2,"lane":"high"}"#]);
    assert_eq!(list(&server, "tempest:{q}:low"), [r#"{"action":"d","attempt":3,"lane":"low"}"#]);
    assert_eq!((held(&server, "h-1-abc.0"), held(&server, "h-1-abc.7")), (0, 0));
    assert_eq!(server.cli("EXISTS tempest:{q}:lease:h-1-abc").integer(), 0);
    let again = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(again.total(), 0, "a second time finds nothing");
}

#[tokio::test]
async fn workers_of_other_children_are_left_alone() {
    let server = Server::start();
    for entry in ["h-1-abc.0", "h-1-abc-2.0", "h-2-xabc.0", "h-3-abcd.0"] {
        register(&server, entry, true);
        hold(&server, entry, format!(r#"{{"action":"{entry}"}}"#).as_bytes());
    }
    let broker = broker(server.url()).await;
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(recovered.requeued, 2);
    assert_eq!((held(&server, "h-2-xabc.0"), held(&server, "h-3-abcd.0")), (1, 1));
    assert_eq!(server.cli("EXISTS tempest:{q}:lease:h-2-xabc").integer(), 1);
}

/// Trap 5: every byte but the attempt stays, in both encodings.
#[tokio::test]
async fn frames_are_not_touched_by_lua() {
    let server = Server::start();
    let json =
        br#"{ "action":"a","attempt": 1 ,"args":{"big":9007199254740993,"one":1.0,"e":[],"m":{},"m":[ ]}}"#;
    let msgpack = b"\x83\xa6action\xa1a\xa7attempt\x01\xa4args\x93\xc4\x03\x00\xff\x80\x80\xc0";
    register(&server, "h-1-abc.0", true);
    hold(&server, "h-1-abc.0", json);
    hold(&server, "h-1-abc.0", msgpack);
    broker(server.url()).await.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    let lane = server.run(&["LRANGE", "tempest:{q}", "0", "-1"]).list();
    let json = String::from_utf8_lossy(json).replace(r#""attempt": 1 "#, r#""attempt": 2 "#);
    assert_eq!(lane[0], json.as_bytes());
    assert_eq!(lane[1], b"\x83\xa6action\xa1a\xa7attempt\x02\xa4args\x93\xc4\x03\x00\xff\x80\x80\xc0");
}

/// Trap 13: a recoverer needs no route policy, only the envelope.
#[tokio::test]
async fn attempts_decide_between_replay_answer_and_dead() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    let to = r#""reply_to":"tempest:mailbox:{m}""#;
    for frame in [
        format!(r#"{{"id":"post",{to},"action":"url"}}"#),
        format!(r#"{{"id":"get",{to},"action":"url","attempts":2}}"#),
        format!(r#"{{{to},"action":"nobody-can-be-told"}}"#),
        r#"{"id":"mail","action":"mail","attempt":3}"#.to_owned(),
    ] {
        hold(&server, "h-1-abc.0", frame.as_bytes());
    }
    let broker = broker(server.url()).await;
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(recovered, Recovered { requeued: 1, answered: 1, buried: 1, dropped: 1 });
    let answer = reply(&server, "tempest:mailbox:{m}");
    assert_eq!(answer["id"], "post");
    assert_eq!(answer["attempt"], 1);
    assert_eq!(answer["error"]["code"], "worker_lost");
    assert_eq!(answer["error"]["message"], CAUSE);
    let requeued = list(&server, "tempest:{q}");
    assert!(requeued.len() == 1 && requeued[0].contains("\"get\""), "{requeued:?}");
    let dead = dead(&server);
    assert_eq!(dead.len(), 1, "what somebody waited for never enters dead");
    assert_eq!(dead[0]["id"], "mail");
    assert_eq!(dead[0]["error"]["code"], "worker_lost");
    assert!(dead[0]["died_at"].as_u64().is_some());
}

#[tokio::test]
async fn a_reply_keeps_the_encoding_of_its_job() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    hold(&server, "h-1-abc.0", b"\x83\xa6action\xa1a\xa2id\xa1i\xa8reply_to\xb3tempest:mailbox:{m}");
    broker(server.url()).await.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    let replies = server.run(&["LRANGE", "tempest:mailbox:{m}", "0", "-1"]).list();
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0][0] & 0xf0, 0x80, "a MessagePack map");
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_run_again() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    hold(
        &server,
        "h-1-abc.0",
        br#"{"id":"w","reply_to":"tempest:mailbox:{m}","action":"a","deadline":5,"attempts":9}"#,
    );
    hold(&server, "h-1-abc.0", br#"{"id":"b","action":"a","deadline":5}"#);
    let broker = broker(server.url()).await;
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(recovered, Recovered { buried: 1, dropped: 1, ..Recovered::default() });
    assert_eq!(server.cli("EXISTS tempest:mailbox:{m}").integer(), 0);
    assert_eq!(dead(&server)[0]["error"]["code"], "expired");
}

/// Trap 19, seen from recovery: bytes that are no job must not be recovered for ever.
#[tokio::test]
async fn bytes_that_are_no_job_are_kept_in_dead() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    hold(&server, "h-1-abc.0", b"\xff\x00 no job");
    hold(&server, "h-1-abc.0", br#"{"args":1}"#);
    let broker = broker(server.url()).await;
    assert_eq!(broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap().buried, 2);
    let dead = dead(&server);
    assert!(dead.iter().all(|entry| entry["error"]["code"] == "bad_job"), "{dead:?}");
    assert!(dead.iter().all(|entry| entry["raw_base64"].is_string()), "{dead:?}");
}

/// Trap 14: what was cancelled does not run again for a client who is gone.
#[tokio::test]
async fn cancelled_jobs_vanish() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    hold(
        &server,
        "h-1-abc.0",
        br#"{"id":"gone","reply_to":"tempest:mailbox:{m}","action":"a","attempts":5}"#,
    );
    hold(&server, "h-1-abc.0", br#"{"id":"other","action":"a"}"#);
    let broker = broker(server.url()).await;
    let cancelled = [JobId::new("gone").unwrap()];
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Drop(&cancelled)).await.unwrap();
    assert_eq!(recovered, Recovered { requeued: 1, dropped: 1, ..Recovered::default() });
    assert_eq!(server.cli("EXISTS tempest:mailbox:{m}").integer(), 0);
}

/// The same where whoever recovers was not told by whoever killed, but said or heard the cancel.
#[tokio::test]
async fn what_this_process_cancelled_or_heard_to_be_vanishes() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    for id in ["said", "heard", "other"] {
        hold(&server, "h-1-abc.0", format!(r#"{{"id":"{id}","action":"a"}}"#).as_bytes());
    }
    let broker = broker(server.url()).await;
    let mut controls = broker.controls(&[queue()]).await;
    broker.tell_cancelled(&queue(), &JobId::new("said").unwrap(), None).await.unwrap();
    server.run(&["PUBLISH", "tempest:{q}:control", "cancel heard"]);
    controls.next().await;
    controls.next().await;
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(recovered, Recovered { requeued: 1, dropped: 2, ..Recovered::default() });
    assert!(list(&server, "tempest:{q}")[0].contains("other"));
}

/// More jobs than one page, in many queues; measured, not judged.
#[tokio::test]
async fn many_queues_and_slots_are_recovered_in_one_go() {
    let server = Server::start();
    let mut client = server.client();
    for queue in 0..20 {
        client.run(&["SADD", "tempest:queues", &format!("q{queue}")]);
        for slot in 0..8 {
            let entry = format!("h-1-abc.{slot}");
            client.run(&["SADD", &format!("tempest:{{q{queue}}}:workers"), &entry]);
            client.run(&["RPUSH", &format!("tempest:{{q{queue}}}:run:{entry}"), r#"{"action":"a"}"#]);
        }
    }
    let long = (0..200).map(|n| format!(r#"{{"id":"{n}","action":"a"}}"#));
    for frame in long {
        client.run(&["RPUSH", "tempest:{q0}:run:h-1-abc.0", &frame]);
    }
    let broker = broker(server.url()).await;
    let begun = std::time::Instant::now();
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    println!("recovered {} jobs of 20 queues in {:?}", recovered.total(), begun.elapsed());
    assert_eq!(recovered.requeued, 20 * 8 + 200);
    assert_eq!(client.run(&["LLEN", "tempest:{q0}"]).integer(), 208);
}

/// At `maxmemory` Redis refuses to add, but what is removed first makes room: nothing is lost on the way.
#[tokio::test]
async fn recovery_works_when_redis_is_out_of_memory() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    hold(&server, "h-1-abc.0", br#"{"action":"a"}"#);
    let broker = broker(server.url()).await;
    server.cli("CONFIG SET maxmemory 1");
    assert!(format!("{:?}", server.cli("SET k v")).contains("OOM"));
    let recovered = broker.recover_tag("abc", CAUSE, Mode::Requeue).await;
    server.cli("CONFIG SET maxmemory 0");
    let waiting = list(&server, "tempest:{q}").len() + usize::try_from(held(&server, "h-1-abc.0")).unwrap();
    assert_eq!(waiting, 1, "{recovered:?}");
    broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap();
    assert_eq!(list(&server, "tempest:{q}"), [r#"{"attempt":2,"action":"a"}"#]);
}

/// A lane that is no list refuses the job: it must stay where it was.
#[tokio::test]
async fn a_job_that_cannot_be_put_stays_where_it_was() {
    let server = Server::start();
    register(&server, "h-1-abc.0", true);
    hold(&server, "h-1-abc.0", br#"{"action":"a"}"#);
    server.cli("SET tempest:{q} oops");
    let broker = broker(server.url()).await;
    assert!(broker.recover_tag("abc", CAUSE, Mode::Requeue).await.is_err());
    assert_eq!(held(&server, "h-1-abc.0"), 1);
    server.cli("DEL tempest:{q}");
    assert_eq!(broker.recover_tag("abc", CAUSE, Mode::Requeue).await.unwrap().requeued, 1);
}
