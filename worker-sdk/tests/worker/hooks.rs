//! What a program has done around its handlers, and a harness for its tests.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tempest_worker::{Context, Failed, Next, Push, Worker};

use crate::cluster::{Cluster, Running, background, numbered};

/// Lines in the order in which they were written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn write(&self, line: impl Into<String>) {
        self.0.lock().expect("no panic").push(line.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    /// Writes before and after each handler.
    fn around(&self, worker: Worker, name: &'static str) -> Worker {
        let lines = self.clone();
        worker.around(move |context: Context, next: Next| {
            let lines = lines.clone();
            async move {
                lines.write(format!("{name} before {}", context.action()));
                let done = next.run(context).await;
                lines.write(format!("{name} after"));
                done
            }
        })
    }
}

async fn half(number: u64, context: Context) -> Result<Value, Failed> {
    if number % 2 == 1 {
        return Err(Failed::new("odd", format!("attempt {}", context.attempt())));
    }
    Ok(json!(number / 2))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_around_handlers_sees_each_job_the_first_outermost() {
    let cluster = Cluster::start().await;
    let lines = Lines::default();
    let worker = lines.around(lines.around(cluster.worker().on_job("half", half), "outer"), "inner");
    let heard = lines.clone();
    let worker = Running::start(worker.on_error(move |context: Context, failed: Failed| {
        let heard = heard.clone();
        async move { heard.write(format!("{} failed: {}", context.action(), failed.code())) }
    }));
    cluster.push(&background("half"), &numbered(4)).await;
    cluster.settled();
    cluster.push(&background("half"), &numbered(3)).await;
    cluster.settled();
    worker.stop().await;
    let once = ["outer before half", "inner before half", "inner after", "outer after"];
    assert_eq!(lines.all(), [&once[..], &once[..], &["half failed: odd"]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_around_a_handler_may_answer_itself_and_its_panic_fails_the_job() {
    let cluster = Cluster::start().await;
    let worker = cluster.worker().on_job("half", half).around(|context: Context, next: Next| async move {
        assert!(context.id().is_some(), "a panic");
        next.run(context).await.map_err(|failed| Failed::new("wrapped", failed.message()))
    });
    let worker = Running::start(worker);
    let content = cluster.call("half", json!(3)).await;
    assert!(format!("{content:?}").contains("wrapped"), "{content:?}");
    cluster.push(&background("half"), &numbered(2)).await;
    cluster.settled();
    assert_eq!(worker.stop().await.failed, 2);
}

#[tokio::test]
async fn a_harness_runs_jobs_on_a_clock_that_is_moved() {
    let harness = Worker::new("q").on_job("half", half).harness().expect("set up");
    let good = harness.push(Push::new("q", "half", &8).after(Duration::from_secs(60))).expect("pushed");
    let odd = harness.push(Push::new("q", "half", &3)).expect("pushed");
    assert_eq!(harness.run().await, 1);
    assert!(harness.result::<u64>(&good).is_err());
    assert_eq!(harness.skip(Duration::from_secs(61)).await, 3, "two more attempts, and the delayed one");
    assert_eq!(harness.result::<u64>(&good).expect("a result"), 4);
    let times: Vec<_> =
        harness.ran().iter().filter(|ran| ran.id.as_ref() == Some(&odd)).map(|ran| ran.at_ms).collect();
    assert_eq!(times, [0, 1_000, 3_000], "the back-off, without jitter");
    let dead = harness.dead();
    assert_eq!((dead.len(), dead[0].0.as_str(), dead[0].1.message.as_str()), (1, "half", "attempt 3"));
    assert_eq!(harness.waiting(), 0);
}

#[tokio::test]
async fn a_harness_sends_arguments_and_results_through_the_wire() {
    let worker = Worker::new("q").on_job("half", half).on_job("chained", async |(): (), context: Context| {
        context.publish("news", r#"["x"]"#).await.map_err(|error| Failed::new("redis", error.to_string()))?;
        let number: Option<u64> = context.input()?;
        Ok::<_, Failed>(number.map(|number| number + 1))
    });
    let harness = worker.harness().expect("set up");
    assert_eq!(harness.call::<u64>(Push::new("q", "half", &10)).await.expect("a result"), 5);
    let wrong = harness.call::<u64>(Push::new("q", "half", &"ten")).await.expect_err("no number");
    assert_eq!(wrong.code(), "bad_job");
    assert!(wrong.message().contains("invalid type: string \"ten\""), "{wrong}");
    let unknown = harness.call::<u64>(Push::new("q", "nobody", &())).await.expect_err("no handler");
    assert_eq!(unknown.code(), "no_handler");
    let last = tempest_worker::JobId::new("last").expect("a name");
    let chain = Push::new("q", "half", &10).then(Push::new("q", "chained", &()).id(last.clone()));
    harness.push(chain).expect("pushed");
    assert_eq!(harness.run().await, 2);
    assert_eq!(harness.result::<u64>(&last).expect("a result"), 6);
    assert_eq!(harness.published(), [("news".to_owned(), br#"["x"]"#.to_vec())]);
}
