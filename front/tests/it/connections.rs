//! Connections: kept alive as clients want, and requests on them in order.

use std::time::Duration;

use crate::scene::Scene;

#[test]
fn an_http_1_0_client_that_asks_for_it_keeps_its_connection() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    for n in 0..10 {
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: a\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n");
        let job = scene.claim();
        scene.answer(&job, 200, &[("content-type", "text/plain")], format!("Hello world! #{n}").as_bytes());
        let response = client.response();
        assert_eq!(response.text(), format!("Hello world! #{n}"));
        let connection = response.header("connection").map(|value| value.to_ascii_lowercase());
        assert_eq!(connection.as_deref(), Some("keep-alive"));
        assert!(response.header("content-length").is_some(), "else the client could not tell the end");
    }
}

#[test]
fn an_http_1_0_client_that_does_not_ask_is_closed() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let job = scene.claim();
    scene.answer(&job, 200, &[], b"bye");
    assert!(client.rest().ends_with(b"\r\n\r\nbye"));
}

#[test]
fn connection_close_is_obeyed() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let job = scene.claim();
    assert!(job.header("connection").is_empty());
    scene.answer(&job, 200, &[], b"bye");
    assert!(client.rest().ends_with(b"\r\n\r\nbye"));
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..20 {
        let job = scene.claim();
        assert_eq!(job.request().url, format!("/{n}"));
        scene.answer(&job, 200, &[], n.to_string().as_bytes());
    }
    for n in 0..20 {
        assert_eq!(client.response().text(), n.to_string());
    }
}

#[test]
fn a_request_in_small_pieces_is_one_request() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    for piece in b"POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabcdef".chunks(7) {
        client.send(piece);
        std::thread::sleep(Duration::from_millis(2));
    }
    let job = scene.claim();
    assert_eq!(job.request().body, b"abcdef".as_slice());
    scene.answer(&job, 200, &[], b"");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_body_that_breaks_off_is_no_job() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf");
    client.finish();
    client.rest_of_broken();
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0);
    assert_eq!(front.cluster.waiting(), 0);
}

#[test]
fn several_clients_at_once_get_their_own_answers() {
    let scene = Scene::new();
    let front = scene.front();
    let mut clients: Vec<_> = (0..50).map(|_| front.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
    }
    let mut jobs: Vec<_> = clients.iter().map(|_| scene.claim()).collect();
    jobs.reverse();
    for job in &jobs {
        scene.answer(job, 200, &[], job.request().url.as_bytes());
    }
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
}

#[test]
fn two_fronts_share_one_queue_and_each_gets_its_own_replies() {
    let scene = Scene::new();
    let (one, two) = (scene.front(), scene.front());
    let (mut a, mut b) = (one.client(), two.client());
    a.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
    b.send("GET /b HTTP/1.1\r\nhost: a\r\n\r\n");
    let jobs = [scene.claim(), scene.claim()];
    assert_ne!(jobs[0].job.envelope.reply_to, jobs[1].job.envelope.reply_to, "each has a mailbox of its own");
    for job in &jobs {
        scene.answer(job, 200, &[], job.request().url.as_bytes());
    }
    assert_eq!((a.response().text(), b.response().text()), ("/a".into(), "/b".into()));
}
