//! Pushes whose answer was lost: repeated only where nothing can run twice that must not.

use tempest_front::FrontConfig;

use crate::{
    proxy::Fault,
    scene::{Scene, config},
    server::eventually,
};

const PUT: &str = "PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";

#[test]
fn a_push_that_arrived_but_was_not_confirmed_runs_once() {
    for request in [PUT, POST] {
        let scene = Scene::new();
        let proxy = scene.proxy();
        let front = scene.front_at(&proxy.url(), config());
        proxy.prepare(Fault::lose_answer("RPUSH"));
        let mut client = front.client();
        client.send(request);
        scene.wait("the cut", proxy.happened(1));
        // The first push lies in the lane until the front has taken it back and pushed again.
        eventually("it is pushed again", || {
            front.cluster.waiting() == 1
                && scene.redis.cli("INFO commandstats").text().contains("cmdstat_rpush:calls=2,")
        });
        assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 1, "once, not twice");
        let job = scene.claim();
        scene.answer(&job, 200, &[], b"done");
        assert_eq!(client.response().text(), "done");
    }
}

#[test]
fn a_put_that_was_lost_is_repeated() {
    let scene = Scene::new();
    let proxy = scene.proxy();
    let front = scene.front_at(&proxy.url(), config());
    proxy.prepare(Fault::cut_request("RPUSH", 3));
    let mut client = front.client();
    client.send(PUT);
    let job = scene.claim();
    scene.answer(&job, 200, &[], b"done");
    assert_eq!(client.response().text(), "done");
}

/// Neither the push nor the try to take it back was confirmed: now nobody can know, so it is not sent again.
#[test]
fn a_post_in_double_doubt_is_not_repeated() {
    let scene = Scene::new();
    let proxy = scene.proxy();
    let front = scene.front_at(&proxy.url(), FrontConfig { timeout_ms: 2_500, ..config() });
    proxy.prepare(Fault::lose_answer("RPUSH"));
    proxy.prepare(Fault::lose_answer("LREM"));
    let mut client = front.client();
    client.send(POST);
    scene.wait("both cuts", proxy.happened(2));
    assert_eq!(client.response().status, 504);
    assert!(scene.redis.cli("INFO commandstats").text().contains("cmdstat_rpush:calls=1,"), "pushed once");
}

#[test]
fn a_post_that_may_have_run_is_not_repeated() {
    let scene = Scene::new();
    let proxy = scene.proxy();
    let front = scene.front_at(&proxy.url(), FrontConfig { timeout_ms: 3_000, ..config() });
    // A worker takes the first push at once; the front does not learn that it arrived.
    let worker = {
        let mut redis = scene.redis.client();
        redis.send(&["BLPOP", crate::scene::LANE, "19"]).expect("sent");
        redis
    };
    eventually("the worker waits", || scene.redis.cli("INFO clients").text().contains("blocked_clients:2"));
    proxy.prepare(Fault::lose_answer("RPUSH"));
    let mut client = front.client();
    client.send(POST);
    let mut worker = worker;
    let taken = worker.receive().expect("a job").list();
    let job: serde_json::Value = serde_json::from_slice(&taken[1]).expect("a job");
    eventually("the front has looked", || {
        scene.redis.cli("INFO commandstats").text().contains("cmdstat_lrem:calls=1,")
    });
    let reply = serde_json::json!({"id": job["id"], "status": 200, "body": "ran once"});
    scene.redis.run(&["RPUSH", job["reply_to"].as_str().expect("a mailbox"), &reply.to_string()]);
    assert_eq!(client.response().text(), "ran once");
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0, "it was not pushed again");
}
