//! Fronts, workers, publishers and inspectors at work, each as its own account; Redis denies nothing.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tempest_broker::{
    Caps, Definition, KeeperOptions, Live, NamedSchedule, Patience, Settings, Subscription, Topics,
    acl::{self, Accounts, RESET, Role, Scope},
};
use tempest_protocol::{JobId, Lane, Mailbox, Schedule, Topic, WorkerId};
use tokio::time::timeout;

use crate::scene::{PATIENCE, Scene, job, queue};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_from_a_front_to_a_worker_and_back() {
    let scene = Scene::start().await;
    let (front, worker) = (scene.broker(Role::Front).await, scene.broker(Role::Worker).await);
    let inbox = front.open_inbox("front").await.expect("a mailbox");
    let me = WorkerId::new("host-1-abc").expect("a name");
    let lease = worker.lease(me.clone(), vec![(queue(), 1)], &json!({"pid": 1})).await.expect("a lease");
    let run = worker.run_list(&queue(), &me, 0);
    let frame = job("a", inbox.key());
    let mut waiter = inbox.expect(&JobId::new("a").expect("a name"));
    front.push(&queue(), Lane::Normal, &frame, &Caps::default()).await.expect("pushed");
    let claimed = worker.claim_link().claim(Lane::Normal, &run).await.expect("claimed").expect("the job");
    let reply = Bytes::from(json!({"id": "a", "status": 200, "headers": {}, "body": "done"}).to_string());
    worker.answer_and_ack(inbox.key(), &reply, &run, &claimed).await.expect("answered");
    timeout(PATIENCE, waiter.reply()).await.expect("in time").expect("a reply");
    front
        .cancel(&queue(), Lane::Normal, &frame, &JobId::new("a").expect("a name"), 1, None)
        .await
        .expect("told");
    lease.leave().await.expect("gone");
    inbox.close().await.expect("closed");
    scene.denied_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_of_a_front_or_a_supervisor_recovers_promotes_and_sweeps() {
    for role in [Role::Front, Role::Supervisor, Role::Up] {
        let scene = Scene::start().await;
        let run = "tempest:{mail}:run:host-1-abc.0";
        scene.server.run(&["RPUSH", run, r#"{"action":"send"}"#]);
        scene.server.run(&["ZADD", "tempest:{mail}:later", "1", r#"{"action":"send","args":1}"#]);
        scene.server.run(&["ZADD", "tempest:{mail}:later", "1", "no job"]);
        scene.server.run(&["SADD", "tempest:queues", "mail"]);
        scene.server.run(&["SADD", "tempest:mailboxes", "gone"]);
        scene.server.run(&["RPUSH", "tempest:mailbox:{gone}", "x"]);
        let daily = r#"{"cron":"@daily","action":"send"}"#;
        scene.server.run(&["HSET", "tempest:{mail}:schedules", "due", daily, "new", daily]);
        scene.server.run(&["ZADD", "tempest:{mail}:due", "1", "due"]);
        scene.server.run(&["RPUSH", "tempest:mailbox:{unlisted}", "x"]);
        let broker = scene.broker(role).await;
        let soon = Duration::from_millis(20);
        let patience = Patience { apart: soon, settled: soon, gone: soon };
        let options = KeeperOptions {
            every: soon,
            patience,
            mailbox_gone: Duration::ZERO,
            mailbox_idle: Duration::ZERO,
            ..KeeperOptions::default()
        };
        broker.keep(options);
        let is = |command: &[&str], number| scene.server.run(command).integer() == number;
        crate::server::eventually("all is looked after", || {
            is(&["LLEN", "tempest:{mail}"], 3)
                && is(&["ZCARD", "tempest:{mail}:due"], 2)
                && is(&["ZCARD", "tempest:{mail}:dead"], 1)
                && is(&["EXISTS", run, "tempest:mailbox:{gone}", "tempest:mailbox:{unlisted}"], 0)
                && is(&["SCARD", "tempest:{mail}:workers"], 0)
        });
        broker.close().await;
        scene.denied_nothing();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_recovers_what_a_dead_child_held() {
    let scene = Scene::start().await;
    scene.server.run(&["SADD", "tempest:queues", "mail"]);
    scene.server.run(&["SADD", "tempest:{mail}:workers", "host-1-tag.0"]);
    scene.server.run(&["SET", "tempest:{mail}:lease:host-1-tag", "{}"]);
    let frame = json!({"action": "send", "attempts": 1, "id": "a", "reply_to": "tempest:mailbox:{me}"});
    scene.server.run(&["RPUSH", "tempest:{mail}:run:host-1-tag.0", &frame.to_string()]);
    let supervisor = scene.broker(Role::Supervisor).await;
    let recovered =
        supervisor.recover_tag("tag", "killed", tempest_broker::Mode::Requeue).await.expect("recovered");
    assert_eq!(recovered.total(), 1);
    scene.denied_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_from_publishers_and_workers_to_fronts() {
    let scene = Scene::start().await;
    let front = scene.broker(Role::Front).await;
    let topics = front.topics(&Mailbox::new("front").expect("a name"));
    let topic = Topic::new("news.today").expect("a name");
    let mut news = subscribed(&topics, &topic).await;
    for role in [Role::Publisher, Role::Worker, Role::Caller] {
        scene.broker(role).await.publish(&topic, b"x").await.expect("published");
        let heard = timeout(PATIENCE, news.next()).await.expect("in time");
        assert!(matches!(heard, Live::Events(_)), "{role:?}: {heard:?}");
    }
    scene.denied_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inspector_sees_queues_and_workers() {
    let scene = Scene::start().await;
    scene.server.run(&["SADD", "tempest:queues", "mail"]);
    scene.server.run(&["SADD", "tempest:{mail}:workers", "host-1-abc.0"]);
    scene.server.run(&["RPUSH", "tempest:{mail}", "x"]);
    let inspector = scene.broker(Role::Inspector).await;
    let (queues, workers) = inspector.states().await.expect("seen");
    assert_eq!((queues[0].waiting[1].jobs, workers.len()), (1, 1));
    let hand = [(&queues[0].queue, &workers[0].worker, 1)];
    inspector.jobs_in_hand(&hand).await.expect("seen");
    scene.denied_nothing();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_set_anew_keeps_its_connections() {
    let scene = Scene::start().await;
    let front = scene.broker(Role::Front).await;
    let topics = front.topics(&Mailbox::new("front").expect("a name"));
    let topic = Topic::new("news.today").expect("a name");
    let mut news = subscribed(&topics, &topic).await;
    let clients = || {
        let list = scene.server.cli("CLIENT LIST").text();
        let field =
            |line: &str, name: &str| line.split(' ').find(|word| word.starts_with(name)).map(str::to_owned);
        let of_front = |line: &&str| field(line, "user=").as_deref() == Some("user=front");
        let mut ids: Vec<_> = list.lines().filter(of_front).filter_map(|line| field(line, "id=")).collect();
        ids.sort();
        ids
    };
    let before = clients();
    let (settings, patterns) = (Settings::new(scene.server.url(), "test"), ["news.*".to_owned()]);
    let rules = acl::rules(&settings, Role::Front, &Scope { queues: &[], topics: &patterns });
    let words = ["on", "resetpass", ">another"].into_iter().chain(RESET).map(str::to_owned).chain(rules);
    let words: Vec<_> = words.collect();
    Accounts::open(&settings).await.expect("connected").set("front", &words).await.expect("set");
    front.queues().await.expect("as before");
    scene.broker(Role::Publisher).await.publish(&topic, b"x").await.expect("published");
    assert!(matches!(timeout(PATIENCE, news.next()).await.expect("in time"), Live::Events(_)));
    assert_eq!(clients(), before);
    scene.denied_nothing();
}

/// Subscribes as soon as the connection is up.
async fn subscribed(topics: &Topics, topic: &Topic) -> Subscription {
    let subscribe = async {
        loop {
            if let Ok(subscription) = topics.subscribe(std::slice::from_ref(topic)).await {
                return subscription;
            }
        }
    };
    timeout(PATIENCE, subscribe).await.expect("subscribed")
}

#[tokio::test(flavor = "multi_thread")]
async fn fronts_supervisors_and_callers_write_schedules_and_inspectors_list_them() {
    let scene = Scene::start().await;
    let definition: Definition =
        serde_json::from_value(json!({"cron": "@daily", "action": "send"})).expect("a definition");
    let named = NamedSchedule {
        queue: queue(),
        name: Schedule::new("nightly").expect("a name"),
        schedule: definition.check().expect("a schedule"),
    };
    for role in [Role::Front, Role::Supervisor, Role::Up, Role::Caller] {
        let broker = scene.broker(role).await;
        broker.put_schedule(&named).await.expect("put");
        broker.pause_schedule(&queue(), &named.name, true).await.expect("paused");
        broker.run_schedule(&queue(), &named.name).await.expect("run").expect("there");
        let inspector = scene.broker(Role::Inspector).await;
        assert_eq!(inspector.schedules(&[queue()]).await.expect("listed").len(), 1);
        assert!(broker.remove_schedule(&queue(), &named.name).await.expect("removed"), "{role:?}");
    }
    scene.broker(Role::Front).await.apply_schedules(&[named], false).await.expect("applied");
    scene.denied_nothing();
}
