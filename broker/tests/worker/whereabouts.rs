//! Where a job of some id is.

use tempest_broker::has_tag;
use tempest_protocol::WorkerId;

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
