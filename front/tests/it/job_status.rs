//! What is known of a background job, over HTTP: who waits for it, who may see it, where it is.

use std::time::Duration;

use tempest_front::Route;

use crate::{
    background::{REPORTS, jobs, json_of, post, pushed, pushing, reports, status},
    scene::{Scene, routes, timed},
    server::{Answer, eventually},
};

#[test]
fn a_status_is_waited_for_until_the_job_ends() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(reports()));
    let at = pushed(&front, "");
    let claim = scene.report();
    let (early, took) = timed(|| status(&front, &format!("{at}?wait=300ms")));
    assert_eq!(early["state"], "waiting", "the time is over");
    assert!(took >= Duration::from_millis(300));

    let mut client = front.client();
    // Longer than this client has patience for.
    client.send(format!("GET {at}?wait=30s HTTP/1.1\r\nhost: a\r\n\r\n"));
    scene.note(&claim, &["state", "running"]);
    scene.end(&claim, r#"{"id":"ID","result":7}"#, &["state", "done"]);
    assert_eq!(json_of(&client.response())["result"], 7);
    for wrong in ["wait=", "wait=soon", "wait=-1s", "wait=1.5s", "wait=5m"] {
        assert_eq!(front.get(&format!("{at}?{wrong}")).status, 400, "{wrong}");
    }
    assert_eq!(status(&front, &format!("{at}?wait=99999999999999999999999s"))["state"], "done");
}

#[test]
fn a_client_that_waits_and_leaves_is_no_load_and_a_front_that_stops_does_not_wait() {
    let scene = Scene::new();
    let mut front = scene.front_with(pushing(reports()));
    let at = pushed(&front, "");
    let asked = || scene.redis.cli("INFO commandstats").text();
    let calls = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("cmdstat_pttl:calls="))?;
        line.split(',').next()?.parse::<u64>().ok()
    };
    let mut client = front.client();
    client.send(format!("GET {at}?wait=30s HTTP/1.1\r\nhost: a\r\n\r\n"));
    eventually("it looks", || calls(&asked()) > Some(3));
    drop(client);
    eventually("it has stopped to look", || {
        let before = calls(&asked());
        std::thread::sleep(Duration::from_millis(700)); // longer than the longest pause
        before == calls(&asked())
    });
    let mut client = front.client();
    client.send(format!("GET {at}?wait=30s HTTP/1.1\r\nhost: a\r\n\r\n"));
    let before = calls(&asked());
    eventually("it looks", || calls(&asked()) > before);
    front.stop();
    assert_eq!(json_of(&client.response())["state"], "waiting");
    front.ended();
}

#[test]
fn only_jobs_of_routes_that_push_them_are_shown() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(reports()));
    let at = pushed(&front, "");
    let id = at.rsplit('/').next().expect("an id").to_owned();
    scene.redis.run(&["HSET", "tempest:{default}:job:other", "state", "waiting"]);
    for path in
        ["/jobs/default/other", "/jobs/reports/nothing", "/jobs/reports/%2e%2e", &format!("/jobs/x/{id}")]
    {
        assert_eq!(front.get(path).status, 404, "{path}");
    }
    let mut client = front.client();
    client.send(format!("DELETE {at} HTTP/1.1\r\nhost: a\r\n\r\n"));
    let refused = client.response();
    assert_eq!((refused.status, refused.header("allow").as_deref()), (405, Some("GET, HEAD")));
    client.send(format!("HEAD {at} HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert_eq!(client.response_to("HEAD").status, 200);
}

#[test]
fn without_a_route_for_it_there_is_no_status() {
    let scene = Scene::new();
    let front = scene.front_with(routes(vec![reports()]));
    let response = post(&mut front.client(), "", "");
    assert_eq!((response.status, response.header("location")), (202, None));
    assert_eq!(json_of(&response).get("status"), None);
    // One of another host, or of another queue, is not for it.
    let elsewhere = Route { host: Some("b".into()), ..jobs() };
    let other = Route { path: "/others/{id}".into(), queue: Some("default".into()), ..jobs() };
    let own = Route { path: "/r/{id}".into(), queue: Some("reports".into()), ..jobs() };
    let front = scene.front_with(routes(vec![reports(), elsewhere, other, own]));
    let at = pushed(&front, "");
    assert!(at.starts_with("/r/"), "{at}");
    assert_eq!(status(&front, &at)["state"], "waiting");
}

#[test]
fn a_record_that_is_gone_is_not_found() {
    let scene = Scene::new();
    let front = scene.front_with(pushing(Route { keep_ms: Some(0), ..reports() }));
    let at = pushed(&front, "");
    let claim = scene.report();
    assert!(claim.job.envelope.background.is_none(), "nothing is kept");
    assert!(matches!(
        scene.redis.run(&["DEL", &format!("{REPORTS}:job:{}", claim.id())]),
        Answer::Integer(1)
    ));
    assert_eq!(front.get(&format!("{at}?wait=30s")).status, 404);
}
