//! Nobody waits any more: the job is taken out of its lane, or whoever runs it is told.

use tempest_front::{FrontConfig, Route};

use crate::{
    scene::{Running, Scene, config},
    server::{Answer, Client, eventually},
};

fn listen(scene: &Scene) -> Client {
    let mut control = scene.redis.client();
    control.run(&["SUBSCRIBE", "tempest:{default}:control"]);
    control
}

fn told(control: &mut Client) -> String {
    match control.receive().expect("a message") {
        Answer::List(message) => message[2].text(),
        other => panic!("a message was expected, not {other:?}"),
    }
}

/// Both ways of serving.
fn each(mut run: impl FnMut(&Scene, &Running)) {
    let scene = Scene::new();
    run(&scene, &scene.front());
    let scene = Scene::new();
    run(&scene, &scene.embedded(config()));
}

#[test]
fn a_client_that_leaves_takes_its_queued_job_along() {
    each(|scene, front| {
        let mut client = front.client();
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        eventually("it waits", || scene.redis.cli("LLEN tempest:{default}").integer() == 1);
        drop(client);
        eventually("it is removed", || scene.redis.cli("LLEN tempest:{default}").integer() == 0);
        eventually("nobody waits", || front.cluster.waiting() == 0);
    });
}

#[test]
fn a_client_that_leaves_cancels_its_running_job() {
    each(|scene, front| {
        let mut control = listen(scene);
        let mut client = front.client();
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
        let job = scene.claim();
        drop(client);
        assert_eq!(told(&mut control), format!("cancel {}", job.id()));
        scene.answer(&job, 200, &[], b"too late");
        assert_eq!(scene.exchange(front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").1.status, 200);
    });
}

#[test]
fn a_job_that_runs_past_the_deadline_is_cancelled() {
    let scene = Scene::new();
    let mut control = listen(&scene);
    let front = scene.front_with(FrontConfig { timeout_ms: 600, ..config() });
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    assert_eq!(client.response().status, 504);
    assert_eq!(told(&mut control), format!("cancel {}", job.id()));
}

/// Two routes of one queue: `/stubborn` opted in to the end of its worker.
fn with_an_end() -> FrontConfig {
    let route = |path: &str, kill_after_ms| Route {
        path: path.into(),
        queue: Some("default".into()),
        kill_after_ms,
        ..Route::default()
    };
    FrontConfig { routes: vec![route("/stubborn", Some(1_500)), route("/", None)], ..config() }
}

#[test]
fn who_supervises_is_asked_for_an_end_only_for_routes_that_opted_in() {
    let scene = Scene::new();
    let mut control = listen(&scene);
    let front = scene.front_with(with_an_end());
    for (path, ends) in [("/", false), ("/stubborn", true), ("/", false)] {
        let mut client = front.client();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let job = scene.claim();
        drop(client);
        assert_eq!(told(&mut control), format!("cancel {}", job.id()));
        if ends {
            assert_eq!(told(&mut control), format!("kill {} 1500", job.id()));
        }
    }
    scene.redis.run(&["PUBLISH", "tempest:{default}:control", "the end"]);
    assert_eq!(told(&mut control), "the end", "nothing more was said");
}

#[test]
fn nobody_is_ended_for_a_job_that_still_waits() {
    let scene = Scene::new();
    let mut control = listen(&scene);
    let front = scene.front_with(with_an_end());
    let mut client = front.client();
    client.send("GET /stubborn HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it waits", || scene.redis.cli("LLEN tempest:{default}").integer() == 1);
    drop(client);
    eventually("it is removed", || scene.redis.cli("LLEN tempest:{default}").integer() == 0);
    eventually("nobody waits", || front.cluster.waiting() == 0);
    scene.redis.run(&["PUBLISH", "tempest:{default}:control", "the end"]);
    assert_eq!(told(&mut control), "the end", "nothing was said of it");
}

#[test]
fn a_job_that_was_answered_is_not_cancelled() {
    let scene = Scene::new();
    let mut control = listen(&scene);
    let front = scene.front();
    for _ in 0..20 {
        scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
    let mut failed = front.client();
    failed.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let job = scene.claim();
    scene.fail(&job, "handler_error", "x");
    assert_eq!(failed.response().status, 500);
    drop(failed);
    scene.redis.run(&["PUBLISH", "tempest:{default}:control", "the end"]);
    assert_eq!(told(&mut control), "the end", "no cancel came before it");
}

#[test]
fn of_pipelined_requests_the_running_one_is_cancelled_when_the_client_leaves() {
    let scene = Scene::new();
    let mut control = listen(&scene);
    let front = scene.front();
    let mut client = front.client();
    client.send("GET /one HTTP/1.1\r\nhost: a\r\n\r\nGET /two HTTP/1.1\r\nhost: a\r\n\r\n");
    let one = scene.claim();
    scene.answer(&one, 200, &[], b"");
    assert_eq!(client.response().status, 200);
    let two = scene.claim();
    drop(client);
    assert_eq!(told(&mut control), format!("cancel {}", two.id()));
}
