//! An event stream takes its socket back from hyper: no byte before or after the change is lost or out of order.

use std::io::Read;

use crate::{client::Client, event_source::EventSource, scene::Scene, server::eventually};

const SUB: &str = "GET /sub/t HTTP/1.1\r\nhost: a\r\n\r\n";

/// The stream that follows on this connection, and that it hears what is published.
fn hears(scene: &Scene, client: Client) {
    let mut events = EventSource::of(client);
    assert_eq!(events.head.status, 200);
    assert_eq!(events.head.header("content-type").as_deref(), Some("text/event-stream"));
    assert_eq!(scene.redis.run(&["PUBLISH", "t", "hello"]).integer(), 1);
    assert_eq!(events.event().as_deref(), Some("data: hello"));
}

#[test]
fn a_stream_after_requests_on_the_same_connection() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    for n in 0..3 {
        client.send(format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let job = scene.claim();
        scene.answer(&job, 200, &[], job.request().url.as_bytes());
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    client.send(SUB);
    hears(&scene, client);
}

#[test]
fn a_stream_pipelined_behind_requests() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    let requests: String = (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(requests + SUB);
    for _ in 0..5 {
        let job = scene.claim();
        scene.answer(&job, 200, &[], job.request().url.as_bytes());
    }
    for n in 0..5 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
    hears(&scene, client);
}

/// The response before the stream is larger than every buffer, and the client does not read it for a while.
#[test]
fn a_stream_pipelined_behind_a_large_response_that_is_read_slowly() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send(format!("GET /large HTTP/1.1\r\nhost: a\r\n\r\n{SUB}"));
    let body: Vec<u8> = (0..=250).cycle().take(9 << 20).collect();
    let job = scene.claim();
    scene.answer(&job, 200, &[], &body);
    // The stream is asked for while the large response still waits for its reader.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (_, status, headers) = client.head();
    assert_eq!(status, 200);
    let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, value)| value.clone());
    assert_eq!(length, Some(body.len().to_string().into_bytes()));
    let mut reader = client.into_reader();
    let mut received = vec![0; body.len()];
    for piece in received.chunks_mut(1 << 20) {
        reader.read_exact(piece).expect("the large response is whole");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(received == body, "the large response came in order");
    hears(&scene, Client::from_reader(reader));
}

#[test]
fn a_stream_behind_many_large_pipelined_responses() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    let requests: String = (0..8).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: a\r\n\r\n")).collect();
    client.send(requests + SUB);
    std::thread::scope(|both| {
        // Requests are read no faster than responses are.
        both.spawn(|| {
            for n in 0..8u8 {
                let job = scene.claim();
                scene.answer(&job, 200, &[], &vec![n; 1 << 20]);
            }
        });
        for n in 0..8u8 {
            let response = client.response();
            assert!(response.body == vec![n; 1 << 20], "response {n}");
        }
    });
    hears(&scene, client);
}

#[test]
fn what_a_client_sends_into_its_stream_means_nothing() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send(format!("{SUB}GET /more HTTP/1.1\r\nhost: a\r\n\r\n"));
    let mut events = EventSource::of(client);
    for n in 0..5 {
        std::io::Write::write_all(&mut events.socket(), b"POST / HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
        scene.redis.run(&["PUBLISH", "t", &n.to_string()]);
        assert_eq!(events.event(), Some(format!("data: {n}")));
    }
    assert_eq!(scene.redis.cli("LLEN tempest:{default}").integer(), 0);
}

#[test]
fn a_refused_stream_leaves_the_connection_to_http() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("GET /sub/__keyspace HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().status, 404);
    client.send("HEAD /sub/t HTTP/1.1\r\nhost: a\r\n\r\n");
    let head = client.response_to("HEAD");
    assert_eq!(head.header("content-type").as_deref(), Some("text/event-stream"));
    client.send("POST /sub/t HTTP/1.1\r\nhost: a\r\n\r\n");
    let refused = client.response();
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD")));
    client.send(SUB);
    hears(&scene, client);
}

#[test]
fn a_stream_that_is_left_is_given_up() {
    let scene = Scene::new();
    let front = scene.front();
    let streams: Vec<_> = (0..20).map(|_| front.events("/sub/t")).collect();
    assert_eq!(front.cluster.streams(), 20);
    drop(streams);
    eventually("all are given up", || front.cluster.streams() == 0);
    eventually("nobody subscribes", || scene.redis.run(&["PUBLISH", "t", "x"]).integer() == 0);
}
