//! Where a job of some id is.

use tempest_broker::{Whereabouts, has_tag};
use tempest_protocol::{Lane, WorkerId};

use crate::place::{Place, name};

/// Registers a slot of a worker that holds these jobs.
fn register(place: &Place, entry: &str, frames: &[&str]) {
    place.server.run(&["SADD", "tempest:{q}:workers", entry]);
    for frame in frames {
        place.server.run(&["RPUSH", &format!("tempest:{{q}}:run:{entry}"), frame]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_that_holds_a_job_is_found_by_its_run_list() {
    let place = Place::open().await;
    for number in 0..40 {
        register(&place, &format!("idle-{number}-x.0"), &[]);
    }
    // An id in the arguments of another job is not that job's; what cannot be read has none.
    register(&place, "host-1-abc.0", &[r#"{"action":"a","id":"other","args":{"id":"j1"}}"#, "j1"]);
    register(&place, "host-2-tag-1.0", &[r#"{"action":"a","id":"first"}"#, r#"{"id":"j1","action":"a"}"#]);
    register(&place, "host-2-tag-1.3", &[r#"{"action":"a","id":"\u006a2"}"#]);
    let holder = async |id: &str, among: &dyn Fn(&WorkerId) -> bool| {
        place.broker.holder(&place.queue, &name(id), among).await.expect("asked").map(|it| it.to_string())
    };
    let (any, of_tag) = (|_: &WorkerId| true, |worker: &WorkerId| has_tag(worker, "tag"));
    assert_eq!(holder("j1", &any).await.as_deref(), Some("host-2-tag-1"));
    assert_eq!(holder("j1", &of_tag).await.as_deref(), Some("host-2-tag-1"));
    assert_eq!(holder("j2", &of_tag).await.as_deref(), Some("host-2-tag-1"), "any slot, any spelling");
    assert_eq!(holder("other", &any).await.as_deref(), Some("host-1-abc"));
    assert_eq!(holder("other", &of_tag).await, None);
    assert_eq!(holder("j3", &any).await, None);
    assert_eq!(holder("other", &|_: &WorkerId| false).await, None, "nobody is asked about nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_list_of_a_wrong_type_is_said() {
    let place = Place::open().await;
    register(&place, "host-1-abc.0", &[]);
    place.server.run(&["SET", "tempest:{q}:run:host-1-abc.0", "x"]);
    let refused =
        place.broker.holder(&place.queue, &name("j1"), |_: &WorkerId| true).await.expect_err("no list");
    assert!(refused.to_string().contains("WRONGTYPE"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_found_wherever_it_is() {
    let place = Place::open().await;
    let deep: Vec<_> = (0..200).map(|number| format!(r#"{{"action":"a","id":"w{number}"}}"#)).collect();
    for frame in &deep {
        place.server.run(&["RPUSH", "tempest:{q}:low", frame]);
        place.server.run(&["ZADD", "tempest:{q}:later", "1", frame.replace("\"w", "\"l").as_str()]);
        place.server.run(&["ZADD", "tempest:{q}:dead", "1", frame.replace("\"w", "\"d").as_str()]);
    }
    place.server.run(&["RPUSH", "tempest:{q}:low", "no job"]);
    register(&place, "host-1-abc.0", &[r#"{"action":"a","id":"held"}"#]);
    let find = async |id: &str, lanes: &[Lane]| {
        let found = place.broker.find(&place.queue, &name(id), lanes).await.expect("looked");
        found.map(|(place, job)| {
            assert_eq!(job.envelope.id.map(|id| id.to_string()).as_deref(), Some(id));
            place
        })
    };
    for id in ["w0", "w71", "w199"] {
        assert_eq!(find(id, &Lane::ALL).await, Some(Whereabouts::Waiting(Lane::Low)), "{id}");
        assert_eq!(find(id, &[Lane::High]).await, None, "{id}");
    }
    for (id, place) in [("l0", Whereabouts::Later), ("l199", Whereabouts::Later), ("d100", Whereabouts::Dead)]
    {
        assert_eq!(find(id, &Lane::ALL).await, Some(place), "{id}");
    }
    assert_eq!(find("held", &[]).await, Some(Whereabouts::Held(name("host-1-abc"))));
    assert_eq!(find("w200", &Lane::ALL).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_to_run_later_is_taken_back_by_its_bytes() {
    let place = Place::open().await;
    let frame = bytes::Bytes::from_static(br#"{"action":"a","id":"j"}"#);
    place.server.run(&[b"ZADD" as &[u8], b"tempest:{q}:later", b"1", &frame]);
    assert!(place.broker.take_back_later(&place.queue, &frame).await.expect("asked"));
    assert!(!place.broker.take_back_later(&place.queue, &frame).await.expect("asked"));
}
