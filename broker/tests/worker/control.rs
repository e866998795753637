//! The control channel.

use std::time::Duration;

use tempest_broker::{Control, Controls};
use tempest_protocol::Queue;
use tokio::time::timeout;

use crate::{
    place::{Place, connect, name},
    proxy::Proxy,
};

async fn next(controls: &mut Controls) -> Control {
    timeout(Duration::from_secs(10), controls.next()).await.expect("a line comes")
}

/// Trap 40: the grammar; everything else is ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_heard_on_every_queue_and_junk_is_ignored() {
    let place = Place::open().await;
    let other: Queue = name("other");
    let mut controls = place.broker.controls(&[place.queue.clone(), other]).await;
    let junk =
        ["", "cancel", "cancel a b", "cancel a/b", "Drain", "drain a b", "drain a b c", "reboot", "{}"];
    let bad_kills = [
        "kill",
        "kill a",
        "kill a b",
        "kill a -1",
        "kill a +1",
        "kill a 1 2",
        "kill a/b 1",
        "kill a 86400001",
    ];
    for junk in junk.into_iter().chain(bad_kills) {
        assert_eq!(place.server.run(&["PUBLISH", "tempest:{q}:control", junk]).integer(), 1);
    }
    place.server.run(&["PUBLISH", "tempest:{q}:control", "cancel job-1"]);
    place.server.run(&["PUBLISH", "tempest:{other}:control", "drain"]);
    assert_eq!(next(&mut controls).await, Control::Cancel(name("job-1")));
    assert_eq!(next(&mut controls).await, Control::Drain(None));
    place.server.run(&["PUBLISH", "tempest:{q}:control", " drain host-1-abc\n"]);
    assert_eq!(next(&mut controls).await, Control::Drain(Some(name("host-1-abc"))));
    for (line, after) in [("kill job-1 0", 0), ("kill job-1 86400000", 86_400_000)] {
        place.server.run(&["PUBLISH", "tempest:{q}:control", line]);
        assert_eq!(next(&mut controls).await, Control::Kill(name("job-1"), Duration::from_millis(after)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cancels_may_ask_for_an_end_in_the_same_write() {
    let place = Place::open().await;
    let mut controls = place.broker.controls(std::slice::from_ref(&place.queue)).await;
    let id = name("job-1");
    assert_eq!(place.broker.tell_cancelled(&place.queue, &id, None).await.expect("said"), 1);
    let after = Duration::from_secs(3);
    assert_eq!(place.broker.tell_cancelled(&place.queue, &id, Some(after)).await.expect("said"), 1);
    assert_eq!(next(&mut controls).await, Control::Cancel(id.clone()));
    assert_eq!(next(&mut controls).await, Control::Cancel(id.clone()));
    assert_eq!(next(&mut controls).await, Control::Kill(id, after));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connection_comes_back() {
    let place = Place::open().await;
    let proxy = Proxy::start(place.server.port()).await;
    let broker = connect(&proxy.url()).await;
    let mut controls = broker.controls(std::slice::from_ref(&place.queue)).await;
    proxy.cut_all();
    let again = async {
        loop {
            place.server.run(&["PUBLISH", "tempest:{q}:control", "cancel again"]);
            if let Ok(control) = timeout(Duration::from_millis(50), controls.next()).await {
                return control;
            }
        }
    };
    let control = timeout(Duration::from_secs(10), again).await.expect("it listens again");
    assert_eq!(control, Control::Cancel(name("again")));
}
