//! What each account may, by the table, and what it may not.

use tempest_broker::acl::{self, Role};

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn every_account_may_do_all_that_its_role_does() {
    let scene = Scene::start().await;
    for role in Role::ALL {
        let name = format!("{}-doctor", role.as_str());
        for command in acl::commands(&scene.settings(&name), role) {
            let words: Vec<_> = command.iter().map(String::as_str).collect();
            assert!(scene.may(&name, &words), "{name} may not {words:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_may_do_what_tempest_never_does() {
    let scene = Scene::start().await;
    let never: [&[&str]; 14] = [
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["KEYS", "*"],
        &["CONFIG", "GET", "*"],
        &["DEBUG", "SLEEP", "0"],
        &["ACL", "LIST"],
        &["SCRIPT", "FLUSH"],
        &["SHUTDOWN"],
        &["MONITOR"],
        &["CLIENT", "LIST"],
        &["CLIENT", "KILL", "ID", "1"],
        &["PSUBSCRIBE", "*"],
        &["GET", "elsewhere"],
        &["SET", "elsewhere", "x"],
    ];
    for role in Role::ALL {
        for command in never {
            assert!(!scene.may(role.as_str(), command), "{role:?} may {command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_its_own_queue_only() {
    let scene = Scene::start().await;
    let refused: [&[&str]; 14] = [
        &["BLMOVE", "tempest:{other}", "tempest:{mail}:run:w.0", "LEFT", "RIGHT", "1"],
        &["LMOVE", "tempest:{other}", "tempest:{mail}:run:w.0", "LEFT", "RIGHT"],
        &["LMOVE", "tempest:{mail}", "tempest:{other}", "LEFT", "RIGHT"],
        &["RPUSH", "tempest:{other}", "x"],
        &["RPUSH", "tempest:{mailing}", "x"],
        &["LRANGE", "tempest:{other}:run:w.0", "0", "-1"],
        &["LRANGE", "tempest:mailbox:{front}", "0", "-1"],
        &["BLMOVE", "tempest:mailbox:{front}", "tempest:{mail}", "LEFT", "RIGHT", "1"],
        &["LMOVE", "tempest:mailbox:{front}", "tempest:{mail}", "LEFT", "RIGHT"],
        &["DEL", "tempest:mailbox:{front}"],
        &["SMEMBERS", "tempest:queues"],
        &["SUBSCRIBE", "tempest:{other}:control"],
        &["PUBLISH", "tempest:{mail}:control", "drain"],
        &["EVAL", "return redis.call('GET', KEYS[1])", "1", "tempest:{other}:lease:w"],
    ];
    for command in refused {
        assert!(!scene.may("worker", command), "a worker may {command:?}");
    }
    assert!(scene.may("worker", &["RPUSH", "tempest:mailbox:{front}", "x"]));
    assert!(scene.may("worker", &["PUBLISH", "news.today", "x"]));
    assert!(!scene.may("worker", &["PUBLISH", "weather", "x"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_publish_inspectors_look_callers_push_to_their_queues() {
    let scene = Scene::start().await;
    let refused: [(&str, &[&str]); 12] = [
        ("publisher", &["RPUSH", "tempest:{mail}", "x"]),
        ("publisher", &["PUBLISH", "weather", "x"]),
        ("publisher", &["PUBLISH", "tempest:{mail}:control", "drain"]),
        ("publisher", &["SUBSCRIBE", "news.today"]),
        ("inspector", &["RPUSH", "tempest:{mail}", "x"]),
        ("inspector", &["DEL", "tempest:{mail}"]),
        ("inspector", &["LRANGE", "tempest:mailbox:{front}", "0", "-1"]),
        ("caller", &["RPUSH", "tempest:{other}", "x"]),
        ("caller", &["LMOVE", "tempest:{mail}", "tempest:{mail}:run:w.0", "LEFT", "RIGHT"]),
        ("front", &["BLMOVE", "tempest:{mail}", "tempest:{mail}:run:w.0", "LEFT", "RIGHT", "1"]),
        ("front", &["PUBLISH", "news.today", "x"]),
        ("supervisor", &["LRANGE", "tempest:mailbox:{front}", "0", "-1"]),
    ];
    for (name, command) in refused {
        assert!(!scene.may(name, command), "{name} may {command:?}");
    }
    assert!(scene.may("publisher", &["PUBLISH", "news.today", "x"]));
    assert!(scene.may("caller", &["RPUSH", "tempest:{mail}:high", "x"]));
}
