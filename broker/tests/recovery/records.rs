//! What recovery and promotion do to the records of background jobs, their unique keys and their groups.

use bytes::Bytes;
use tempest_broker::{Broker, End, Mode, NewJob, Pushed, State};
use tempest_protocol::{Code, Encoding, Failure, Group, Job, JobId, Keys, Queue, Raw, dead, limits};

use crate::{
    scene::{broker, dead as dead_jobs, hasty_keeper, hold, list, queue, register},
    server::{Server, eventually},
};

const CAUSE: &str = "killed by signal 9 (SIGKILL)";

fn id(name: &str) -> JobId {
    JobId::new(name).expect("a name")
}

fn decoded(frame: &str) -> Job {
    Job::decode(Bytes::copy_from_slice(frame.as_bytes()), &Keys::default()).expect("a job")
}

async fn state(broker: &Broker, name: &str) -> Option<State> {
    broker.record(&queue(), &id(name)).await.expect("asked").map(|record| record.state)
}

#[tokio::test]
async fn a_job_that_returns_waits_again_and_one_that_is_given_up_is_dead() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "h-1-abc.0", true);
    let fields = ["state", "running", "worker", "h-1-abc", "since", "1"];
    for name in ["again", "last"] {
        server.run(&[&["HSET", &format!("tempest:{{q}}:job:{name}")][..], &fields[..]].concat());
    }
    hold(&server, "h-1-abc.0", br#"{"id":"again","action":"a"}"#);
    hold(&server, "h-1-abc.0", br#"{"id":"last","action":"a","attempt":3,"unique":"bob"}"#);
    server.cli("SET tempest:{q}:unique:bob last PX 60000");
    broker.recover_tag("abc", CAUSE, Mode::Requeue).await.expect("recovered");
    let again = broker.record(&queue(), &id("again")).await.expect("asked").expect("a record");
    assert_eq!((again.state, again.worker), (State::Waiting, None));
    let last = broker.record(&queue(), &id("last")).await.expect("asked").expect("a record");
    assert_eq!(
        (last.state, last.failure.map(|failure| failure.code)),
        (State::Dead, Some("worker_lost".into()))
    );
    assert!(last.expires_in.is_some() && last.died_at_ms.is_some());
    assert_eq!(server.cli("EXISTS tempest:{q}:unique:bob").integer(), 0, "the dead hold no key");
    let member = server.run(&["ZRANGE", "tempest:{q}:dead", "0", "-1"]).list().remove(0);
    let revived = dead::revived(&member.into(), 7, &Keys::default()).expect("a job");
    assert_eq!(revived.envelope.attempt, 1);
}

#[tokio::test]
async fn a_cancelled_job_leaves_no_record() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "h-1-abc.0", true);
    server.cli("HSET tempest:{q}:job:gone state running");
    hold(&server, "h-1-abc.0", br#"{"id":"gone","action":"a"}"#);
    broker.recover_tag("abc", CAUSE, Mode::Drop(&[id("gone")])).await.expect("recovered");
    assert_eq!(state(&broker, "gone").await, None);
}

/// A record is for whoever looks: a worker that was taken for dead does not write into it.
#[tokio::test]
async fn who_lost_its_job_neither_ends_it_nor_says_that_it_runs() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let frame = r#"{"id":"j","action":"a","keep":60000}"#;
    server.run(&["RPUSH", "tempest:{q}", frame]);
    server.cli("HSET tempest:{q}:job:j state waiting");
    let run = broker.run_list_of(&queue(), "w.0");
    assert!(!broker.begin(&run, &decoded(frame), 1).await.expect("asked"));
    let end = End::Done { reply: Some(Bytes::from_static(b"{}")), done_at_ms: 1, work_us: None };
    let acked = broker.end(&run, &decoded(frame), &end).await.expect("asked");
    assert_eq!(acked, tempest_broker::Acked::TakenAway);
    assert_eq!(state(&broker, "j").await, Some(State::Waiting));
    assert_eq!(server.cli("EXISTS tempest:{q}:job:j:result").integer(), 0);
}

/// Redis may be away when a job starts that holds its key until then.
#[tokio::test]
async fn who_could_not_say_that_it_starts_lets_its_key_go_at_the_end() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    register(&server, "h-1-abc.0", true);
    let frame = r#"{"id":"j","action":"a","attempts":1,"keep":60000,"unique":"bob","unique_while":"queued"}"#;
    let (run, job) = (broker.run_list_of(&queue(), "h-1-abc.0"), decoded(frame));
    let is_held = || {
        hold(&server, "h-1-abc.0", frame.as_bytes());
        server.cli("SET tempest:{q}:unique:bob j PX 60000");
    };
    is_held();
    let end = End::Done { reply: None, done_at_ms: 1, work_us: None };
    broker.end(&run, &job, &end).await.expect("asked");
    assert_eq!(server.cli("EXISTS tempest:{q}:unique:bob").integer(), 0, "it is done");
    is_held();
    broker.recover_tag("abc", CAUSE, Mode::Requeue).await.expect("recovered");
    assert_eq!(state(&broker, "j").await, Some(State::Dead));
    assert_eq!(server.cli("EXISTS tempest:{q}:unique:bob").integer(), 0, "it is dead");
}

/// A handler may leave something behind that goes on telling.
#[tokio::test]
async fn what_is_told_of_a_job_that_has_ended_is_written_nowhere() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let tell = async || {
        let told = broker.tell_progress(&queue(), &id("j"), "7").await.expect("asked");
        (told, broker.write_log(&queue(), &id("j"), "a line").await.expect("asked"))
    };
    assert_eq!(tell().await, (false, false));
    assert_eq!(server.cli("EXISTS tempest:{q}:job:j tempest:{q}:job:j:log").integer(), 0);
    for ended in ["done", "dead", "later"] {
        server.run(&["HSET", "tempest:{q}:job:j", "state", ended]);
        server.cli("PEXPIRE tempest:{q}:job:j 60000");
        assert_eq!(tell().await, (false, false), "{ended}");
        assert!(server.cli("PTTL tempest:{q}:job:j").integer() <= 60_000, "{ended}: kept as long as it was");
        assert_eq!(server.cli("EXISTS tempest:{q}:job:j:log").integer(), 0, "{ended}");
    }
    server.cli("HSET tempest:{q}:job:j state running");
    assert_eq!(tell().await, (true, true));
    assert_eq!(server.cli("HGET tempest:{q}:job:j progress").text(), "7");
    for key in ["tempest:{q}:job:j", "tempest:{q}:job:j:log"] {
        assert!(server.run(&["PTTL", key]).integer() > 60_000, "{key}");
    }
    for line in 0..1_005 {
        assert!(broker.write_log(&queue(), &id("j"), &line.to_string()).await.expect("written"));
    }
    let lines = list(&server, "tempest:{q}:job:j:log");
    assert_eq!((lines.len(), lines[0].as_str(), lines[999].as_str()), (1_000, "5", "1004"));
    let long = "x".repeat(5_000);
    broker.write_log(&queue(), &id("j"), &long).await.expect_err("too long");
}

/// It runs elsewhere, or waits again: its record is that of a living job.
#[tokio::test]
async fn who_may_have_lost_its_job_removes_its_record_only_if_it_has_not() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let (frame, run) =
        (Bytes::from_static(br#"{"id":"j","action":"a"}"#), broker.run_list_of(&queue(), "w.0"));
    server.cli("HSET tempest:{q}:job:j state waiting");
    server.cli("RPUSH tempest:{q}:job:j:log line");
    let traces = tempest_broker::Traces { id: id("j"), has_log: false };
    let finish = async || broker.finish_if_held(&run, &frame, &traces).await.expect("asked");
    assert_eq!(finish().await, tempest_broker::Acked::TakenAway);
    assert_eq!(state(&broker, "j").await, Some(State::Waiting));
    hold(&server, "w.0", &frame);
    assert_eq!(finish().await, tempest_broker::Acked::Done);
    assert_eq!(server.cli("EXISTS tempest:{q}:run:w.0 tempest:{q}:job:j tempest:{q}:job:j:log").integer(), 0);
}

#[tokio::test]
async fn what_ends_twice_is_put_off_once() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let frame = r#"{"id":"j","action":"a"}"#;
    hold(&server, "w.0", frame.as_bytes());
    let (run, job) = (broker.run_list_of(&queue(), "w.0"), decoded(frame));
    let failure = Failure { code: "broken".into(), message: "no luck".into() };
    let end = End::Later { member: dead::later(&job), due_ms: 4_000_000_000_000, failure };
    for _ in 0..2 {
        broker.end(&run, &job, &end).await.expect("asked");
    }
    assert_eq!(server.cli("ZCARD tempest:{q}:later").integer(), 1);
    let record = broker.record(&queue(), &id("j")).await.expect("asked").expect("a record");
    assert_eq!((record.state, record.due_ms), (State::Later, Some(4_000_000_000_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_are_due_at_once_are_promoted_once_by_two_keepers() {
    let server = Server::start();
    let (one, two) = (broker(server.url()).await, broker(server.url()).await);
    let due_ms = one.now_ms() + 400;
    let jobs: Vec<_> = (0..20_000)
        .map(|number| {
            let job = decoded(&format!(r#"{{"id":"j{number}","action":"a"}}"#));
            NewJob::new(&job.envelope, job.frame().clone(), Some(due_ms)).expect("it has an id")
        })
        .collect();
    one.announce(&[queue()]).await.expect("said");
    let pushed = one.enqueue(&queue(), &jobs).await.expect("pushed");
    assert!(pushed.iter().all(|pushed| *pushed == Pushed::New));
    assert_eq!(state(&one, "j7").await, Some(State::Later));
    one.keep(hasty_keeper());
    two.keep(hasty_keeper());
    eventually("all are promoted", || server.cli("ZCARD tempest:{q}:later").integer() == 0);
    let mut jobs = list(&server, "tempest:{q}");
    jobs.sort();
    jobs.dedup();
    assert_eq!(jobs.len(), 20_000, "each once");
    assert_eq!(server.cli("LLEN tempest:{q}").integer(), 20_000);
    assert_eq!(state(&one, "j7").await, Some(State::Waiting));
}

/// A worker may die between any two steps at the end of a group; whoever runs its job again does the rest.
#[tokio::test]
async fn a_group_ends_once_however_often_its_last_job_is_counted() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let group = (queue(), Group::new("g").expect("a name"));
    let then = Bytes::from_static(br#"{"id":"end","action":"sum"}"#);
    broker.open_group(&group.0, &group.1, &[id("a"), id("b")], &then).await.expect("opened");
    let result = |number: u64| Raw::encode(Encoding::Json, &number).expect("JSON");
    broker.count_in_group(&group, &id("b"), &result(2)).await.expect("counted");
    broker.count_in_group(&group, &id("b"), &result(9)).await.expect("counted again");
    assert_eq!(list(&server, "tempest:{q}"), [""; 0]);
    // Counted, but whoever counted died before it could end the group.
    let keys = Keys::default();
    let [hash, pending, results] =
        [keys.group(&group.0, &group.1), keys.pending(&group.0, &group.1), keys.results(&group.0, &group.1)];
    let count = tempest_protocol::scripts::COUNT;
    assert_eq!(server.run(&["EVAL", count, "3", &hash, &pending, &results, "a", "1", "99"]).integer(), 0);
    for _ in 0..3 {
        broker.count_in_group(&group, &id("a"), &result(1)).await.expect("counted");
    }
    let pushed = list(&server, "tempest:{q}");
    assert_eq!(pushed.len(), 1);
    let ends: serde_json::Value = serde_json::from_str(&pushed[0]).expect("JSON");
    assert_eq!((&ends["id"], &ends["input"]), (&"end".into(), &serde_json::json!([1, 2])));
    assert_eq!(state(&broker, "end").await, Some(State::Waiting));
}

/// Found by reading: up to 10,000 results of any size became one job.
#[tokio::test]
async fn a_result_that_does_not_fit_into_its_group_is_not_counted() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let group = (queue(), Group::new("g").expect("a name"));
    let then = Bytes::from_static(br#"{"id":"end","action":"sum"}"#);
    broker.open_group(&group.0, &group.1, &[id("a"), id("b"), id("c")], &then).await.expect("opened");
    let text = |bytes: usize| Raw::encode(Encoding::Json, &"x".repeat(bytes - 2)).expect("JSON");
    let half = limits::GROUP_RESULTS_BYTES_MAX / 2;
    broker.count_in_group(&group, &id("a"), &text(half)).await.expect("counted");
    for bytes in [half + 1, limits::GROUP_RESULTS_BYTES_MAX + 1] {
        let error = broker.count_in_group(&group, &id("b"), &text(bytes)).await.expect_err("no room");
        assert_eq!(error.code(), Code::TooLarge, "{error}");
        assert!(error.to_string().contains("group q:g"), "{error}");
    }
    broker.count_in_group(&group, &id("a"), &text(half + 1)).await.expect("it is counted already");
    broker.count_in_group(&group, &id("b"), &text(half)).await.expect("it fits to the byte");
    let error = broker.count_in_group(&group, &id("c"), &text(2)).await.expect_err("no room");
    assert_eq!(error.code(), Code::TooLarge);
    assert_eq!(server.cli("SMEMBERS tempest:{q}:group:g:pending").list(), [b"c"]);
    assert_eq!(list(&server, "tempest:{q}"), [""; 0]);
    let removed = decoded(r#"{"id":"c","action":"a","group":"q:g"}"#);
    broker.leave_groups([&removed]).await.expect("left");
    let ends: serde_json::Value = serde_json::from_str(&list(&server, "tempest:{q}")[0]).expect("JSON");
    let lengths: Vec<_> = (0..3).map(|at| ends["input"][at].as_str().map(str::len)).collect();
    assert_eq!(lengths, [Some(half - 2), Some(half - 2), None]);
}

/// A worker that was ended because its job was cancelled counts it no more.
#[tokio::test]
async fn a_cancelled_job_that_its_worker_did_not_end_leaves_its_group_in_recovery() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let group = Group::new("g").expect("a name");
    let then = Bytes::from_static(br#"{"id":"end","action":"sum"}"#);
    broker.open_group(&queue(), &group, &[id("gone"), id("again")], &then).await.expect("opened");
    register(&server, "h-1-abc.0", true);
    for name in ["gone", "again"] {
        hold(&server, "h-1-abc.0", format!(r#"{{"id":"{name}","action":"a","group":"q:g"}}"#).as_bytes());
    }
    broker.recover_tag("abc", CAUSE, Mode::Drop(&[id("gone")])).await.expect("recovered");
    assert_eq!(server.cli("SMEMBERS tempest:{q}:group:g:pending").list(), [b"again"]);
    register(&server, "h-1-abc.0", true);
    hold(&server, "h-1-abc.0", br#"{"id":"again","action":"a","group":"q:g"}"#);
    server.cli("DEL tempest:{q}");
    broker.recover_tag("abc", CAUSE, Mode::Drop(&[id("again")])).await.expect("recovered");
    let ends: serde_json::Value = serde_json::from_str(&list(&server, "tempest:{q}")[0]).expect("JSON");
    assert_eq!((&ends["id"], &ends["input"]), (&"end".into(), &serde_json::json!([null, null])));
}

/// Jobs that were set aside for a key do not wait for ever when whoever ran the others died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_aside_comes_back_when_nobody_returns_it() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("SADD tempest:queues q");
    server.cli("SADD tempest:{q}:key:bob h-1-dead.0");
    server.cli("SADD tempest:{q}:asides bob");
    for number in 0..2 {
        let job = format!(r#"{{"id":"j{number}","action":"a","key":"bob","lane":"high"}}"#);
        server.run(&["RPUSH", "tempest:{q}:aside:bob", &job]);
    }
    broker.keep(hasty_keeper());
    eventually("both are back", || server.cli("LLEN tempest:{q}:high").integer() == 2);
    assert_eq!(server.cli("EXISTS tempest:{q}:asides").integer(), 0);
    assert!(dead_jobs(&server).is_empty());
}

#[tokio::test]
async fn limits_give_out_no_more_than_they_have_and_sweep_what_is_free() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let runs: Vec<_> = (0..5).map(|slot| broker.run_list_of(&queue(), &format!("w.{slot}"))).collect();
    for number in 0..9 {
        server.run(&["RPUSH", "tempest:{q}", &number.to_string()]);
    }
    server.cli("HSET tempest:{q}:limits concurrency 2");
    let take =
        async || broker.take_within_limits(tempest_protocol::Lane::Normal, &runs).await.expect("asked");
    let jobs = |names: &[&str]| {
        tempest_broker::Took::Jobs(names.iter().map(|name| Bytes::copy_from_slice(name.as_bytes())).collect())
    };
    assert_eq!(take().await, jobs(&["0", "1"]));
    assert_eq!(take().await, tempest_broker::Took::Full);
    server.run(&["LREM", runs[0].key(), "1", "0"]);
    assert_eq!(take().await, jobs(&["2"]));
    server.cli("HSET tempest:{q}:limits paused 1");
    assert_eq!(take().await, tempest_broker::Took::Paused);
    let limits = broker.limits_of([&queue(), &Queue::new("other").expect("a name")]).await.expect("asked");
    let governed: Vec<_> = limits.iter().map(tempest_broker::QueueLimits::is_limited).collect();
    assert_eq!(governed, [true, false]);
}

/// How often a command was carried out.
fn calls(server: &Server, command: &str) -> u64 {
    let stats = server.run(&["INFO", "commandstats"]).text();
    let of = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    of.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// A worker that ends its job goes on at once, and nobody looks through all places for it.
#[tokio::test]
async fn who_asks_gives_up_its_own_place_and_one_of_all_looks_for_those_of_others() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    let run = |slot: u8| broker.run_list_of(&queue(), &format!("w.{slot}"));
    let take = async |slot| {
        let took = broker.take_within_limits(tempest_protocol::Lane::Normal, &[run(slot)]).await;
        took.expect("asked")
    };
    let job = |name: &'static str| tempest_broker::Took::Jobs(vec![Bytes::from_static(name.as_bytes())]);
    let full = tempest_broker::Took::Full;
    server.run(&["RPUSH", "tempest:{q}", "a", "b", "c", "d", "e"]);
    server.cli("HSET tempest:{q}:limits concurrency 2");
    assert_eq!((take(0).await, take(1).await), (job("a"), job("b")));
    server.run(&["DEL", run(0).key()]);
    assert_eq!(take(0).await, job("c"), "its own place");
    assert_eq!(take(0).await, full, "what lies there counts, also if the slot has not heard of it");
    server.cli("SET tempest:{q}:swept 1 PX 60000");
    server.run(&["DEL", run(1).key()]);
    let before = calls(&server, "smembers");
    assert_eq!((take(2).await, take(3).await), (full.clone(), full), "somebody looks already");
    assert_eq!(calls(&server, "smembers"), before);
    server.cli("DEL tempest:{q}:swept");
    assert_eq!(take(2).await, job("d"), "nobody did");
    assert_eq!(calls(&server, "smembers"), before + 1);
    let left = server.cli("PTTL tempest:{q}:swept").integer();
    assert!(left <= 100 && left != -1, "for a moment: {left}");
}

/// Found by review: limits that are no numbers stopped the recovery of all queues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_are_no_numbers_count_as_absent_and_stop_no_recovery() {
    let server = Server::start();
    let broker = broker(server.url()).await;
    server.cli("SADD tempest:queues a");
    server.cli("HSET tempest:{a}:limits per_key abc");
    server.cli("SADD tempest:{a}:asides bob");
    server.run(&["RPUSH", "tempest:{a}:aside:bob", r#"{"id":"j","action":"a","key":"bob"}"#]);
    server.cli("SADD tempest:{a}:asides broken");
    server.cli("SET tempest:{a}:aside:broken oops");
    register(&server, "h-1-abc.0", false);
    hold(&server, "h-1-abc.0", br#"{"action":"a"}"#);
    broker.keep(hasty_keeper());
    eventually("the job of the dead worker is back", || !list(&server, "tempest:{q}").is_empty());
    eventually("what was set aside is back", || !list(&server, "tempest:{a}").is_empty());
    server.cli("HSET tempest:{q}:limits concurrency none rate 0 per x");
    let run = broker.run_list_of(&queue(), "w.0");
    let took = broker.take_within_limits(tempest_protocol::Lane::Normal, &[run]).await.expect("asked");
    assert!(matches!(took, tempest_broker::Took::Jobs(jobs) if jobs.len() == 1));
}
