//! One name for a request: in its job, in its response, and where its trace goes on.

use tempest_front::{FrontConfig, Proxies};

use crate::scene::{Scene, config};

#[test]
fn a_request_has_one_name_everywhere() {
    let scene = Scene::new();
    let front = scene.front();
    let (claim, response) = scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: mine\r\n\r\n");
    let id = response.header("x-request-id").expect("told");
    assert_eq!((claim.id(), claim.header("x-request-id")), (id.clone(), vec![id.clone()]));
    assert_ne!(id, "mine", "a client does not name its requests");
    let (_, second) = scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_ne!(second.header("x-request-id"), Some(id));
}

#[test]
fn a_worker_does_not_rename_it() {
    let scene = Scene::new();
    let front = scene.front();
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let claim = scene.claim();
    scene.answer(&claim, 200, &[("x-request-id", "other")], b"");
    assert_eq!(client.response().all("x-request-id"), [claim.id()]);
}

#[test]
fn a_trusted_proxy_names_it_and_the_job_still_has_an_id_of_its_own() {
    let scene = Scene::new();
    let trusted_proxies = Proxies::new(&["127.0.0.1"]).expect("an address");
    let front = scene.front_with(FrontConfig { trusted_proxies, ..config() });
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let request = "GET / HTTP/1.1\r\nhost: a\r\nx-request-id: edge-7\r\n\r\n";
        let (claim, response) = scene.exchange(&front, request);
        assert_eq!(claim.header("x-request-id"), ["edge-7"]);
        assert_eq!(response.header("x-request-id").as_deref(), Some("edge-7"));
        jobs.push(claim.id());
    }
    assert_ne!(jobs[0], jobs[1]);
    for hostile in ["a b", "<script>", &"x".repeat(65), "", "\u{e9}"] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nx-request-id: {hostile}\r\n\r\n");
        let (claim, response) = scene.exchange(&front, request);
        assert_eq!(response.header("x-request-id"), Some(claim.id()), "{hostile:?}");
    }
}

#[test]
fn event_streams_and_refusals_have_one_too() {
    let scene = Scene::new();
    let front = scene.front();
    assert!(front.get("/sub/tempest:mailbox:x").header("x-request-id").is_some());
    let mut client = front.client();
    client.send("GET /sub/test HTTP/1.1\r\nhost: a\r\n\r\n");
    let (_, status, headers) = client.head();
    assert_eq!(status, 200);
    assert!(headers.iter().any(|(name, value)| name == "x-request-id" && value.len() == 32), "{headers:?}");
}

#[test]
fn a_trace_goes_on_if_it_is_one() {
    let scene = Scene::new();
    let front = scene.front();
    let good = [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later",
    ];
    let bad = [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "garbage",
        "",
    ];
    for (given, passed) in
        good.iter().map(|trace| (trace, true)).chain(bad.iter().map(|trace| (trace, false)))
    {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\ntraceparent: {given}\r\ntracestate: a=b\r\n\r\n");
        let (claim, _) = scene.exchange(&front, request);
        let told = claim.job.envelope.traceparent.as_deref();
        assert_eq!(told, passed.then_some(*given), "{given}");
        assert_eq!(claim.header("tracestate"), ["a=b"]);
    }
}
