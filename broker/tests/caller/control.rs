//! Channels ignore `SELECT`: clusters that share a Redis are kept apart by their prefix, not by a database.

use tempest_broker::{Broker, Settings};
use tempest_protocol::{Action, Envelope, Job, Keys, Prefix, Raw};

use crate::{
    harness::{broker, queue},
    server::Server,
};

async fn with_prefix(url: String, prefix: &str) -> Broker {
    let settings = Settings { prefix: Prefix::new(prefix).expect("a name"), ..Settings::new(url, "test") };
    Broker::connect(settings).await.expect("a Redis that can serve")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_prefix_is_another_cluster_and_another_database_is_not() {
    let server = Server::start();
    let mut worker = server.client();
    worker.run(&["SELECT", "0"]);
    worker.run(&["SUBSCRIBE", "tempest:{default}:control"]);
    let other_prefix = with_prefix(server.url(), "acme").await;
    assert_eq!(other_prefix.control(&queue(), "drain").await.expect("published"), 0);
    let other_database = broker(&format!("{}/1", server.url())).await;
    assert_eq!(other_database.control(&queue(), "drain").await.expect("published"), 1);
    assert_eq!(worker.receive().expect("heard").list()[2], b"drain");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_begins_with_the_prefix() {
    let server = Server::start();
    let broker = with_prefix(server.url(), "acme").await;
    broker.announce(&[queue()]).await.expect("announced");
    let caps = tempest_broker::Caps::default();
    broker
        .push(&queue(), tempest_protocol::Lane::High, &crate::harness::job("a"), &caps)
        .await
        .expect("pushed");
    let inbox = broker.open_inbox("caller").await.expect("opened");
    assert!(inbox.key().starts_with("acme:mailbox:{caller-"), "{}", inbox.key());
    let keys = server.cli("KEYS *").list();
    assert!(keys.len() >= 4 && keys.iter().all(|key| key.starts_with(b"acme:")), "{keys:?}");
}

/// A worker must not become anybody's deputy: `reply_to` names a mailbox of this cluster or the job is refused.
#[test]
fn a_reply_to_that_is_no_mailbox_is_a_bad_job() {
    let keys = Keys::default();
    let hostile = [
        "tempest:{default}",
        "tempest:mailbox:{a}:about",
        "tempest:mailbox:a",
        "acme:mailbox:{a}",
        "tempest:mailbox:{a}b}",
        "tempest:mailbox:{}",
        "tempest:mailbox:{a b}",
        "",
    ];
    for reply_to in hostile {
        let envelope = Envelope {
            reply_to: Some(reply_to.into()),
            ..Envelope::new(Action::new("url").expect("a name"))
        };
        let frame = envelope.encode(&Raw::encode(tempest_protocol::Encoding::Json, &()).expect("null"));
        let refused = Job::decode(frame, &keys).expect_err(reply_to);
        assert_eq!(refused.code(), tempest_protocol::Code::BadJob, "{reply_to}");
    }
}
