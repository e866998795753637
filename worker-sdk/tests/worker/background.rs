//! Background jobs: records, results, unique keys, chains, groups.

use std::time::Duration;

use serde_json::{Value, json};
use tempest_broker::{Filter, KeeperOptions, Shelf};
use tempest_protocol::{Code, Envelope};
use tempest_worker::{Client, Context, Failed, Holds, JobId, Push, Pushed, Record, ResultError, State};

use crate::{
    cluster::{Cluster, Running, background, no_args, queue},
    proxy::{Fault, Proxy},
    server::eventually,
};

type Any = Result<Value, Failed>;
const SOON: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3_600);

async fn double(number: u64, _: Context) -> Any {
    Ok(json!(number * 2))
}

async fn broken(_: Value, _: Context) -> Any {
    Err(Failed::new("broken", "no luck"))
}

async fn sum((): (), context: Context) -> Any {
    let numbers: Vec<u64> = context.input()?.unwrap_or_default();
    Ok(json!(numbers.iter().sum::<u64>()))
}

fn client(cluster: &Cluster) -> Client {
    Client::new(cluster.broker.clone())
}

async fn known(client: &Client, id: &JobId) -> Record {
    client.job("q", id).await.expect("asked").expect("a record")
}

/// Waits until the record of a job says this.
async fn becomes(client: &Client, id: &JobId, state: State) -> Record {
    loop {
        if let Some(record) = client.job("q", id).await.expect("asked").filter(|record| record.state == state)
        {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn keys(cluster: &Cluster, pattern: &str) -> Vec<String> {
    let keys = cluster.server.run(&["KEYS", pattern]).list();
    keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_follows_its_job_and_goes_with_it() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let id = client.push(Push::new("q", "wait", &())).await.expect("pushed");
    let record = known(&client, &id).await;
    assert_eq!(
        (record.state, record.action.map(|action| action.to_string())),
        (State::Waiting, Some("wait".into()))
    );
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = go.clone();
    let worker = Running::start(cluster.worker().on_job("wait", move |(): (), context: Context| {
        let gate = gate.clone();
        async move {
            context
                .progress(&json!({"percent": 50}))
                .await
                .map_err(|error| Failed::new("redis", error.to_string()))?;
            context.log("half of it").await.map_err(|error| Failed::new("redis", error.to_string()))?;
            gate.notified().await;
            Ok::<_, Failed>(())
        }
    }));
    let record = becomes(&client, &id, State::Running).await;
    assert!(record.worker.is_some() && record.since_ms.is_some(), "{record:?}");
    assert_eq!(record.progress.expect("told").as_str(), r#"{"percent":50}"#);
    eventually("it has a log", || cluster.list(&format!("tempest:{{q}}:job:{id}:log")) == ["half of it"]);
    go.notify_one();
    cluster.settled();
    assert_eq!(client.job("q", &id).await.expect("asked"), None);
    assert_eq!(keys(&cluster, "tempest:{q}:job:*"), Vec::<String>::new(), "the log goes, too");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_result_can_be_waited_for_by_several_and_expires() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let id = client.push(Push::new("q", "double", &21).keep(HOUR)).await.expect("pushed");
    let early = client.result::<u64>("q", &id, Duration::from_millis(30)).await;
    assert!(matches!(early, Err(ResultError::Late)), "{early:?}");
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let (client, id) = (client.clone(), id.clone());
            tokio::spawn(async move { client.result::<u64>("q", &id, SOON).await.expect("a result") })
        })
        .collect();
    let worker = Running::start(cluster.worker().on_job("double", double));
    for waiter in waiting {
        assert_eq!(waiter.await.expect("no panic"), 42);
    }
    assert_eq!(known(&client, &id).await.state, State::Done);
    for key in keys(&cluster, "tempest:{q}:job:*") {
        let left = cluster.server.run(&["PTTL", &key]).integer();
        assert!((1..=3_600_000).contains(&left), "{key} lives for {left} ms");
    }
    let unkept = client.push(Push::new("q", "double", &1)).await.expect("pushed");
    let none = client.result::<u64>("q", &unkept, SOON).await;
    assert!(matches!(none, Err(ResultError::Unknown)), "{none:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_fails_says_so_in_its_record_and_to_whoever_waits() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let id = client.push(Push::new("q", "broken", &()).attempts(2).keep(HOUR)).await.expect("pushed");
    let worker = Running::start(cluster.worker().on_job("broken", broken));
    let record = becomes(&client, &id, State::Later).await;
    assert_eq!(record.failure.expect("why").code, "broken");
    assert!(record.due_ms.is_some() && record.worker.is_none());
    cluster.broker.keep(KeeperOptions::default());
    match client.result::<Value>("q", &id, SOON).await {
        Err(ResultError::Failed(failure)) => assert_eq!(failure.code, "broken"),
        other => panic!("{other:?}"),
    }
    let record = known(&client, &id).await;
    assert_eq!((record.state, record.attempt), (State::Dead, Some(2)));
    assert_eq!(cluster.set("tempest:{q}:dead").len(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_pushed_once_however_often_it_is_asked_for() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let jobs: Vec<_> = (0..300).map(|number| Push::new("q", "double", &number)).collect();
    let first = client.push_many(jobs.clone()).await.expect("pushed");
    assert!(first.iter().all(|(_, pushed)| *pushed == Pushed::New));
    let again = client.push_many(jobs).await.expect("pushed");
    assert!(again.iter().all(|(_, pushed)| *pushed == Pushed::Known));
    assert_eq!(cluster.list("tempest:{q}").len(), 300);
    let worker = Running::start(cluster.worker().on_job("double", double));
    cluster.settled();
    assert_eq!(worker.stop().await.done, 300);
    assert_eq!(keys(&cluster, "tempest:{q}:job:*"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delayed_job_runs_when_it_is_due() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    cluster.broker.keep(KeeperOptions::default());
    let before_ms = cluster.broker.now_ms();
    let delayed = Push::new("q", "double", &4).after(Duration::from_millis(1_700)).keep(HOUR);
    let id = client.push(delayed).await.expect("pushed");
    assert_eq!(known(&client, &id).await.state, State::Later);
    let worker = Running::start(cluster.worker().on_job("double", double));
    assert_eq!(client.result::<u64>("q", &id, SOON).await.expect("a result"), 8);
    let done_at_ms = known(&client, &id).await.done_at_ms.expect("done");
    assert!(done_at_ms >= before_ms + 1_700, "{} ms after the push", done_at_ms - before_ms);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_key_is_held_until_the_job_ends() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let one = || Push::new("q", "double", &1).unique("bob", Holds::Running);
    let id = client.push(one()).await.expect("pushed");
    match client.push(one()).await {
        Err(tempest_broker::Error::NotUnique { holder }) => assert_eq!(holder, id),
        other => panic!("{other:?}"),
    }
    let worker = Running::start(cluster.worker().on_job("double", double));
    eventually("the key is free", || keys(&cluster, "tempest:{q}:unique:*").is_empty());
    client.push(one()).await.expect("pushed again");
    cluster.settled();
    assert_eq!(worker.stop().await.done, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unique_key_is_let_go_at_the_start_or_after_a_time() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = go.clone();
    let worker = Running::start(cluster.worker().on_job("wait", move |(): (), _: Context| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            Ok::<_, Failed>(())
        }
    }));
    let queued = || Push::new("q", "wait", &()).unique("k", Holds::Queued);
    let first = client.push(queued()).await.expect("pushed");
    becomes(&client, &first, State::Running).await;
    client.push(queued()).await.expect("while the first one runs");
    go.notify_one();
    eventually("the second runs", || cluster.list("tempest:{q}").is_empty());
    go.notify_one();
    cluster.settled();
    worker.stop().await;
    let timed = || Push::new("q", "double", &1).unique_for("t", Duration::from_millis(150));
    client.push(timed()).await.expect("pushed");
    assert!(client.push(timed()).await.is_err());
    eventually("the time is over", || keys(&cluster, "tempest:{q}:unique:t").is_empty());
    client.push(timed()).await.expect("pushed again");
}

/// A restart of Redis without its last moments: the job is there again, and nothing of its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_a_job_comes_also_when_redis_forgot_it() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().on_job("double", double));
    let next = r#"{"id":"n","keep":60000,"action":"double","args":2}"#;
    let frame = format!(r#"{{"id":"j","keep":60000,"then":[{next}],"action":"double","args":1}}"#);
    let results = ["tempest:{q}:job:j:result", "tempest:{q}:job:n:result"];
    for _ in 0..2 {
        cluster.server.run(&["DEL", "tempest:{q}:job:j", "tempest:{q}:job:n", results[0], results[1]]);
        cluster.server.run(&["RPUSH", "tempest:{q}", &frame]);
        eventually("both are done", || results.iter().all(|key| !keys(&cluster, key).is_empty()));
        cluster.settled();
    }
    assert_eq!(worker.stop().await.repeated, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_finished_job_holds_no_key() {
    let cluster = Cluster::start().await;
    let worker = Running::start(cluster.worker().on_job("double", double));
    for _ in 0..2 {
        cluster.server.run(&["SET", "tempest:{q}:unique:k", "j"]);
        cluster.server.run(&["HSET", "tempest:{q}:job:j", "state", "waiting"]);
        cluster.server.run(&[
            "RPUSH",
            "tempest:{q}",
            r#"{"id":"j","unique":"k","action":"double","args":1}"#,
        ]);
        eventually("nothing is left", || {
            keys(&cluster, "tempest:{q}:job:*").is_empty()
                && keys(&cluster, "tempest:{q}:unique:*").is_empty()
        });
        cluster.settled();
    }
    assert_eq!(worker.stop().await.repeated, 1);
}

/// A job that was taken out of its lane by hand does not hold its key for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_gone_without_a_trace_is_passed_over() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let one = || Push::new("q", "double", &1).unique("bob", Holds::Running);
    let id = client.push(one()).await.expect("pushed");
    cluster.server.run(&["DEL", "tempest:{q}", &format!("tempest:{{q}}:job:{id}")]);
    let next = client.push(one()).await.expect("pushed");
    assert_ne!(next, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_passes_results_on_also_to_another_queue() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let worker =
        cluster.worker().on_job("double", double).on_job("next", async |(): (), context: Context| {
            let number: u64 = context.input()?.ok_or_else(|| Failed::new("empty", "no input"))?;
            Ok::<_, Failed>(json!(number + 1))
        });
    let worker = Running::start(worker.queue("other"));
    let last = JobId::new("last").expect("a name");
    let chain = Push::new("q", "double", &20)
        .then(Push::new("other", "next", &()))
        .then(Push::new("q", "next", &()).id(last.clone()).keep(HOUR));
    client.push(chain).await.expect("pushed");
    eventually("the last has a result", || !keys(&cluster, "tempest:{q}:job:last:result").is_empty());
    assert_eq!(client.result::<u64>("q", &last, SOON).await.expect("a result"), 42);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_whose_next_job_is_none_is_kept_for_a_human() {
    let cluster = Cluster::start().await;
    let job = r#"{"id":"a","action":"double","then":[{"action":"not allowed"}],"args":1}"#;
    cluster.server.run(&["RPUSH", "tempest:{q}", job]);
    let worker = Running::start(cluster.worker().on_job("double", double));
    eventually("it is dead", || !cluster.set("tempest:{q}:dead").is_empty());
    let dead = cluster.set("tempest:{q}:dead");
    assert_eq!(dead[0]["error"]["code"], "bad_job");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_ends_with_one_more_job_that_gets_all_results_in_their_order() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let worker = Running::start(cluster.worker().concurrency(8).on_job("double", double).on_job("sum", sum));
    let jobs: Vec<_> = (1..=50).map(|number| Push::new("q", "double", &number)).collect();
    let id = client.group(jobs, Push::new("q", "sum", &()).keep(HOUR)).await.expect("pushed");
    eventually("the group is complete", || {
        !keys(&cluster, &format!("tempest:{{q}}:job:{id}:result")).is_empty()
    });
    assert_eq!(client.result::<u64>("q", &id, SOON).await.expect("a result"), 50 * 51);
    cluster.settled();
    assert_eq!(keys(&cluster, "tempest:{q}:group:*"), Vec::<String>::new(), "nothing of it is left");
    assert_eq!(worker.stop().await.done, 51);
}

/// A job that waits until it is cancelled.
async fn endless((): (), context: Context) -> Any {
    context.cancelled().await;
    Err(Failed::new("cancelled", "nobody wants it"))
}

/// A result of so many bytes as JSON.
async fn large(bytes: usize, _: Context) -> Any {
    Ok(json!("x".repeat(bytes - 2)))
}

/// A result nested so deep.
async fn deep(depth: usize, _: Context) -> Any {
    Ok((0..depth).fold(Value::Null, |inner, _| json!([inner])))
}

async fn lengths((): (), context: Context) -> Any {
    let texts: Vec<Option<String>> = context.input()?.unwrap_or_default();
    Ok(json!(texts.into_iter().map(|text| text.map(|text| text.len())).collect::<Vec<_>>()))
}

/// Found by reading: a group waited until it expired for a job that was cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_cancelled_while_it_runs_leaves_its_group() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let cancelled = JobId::new("c").expect("a name");
    let again = JobId::new("d").expect("a name");
    let jobs = vec![
        Push::new("q", "endless", &()).id(cancelled.clone()),
        Push::new("q", "large", &5),
        Push::new("q", "endless", &()).id(again.clone()).unique("u", Holds::Running),
    ];
    let unique = client.group(jobs.clone(), Push::new("q", "lengths", &())).await;
    assert!(matches!(&unique, Err(error) if error.code() == Code::BadJob), "{unique:?}");
    let jobs = [&jobs[..2], &[Push::new("q", "endless", &()).id(again.clone())]].concat();
    let id = client.group(jobs, Push::new("q", "lengths", &()).keep(HOUR)).await.expect("pushed");
    let worker = cluster.worker().concurrency(3).on_job("endless", endless).on_job("large", large);
    let worker = Running::start(worker.on_job("lengths", lengths));
    for each in [&cancelled, &again] {
        becomes(&client, each, State::Running).await;
    }
    cluster.broker.tell_cancelled(&queue(), &cancelled, None).await.expect("said");
    eventually("it is out of the group", || {
        keys(&cluster, "tempest:{q}:job:c").is_empty() && pending(&cluster) == [again.as_str()]
    });
    assert_eq!(client.job("q", &id).await.expect("asked"), None, "the other one still runs");
    cluster.broker.tell_cancelled(&queue(), &again, None).await.expect("said");
    becomes(&client, &id, State::Done).await;
    assert_eq!(
        client.result::<Vec<Option<usize>>>("q", &id, SOON).await.expect("a result"),
        [None, Some(3), None]
    );
    let report = worker.stop().await;
    assert_eq!((report.done, report.cancelled, report.failed), (2, 2, 0));
    assert_eq!(keys(&cluster, "tempest:{q}:group:*"), Vec::<String>::new());
}

/// What refuses that a job leaves its group does not hold the slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_nobody_can_leave_is_left_alone() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let id = JobId::new("c").expect("a name");
    let jobs = vec![Push::new("q", "endless", &()).id(id.clone())];
    client.group(jobs, Push::new("q", "lengths", &())).await.expect("pushed");
    let worker = cluster.worker().concurrency(1).on_job("endless", endless).on_job("double", double);
    let worker = Running::start(worker);
    becomes(&client, &id, State::Running).await;
    let pending = keys(&cluster, "tempest:{q}:group:*:pending").remove(0);
    cluster.server.run(&["SET", &pending, "oops"]);
    cluster.broker.tell_cancelled(&queue(), &id, None).await.expect("said");
    let next = client.push(Push::new("q", "double", &21).keep(HOUR)).await.expect("pushed");
    assert_eq!(client.result::<u64>("q", &next, SOON).await.expect("a result"), 42);
    cluster.settled();
    assert_eq!(worker.stop().await.cancelled, 1);
}

/// What the one group there is waits for.
fn pending(cluster: &Cluster) -> Vec<String> {
    let found = keys(cluster, "tempest:{q}:group:*:pending");
    let ids = found.iter().flat_map(|key| cluster.server.run(&["SMEMBERS", key]).list());
    ids.map(|id| String::from_utf8_lossy(&id).into_owned()).collect()
}

/// Found by reading: up to 10,000 results of any size became one job; and what that could not hold was lost with all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_its_group_cannot_hold_is_dead_and_says_why() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let jobs = vec![
        Push::new("q", "large", &(9 << 20)),
        Push::new("q", "large", &(9 << 20)).keep(HOUR).then(Push::new("q", "large", &2)),
        Push::new("q", "deep", &63),
        Push::new("q", "large", &7),
    ];
    let ids: Vec<_> = ["a", "b", "c", "d"].map(|name| JobId::new(name).expect("a name")).into();
    let jobs = jobs.into_iter().zip(&ids).map(|(job, id)| job.id(id.clone())).collect();
    let id = client.group(jobs, Push::new("q", "lengths", &()).keep(HOUR)).await.expect("pushed");
    let worker = cluster.worker().on_job("large", large).on_job("deep", deep).on_job("lengths", lengths);
    let worker = Running::start(worker);
    let dead = becomes(&client, &ids[1], State::Dead).await.failure.expect("why");
    assert_eq!(dead.code, "too_large", "{}", dead.message);
    assert!(dead.message.contains("9437184 bytes") && dead.message.contains("16777216"), "{}", dead.message);
    let kept = client.result::<Value>("q", &ids[1], SOON).await;
    assert!(matches!(&kept, Err(ResultError::Failed(failure)) if failure.code == "too_large"), "{kept:?}");
    let nested = becomes(&client, &ids[2], State::Dead).await.failure.expect("why");
    assert_eq!(nested.code, "bad_job", "{}", nested.message);
    cluster.settled();
    let mut waits_for = pending(&cluster);
    waits_for.sort();
    assert_eq!(waits_for, ["b", "c"]);
    assert_eq!(cluster.set("tempest:{q}:dead").len(), 2);
    assert_eq!(worker.stop().await.done, 3, "nothing came after the one that is dead");
    // Somebody gives the two up.
    let all = Filter::default();
    cluster.broker.discard_all(&queue(), Shelf::Dead, &all).await.expect("removed");
    let worker = Running::start(cluster.worker().on_job("lengths", lengths));
    becomes(&client, &id, State::Done).await;
    assert_eq!(
        client.result::<Vec<Option<usize>>>("q", &id, SOON).await.expect("a result"),
        [Some((9 << 20) - 2), None, None, Some(5)]
    );
    worker.stop().await;
}

/// Found by reading: a result that was too large to be kept was dropped, and the job said to be done; one that went on was
/// not bound at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_too_large_to_be_kept_or_handed_on_is_dead_at_once_and_says_why() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let large_job = || Push::new("q", "large", &(17 << 20));
    let kept = client.push(large_job().keep(HOUR)).await.expect("pushed");
    let handed_on = client.push(large_job().then(Push::new("q", "large", &2))).await.expect("pushed");
    let nobodys = client.push(large_job()).await.expect("pushed");
    let worker = Running::start(cluster.worker().on_job("large", large));
    for id in [&kept, &handed_on] {
        let dead = becomes(&client, id, State::Dead).await;
        let why = dead.failure.expect("why");
        assert_eq!((why.code.as_str(), dead.attempt), ("too_large", Some(1)), "{}", why.message);
        assert!(why.message.contains("16777216 are allowed"), "{}", why.message);
    }
    let result = client.result::<Value>("q", &kept, SOON).await;
    assert!(
        matches!(&result, Err(ResultError::Failed(failure)) if failure.code == "too_large"),
        "{result:?}"
    );
    eventually("what nobody wants is done", || {
        !keys(&cluster, "tempest:{q}:job:*").iter().any(|key| key.ends_with(nobodys.as_str()))
    });
    let report = worker.stop().await;
    assert_eq!((report.done, report.failed), (1, 2));
}

/// Found by reading: a group of which one job found no room was said to be pushed, and waited until it expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_which_a_job_finds_no_room_is_refused() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let fill = "local jobs = {} for i = 1, 5000 do jobs[i] = 'x' end
        for i = 1, 2000 do redis.call('RPUSH', KEYS[1], unpack(jobs)) end";
    cluster.server.run(&["EVAL", fill, "1", "tempest:{other}"]);
    let jobs = vec![Push::new("q", "double", &1), Push::new("other", "double", &2)];
    let refused = client.group(jobs, Push::new("q", "sum", &())).await;
    assert!(matches!(&refused, Err(error) if error.code() == Code::QueueFull), "{refused:?}");
    assert_eq!(keys(&cluster, "tempest:{q}:group:*"), Vec::<String>::new());
}

/// Found by review: the memory of what was finished took a new job of an id for a copy of the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_pushed_again_is_another_job() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let worker = Running::start(cluster.worker().on_job("double", double));
    let id = JobId::new("sync-42").expect("a name");
    for _ in 0..2 {
        let again = client.push(Push::new("q", "double", &1).id(id.clone())).await.expect("pushed");
        assert_eq!(again, id);
        cluster.settled();
        eventually("nothing is left of it", || keys(&cluster, "tempest:{q}:job:*").is_empty());
    }
    let report = worker.stop().await;
    assert_eq!((report.done, report.repeated), (2, 0));
}

/// Found by review: a chain into a queue that its worker may not write to held the slot for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_is_refused_for_good_ends_in_dead() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    cluster.server.cli("SET tempest:{other} oops");
    let chain = Push::new("q", "double", &1).then(Push::new("other", "double", &2));
    client.push(chain).await.expect("pushed");
    client.push(Push::new("q", "double", &3)).await.expect("pushed");
    let worker = Running::start(cluster.worker().on_job("double", double));
    eventually("it is dead", || !cluster.set("tempest:{q}:dead").is_empty());
    let why = cluster.set("tempest:{q}:dead")[0]["error"]["message"].to_string();
    assert!(why.contains("WRONGTYPE"), "{why}");
    cluster.settled();
    worker.stop().await;
}

/// A job of a worker that lost its lease meanwhile runs elsewhere: its record is not this worker's to remove.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_was_taken_away_while_it_ran_keeps_its_record() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let gate = go.clone();
    let worker = Running::start(cluster.worker().concurrency(1).on_job("wait", move |(): (), _: Context| {
        let gate = gate.clone();
        async move {
            gate.notified().await;
            Ok::<_, Failed>(())
        }
    }));
    let ids = [
        client.push(Push::new("q", "wait", &())).await.expect("pushed"),
        client.push(Push::new("q", "wait", &())).await.expect("pushed"),
    ];
    becomes(&client, &ids[0], State::Running).await;
    tokio::time::sleep(Duration::from_secs(1)).await; // sooner nobody can have taken it away
    let run = keys(&cluster, "tempest:{q}:run:*").remove(0);
    cluster.server.run(&["LMOVE", &run, "tempest:{q}:high", "LEFT", "LEFT"]);
    go.notify_one();
    becomes(&client, &ids[1], State::Running).await;
    assert_eq!(known(&client, &ids[0]).await.state, State::Running);
    go.notify_one();
    worker.stop().await;
}

/// An end that is sent again may find another job of that id: its record stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_whose_answer_was_lost_looks_before_it_removes_a_record() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let removals = || {
        let stats = cluster.server.cli("INFO commandstats").text();
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_unlink:calls="));
        calls.and_then(|rest| rest.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let before = removals();
    let proxy = Proxy::start(cluster.server.port()).await;
    proxy.prepare(Fault::lose_answer("UNLINK"));
    let worker = Running::start(cluster.worker().connect(proxy.url()).on_job("double", double));
    let id = client.push(Push::new("q", "double", &1)).await.expect("pushed");
    proxy.happened(1).await;
    cluster.settled();
    assert_eq!(worker.stop().await.done, 1);
    assert_eq!(client.job("q", &id).await.expect("asked"), None);
    assert_eq!(removals(), before + 1);
}

/// What goes on telling when its job has ended, and what tells of a job that was pushed without a record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_job_lives_as_long_as_the_job() {
    let cluster = Cluster::start().await;
    let client = client(&cluster);
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keeps = kept.clone();
    let tell = |worker: tempest_worker::Worker| {
        worker.on_job("tell", move |(): (), context: Context| {
            let keeps = keeps.clone();
            async move {
                context.log("begun").await.map_err(|error| Failed::new("redis", error.to_string()))?;
                *keeps.lock().expect("no panic") = Some(context);
                Err::<(), _>(Failed::new("broken", "no luck"))
            }
        })
    };
    let worker = Running::start(tell(cluster.worker()));
    let id = JobId::new("told").expect("a name");
    let envelope = Envelope { id: Some(id.clone()), attempts: Some(1), ..background("tell") };
    cluster.push(&envelope, &no_args()).await;
    becomes(&client, &id, State::Dead).await;
    assert_eq!(cluster.list("tempest:{q}:job:told:log"), ["begun"], "it had no record, and ended at once");
    cluster.server.run(&["DEL", "tempest:{q}:job:told", "tempest:{q}:job:told:log"]);
    let context = kept.lock().expect("no panic").take().expect("it has run");
    context.log("after the end").await.expect("nothing is wrong");
    context.progress(&100).await.expect("nothing is wrong");
    assert_eq!(keys(&cluster, "tempest:{q}:job:*"), Vec::<String>::new());
    worker.stop().await;
}
