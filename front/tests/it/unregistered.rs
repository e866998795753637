//! Workers without a lease: somebody at `redis-cli`.

use serde_json::{Value, json};

use crate::{
    scene::{LANE, Scene, timed},
    server::{Client, Server},
};

/// Answers jobs by hand until it has answered `count`.
fn answer_by_hand(mut redis: Client, count: usize, by: &'static str) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for _ in 0..count {
            let taken = redis.run(&["BLPOP", LANE, "19"]).list();
            let job: Value = serde_json::from_slice(&taken[1]).expect("a job");
            let reply = json!({"id": job["id"], "status": 200, "headers": {}, "body": job["args"]["url"]});
            let mailbox = job["reply_to"].as_str().expect("somebody waits");
            redis.run(&[by, mailbox, &reply.to_string()]);
        }
    })
}

#[test]
fn a_worker_at_redis_cli_is_found_and_served() {
    let scene = Scene::without_worker(Server::start());
    let front = scene.front();
    let worker = answer_by_hand(scene.redis.client(), 3, "RPUSH");
    for path in ["/one", "/two", "/three"] {
        let response = front.get(path);
        assert_eq!((response.status, response.text().as_str()), (200, path));
    }
    worker.join().expect("it answers");
}

#[test]
fn a_final_reply_may_be_published() {
    let scene = Scene::without_worker(Server::start());
    let front = scene.front();
    let worker = answer_by_hand(scene.redis.client(), 2, "PUBLISH");
    for path in ["/one", "/two"] {
        let response = front.get(path);
        assert_eq!((response.status, response.text().as_str()), (200, path));
    }
    worker.join().expect("it answers");
}

#[test]
fn a_slow_one_that_took_the_job_is_waited_for_and_counts_for_a_minute() {
    let scene = Scene::without_worker(Server::start());
    let front = scene.front();
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    std::thread::sleep(std::time::Duration::from_millis(600));
    scene.answer(&job, 200, &[], b"slow but there");
    assert_eq!(client.response().text(), "slow but there");
    // The queue now counts as served: a job that nobody takes at once waits.
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    std::thread::sleep(std::time::Duration::from_millis(600));
    let job = scene.claim();
    scene.answer(&job, 200, &[], b"again");
    assert_eq!(client.response().text(), "again");
}

/// A worker that has just started is not seen yet; what waits for it meanwhile is not refused.
#[test]
fn whoever_answers_one_is_not_nobody_to_the_others() {
    let scene = Scene::without_worker(Server::start());
    let front = scene.front();
    let (mut one, mut other) = (front.client(), front.client());
    one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    other.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    scene.answer(&job, 200, &[], b"first");
    std::thread::sleep(std::time::Duration::from_millis(600));
    let job = scene.claim();
    scene.answer(&job, 200, &[], b"second");
    let mut answers = [one.response().text(), other.response().text()];
    answers.sort();
    assert_eq!(answers, ["first", "second"]);
}

#[test]
fn a_queue_that_was_used_but_has_nobody_is_refused_again() {
    let scene = Scene::without_worker(Server::start());
    let front = scene.front();
    for _ in 0..3 {
        let (response, took) = timed(|| front.get("/"));
        assert_eq!(response.status, 503);
        assert!(took.as_millis() >= 250 && took.as_secs() < 10, "{took:?}");
    }
}
