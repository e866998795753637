//! TLS with Redis: every kind of connection, and what is said when certificates do not fit.

use std::path::PathBuf;

use tempest_broker::{Broker, Caps, Error, Inspection, Live, Settings, Tls};
use tempest_protocol::{Lane, WorkerId};

use crate::{
    authority::{Authority, Files},
    harness::{PATIENCE, body, id, job, queue, reply, subscribe, topic, topics, within},
    server::{Server, free_port},
};

const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

/// A Redis with this certificate, and how to reach it with this authority.
fn secured(authority: &Authority, files: &Files, wants: bool) -> (Server, Settings) {
    let (server, port) = Server::start_tls(&authority.file(), &files.cert, &files.key, wants);
    let tls = Tls { ca_file: Some(authority.file()), ..Tls::default() };
    (server, Settings { tls, ..Settings::new(format!("rediss://127.0.0.1:{port}"), "test") })
}

fn named(settings: &Settings, host: &str) -> Settings {
    Settings { url: settings.url.replace("127.0.0.1", host), ..settings.clone() }
}

fn with(settings: &Settings, tls: Tls) -> Settings {
    Settings { tls, ..settings.clone() }
}

/// The one line an operator sees.
async fn refusal(settings: Settings) -> String {
    match tokio::time::timeout(PATIENCE, Broker::connect(settings)).await.expect("an end") {
        Err(Error::Setup(line)) => {
            assert_eq!(line.lines().count(), 1, "more than one line: {line:?}");
            line
        }
        Err(other) => panic!("a setup error was expected, not {other:?}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_mailboxes_claims_and_events_go_over_tls() {
    let authority = Authority::new("ours");
    let (server, settings) = secured(&authority, &authority.sign("redis", &HERE), false);
    let broker = Broker::connect(named(&settings, "localhost")).await.expect("a name it is for");
    let inbox = broker.open_inbox("caller").await.expect("opened");
    broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await.expect("pushed");
    let worker = WorkerId::new("host-1-abc").expect("a name");
    let claimed = broker.claim_link().claim(Lane::Normal, &broker.run_list(&queue(), &worker, 0)).await;
    assert_eq!(claimed.expect("claimed"), Some(job("a")));
    let mut waiter = inbox.expect(&id("a"));
    server.run(&["RPUSH", inbox.key(), &reply("a", "done")]);
    assert_eq!(body(&mut waiter).await, "done");
    let topics = topics(&broker);
    let mut news = subscribe(&topics, &["news"]).await;
    server.run(&["PUBLISH", "news", "\"hello\""]);
    assert!(matches!(within("an event", news.next()).await, Live::Events(_)));
    broker.publish(&topic("news"), b"x").await.expect("published");
    assert!(matches!(within("an event", news.next()).await, Live::Events(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_cut_comes_back_with_the_certificates_of_then() {
    let (authority, next) = (Authority::new("ours"), Authority::new("next"));
    let (server, mut settings) = secured(&authority, &authority.sign("redis", &HERE), false);
    let trusted = authority.folder().join("trusted.pem");
    std::fs::copy(authority.file(), &trusted).expect("copied");
    settings.tls.ca_file = Some(trusted.clone());
    let broker = Broker::connect(settings).await.expect("trusted");
    let files = next.sign("redis", &HERE);
    let path = |file: &PathBuf| file.to_str().expect("text").to_owned();
    let (cert, key) = (path(&files.cert), path(&files.key));
    server.run(&["CONFIG", "SET", "tls-cert-file", &cert, "tls-key-file", &key]).text();
    std::fs::copy(next.file(), &trusted).expect("copied");
    server.cli("CLIENT KILL TYPE normal SKIPME yes");
    within("it notices", async {
        while broker.queues().await.is_ok() {
            tokio::task::yield_now().await;
        }
        broker.up().await;
    })
    .await;
    broker.queues().await.expect("as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_is_not_known_is_told() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let (_server, settings) = secured(&authority, &authority.sign("redis", &HERE), false);
    for tls in [Tls::default(), Tls { ca_file: Some(other.file()), ..Tls::default() }] {
        let line = refusal(with(&settings, tls.clone())).await;
        assert!(
            line.contains("authority that is not known") && line.contains("redis.ca_file"),
            "{tls:?}: {line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_name_is_told() {
    let authority = Authority::new("ours");
    let (_server, settings) = secured(&authority, &authority.sign("redis", &["redis.test"]), false);
    for host in HERE {
        let line = refusal(named(&settings, host)).await;
        assert!(line.contains("for another name") && line.contains("redis.test"), "{host}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_is_told() {
    let authority = Authority::new("ours");
    let (_server, settings) = secured(&authority, &authority.sign_until("redis", &HERE, 2020), false);
    let line = refusal(settings).await;
    assert!(line.contains("has expired") && line.contains("new one"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_asks_for_a_certificate_gets_ours() {
    let authority = Authority::new("ours");
    let (_server, settings) = secured(&authority, &authority.sign("redis", &HERE), true);
    let line = refusal(settings.clone()).await;
    assert!(line.contains("certificate") && line.contains("redis.cert_file"), "{line}");
    let ours = authority.sign("front", &["front.test"]);
    let shown = Tls { cert_file: Some(ours.cert.clone()), key_file: Some(ours.key), ..settings.tls.clone() };
    Broker::connect(with(&settings, shown)).await.expect("our certificate").close().await;
    let half = Tls { cert_file: Some(ours.cert), ..settings.tls.clone() };
    assert!(refusal(with(&settings, half)).await.contains("go together"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_none_are_named() {
    let authority = Authority::new("ours");
    let url = format!("rediss://127.0.0.1:{}", free_port());
    let empty = authority.folder().join("empty.pem");
    std::fs::write(&empty, "not a certificate").expect("written");
    for (file, found) in
        [(authority.folder().join("missing.pem"), "cannot be read"), (empty, "holds no certificate")]
    {
        let tls = Tls { ca_file: Some(file.clone()), ..Tls::default() };
        let line = refusal(Settings { tls, ..Settings::new(url.clone(), "test") }).await;
        assert!(line.contains("redis.ca_file") && line.contains(found), "{line}");
        assert!(line.contains(file.to_str().expect("text")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_none_are_not_mixed_up_silently() {
    let authority = Authority::new("ours");
    let (server, settings) = secured(&authority, &authority.sign("redis", &HERE), false);
    let plain = refusal(Settings::new(settings.url.replace("rediss", "redis"), "test")).await;
    assert!(plain.contains("rediss://"), "{plain}");
    let spoken =
        refusal(with(&Settings::new(server.url().replace("redis:", "rediss:"), "test"), settings.tls)).await;
    assert!(spoken.contains("redis://"), "{spoken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trusting_whoever_answers_is_refused() {
    let line = refusal(Settings::new("rediss://127.0.0.1:6379/#insecure", "test")).await;
    assert!(line.contains("#insecure is not served") && line.contains("redis.ca_file"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspection_says_that_it_is_tls() {
    let authority = Authority::new("ours");
    let (server, settings) = secured(&authority, &authority.sign("redis", &HERE), false);
    let it = Inspection::of(&settings).await.expect("looked at");
    assert_eq!(it.tls, Some(settings.tls.clone()));
    assert!(it.prompt.contains("--tls --cacert"), "{}", it.prompt);
    assert_eq!(Inspection::of(&Settings::new(server.url(), "test")).await.expect("looked at").tls, None);
}
