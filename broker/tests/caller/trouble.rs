//! What to do after each error of Redis: the table of the SPEC, held against a real server where one can be made to
//! say the word.

use redis_words::WORDS;
use tempest_broker::{Caps, Error, Trouble};
use tempest_protocol::Lane;

use crate::{
    harness::{broker, job, queue},
    server::Server,
};

mod redis_words {
    use tempest_broker::Trouble::{self, BackOff, Final, Operator, Reconnect};

    pub(super) const WORDS: [(&str, Trouble); 17] = [
        ("UNBLOCKED", Reconnect),
        ("READONLY", Reconnect),
        ("LOADING", Reconnect),
        ("MASTERDOWN", Reconnect),
        ("CLUSTERDOWN", Reconnect),
        ("MOVED", Reconnect),
        ("ASK", Reconnect),
        ("TRYAGAIN", Reconnect),
        ("OOM", BackOff),
        ("MISCONF", BackOff),
        ("BUSY", BackOff),
        ("NOAUTH", Operator),
        ("WRONGPASS", Operator),
        ("NOPERM", Operator),
        ("WRONGTYPE", Operator),
        ("ERR", Final),
        ("NOSCRIPT", Final),
    ];
}

#[test]
fn each_word_has_its_treatment() {
    for (word, trouble) in WORDS {
        let error = Error::Refused { word: word.into(), detail: String::new() };
        assert_eq!(error.trouble(), trouble, "{word}");
    }
    assert_eq!(Error::Down.trouble(), Trouble::Reconnect);
    assert_eq!(Error::Away("cut".into()).trouble(), Trouble::Reconnect);
    assert_eq!(Error::QueueFull { queue: "q".into() }.trouble(), Trouble::Final);
}

/// What a push is told by this server.
async fn told(server: &Server, url: &str, prepare: &[&[&str]]) -> Error {
    let broker = broker(url).await;
    for command in prepare {
        let answer = server.run(command);
        assert!(!matches!(answer, crate::server::Answer::Error(_)), "{command:?}: {answer:?}");
    }
    broker.push(&queue(), Lane::Normal, &job("a"), &Caps::default()).await.expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_says_the_words_we_know() {
    let cases: [(&[&[&str]], &str); 4] = [
        (&[&["SET", "tempest:{default}", "text"]], "WRONGTYPE"),
        (&[&["CONFIG", "SET", "maxmemory", "1"]], "OOM"),
        (&[&["REPLICAOF", "127.0.0.1", "1"]], "READONLY"),
        (&[&["ACL", "SETUSER", "default", "-rpush"]], "NOPERM"),
    ];
    for (prepare, word) in cases {
        let server = Server::start();
        let error = told(&server, &server.url(), prepare).await;
        assert!(matches!(&error, Error::Refused { word: told, .. } if told == word), "{word}: {error:?}");
    }
}
