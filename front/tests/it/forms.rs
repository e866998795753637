//! How a client reads a refusal: as text, as a problem, as a page.

use serde_json::{Value, json};
use tempest_front::{FrontConfig, Route};

use crate::{
    client::Response,
    scene::{Running, Scene, config, routes},
};

fn refused(front: &Running, path: &str, accept: &str) -> Response {
    let mut client = front.client();
    client.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n{accept}\r\n"));
    client.response()
}

#[test]
fn a_client_reads_what_it_prefers() {
    let scene = Scene::new();
    let front = scene.front();
    let path = "/sub/tempest:mailbox:x";
    let text = refused(&front, path, "");
    assert_eq!(text.header("content-type").as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(text.text(), "404 not_found: There is nothing at this address.\n");

    let problem = refused(&front, path, "accept: application/json\r\n");
    assert_eq!(problem.header("content-type").as_deref(), Some("application/problem+json"));
    let told: Value = serde_json::from_str(&problem.text()).expect("JSON");
    let id = problem.header("x-request-id").expect("an id");
    let expected = json!({
        "type": "urn:tempest:code:not_found", "title": "Not Found", "status": 404, "code": "not_found",
        "detail": "There is nothing at this address.", "request_id": id,
    });
    assert_eq!(told, expected);

    let page = refused(&front, path, "accept: text/html,*/*;q=0.8\r\n");
    assert_eq!(page.header("content-type").as_deref(), Some("text/html; charset=utf-8"));
    let id = page.header("x-request-id").expect("an id");
    for part in ["<h1>404 Not Found</h1>", "There is nothing at this address.", "not_found", &id] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    assert!(!page.text().contains('{') || page.text().contains("color-scheme"), "everything is filled in");
    for response in [&text, &problem, &page] {
        assert_eq!(response.header("vary").as_deref(), Some("accept"));
        assert_eq!(response.header("x-content-type-options").as_deref(), Some("nosniff"));
    }
}

#[test]
fn no_form_shows_what_a_worker_said() {
    let scene = Scene::new();
    let front = scene.front();
    let evil = "</p><script>alert('hunter2')</script> at /srv/app.py:7";
    for accept in ["text/html", "application/problem+json", "text/plain"] {
        for code in ["handler_error", "worker_lost", "<b>", "no_handler"] {
            let mut client = front.client();
            client.send(format!(
                "GET /?q=%3Ci%3E HTTP/1.1\r\nhost: a\r\nuser-agent: <b>\r\naccept: {accept}\r\n\r\n"
            ));
            let claim = scene.claim();
            scene.fail(&claim, code, evil);
            let response = client.response();
            assert!(response.status >= 500);
            for secret in ["hunter2", "<script", "app.py", "<b>", "<i>"] {
                assert!(!response.text().contains(secret), "{accept} {code}: {}", response.text());
            }
        }
    }
}

#[test]
fn a_head_is_refused_without_a_body() {
    let scene = Scene::new();
    let front = scene.front_with(routes(vec![Route {
        path: "/only".into(),
        queue: Some("default".into()),
        ..Route::default()
    }]));
    let mut client = front.client();
    client.send("HEAD /other HTTP/1.1\r\nhost: a\r\naccept: application/json\r\n\r\n");
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.text().as_str()), (404, ""));
    assert_eq!(response.header("content-type").as_deref(), Some("application/problem+json"));
    client.send("GET /other HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.response().status, 404, "the connection goes on");
}

#[test]
fn a_full_lane_says_when_to_come_back() {
    let scene = Scene::new();
    let front = scene.front_with(FrontConfig { lane_jobs_max: 1, ..config() });
    let mut first = front.client();
    first.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    crate::server::eventually("one job waits", || scene.redis.cli("LLEN tempest:{default}").integer() == 1);
    let refused = refused(&front, "/", "accept: application/json\r\n");
    assert_eq!(refused.status, 503);
    let wait: u32 = refused.header("retry-after").expect("told").parse().expect("seconds");
    assert!((1..=30).contains(&wait));
    let claim = scene.claim();
    scene.answer(&claim, 200, &[], b"done");
    assert_eq!(first.response().status, 200);
}
