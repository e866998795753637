//! Which topics a client may name.

use tempest_front::Route;

use crate::scene::{Running, Scene, config, routes};

/// A cluster's own channels, Redis' own, and names that are none.
const HOSTILE: [&str; 20] = [
    "tempest:mailbox:{x}",
    "tempest:mailbox:%7Bx%7D",
    "tempest%3Amailbox%3A%7Bx%7D",
    "%74empest:mailbox:x",
    "tempest:probe:x",
    "tempest:x",
    "__keyspace@0__:*",
    "__keyspace%400__:tempest",
    "__sentinel__:hello",
    "%5f%5fkeyspace",
    "acme:mailbox:x",
    "a,tempest:x",
    "a,",
    ",a",
    "a%2Ctempest:x",
    "a*",
    "%00",
    "a%0d%0ab",
    "%ff",
    "caf%C3%A9",
];

fn check(scene: &Scene, front: &Running) {
    for topic in HOSTILE {
        assert_eq!(front.get(&format!("/sub/{topic}")).status, 404, "{topic}");
    }
    let too_long = "x".repeat(257);
    assert_eq!(front.get(&format!("/sub/{too_long}")).status, 404);
    let many: Vec<_> = (0..33).map(|n| format!("t{n}")).collect();
    assert_eq!(front.get(&format!("/sub/{}", many.join(","))).status, 404, "33 topics");
    let subscribed = scene.redis.cli("PUBSUB CHANNELS").list();
    let foreign: Vec<_> = subscribed.iter().filter(|name| !name.starts_with(b"tempest:")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    drop(front.events(&format!("/sub/{}", many[..32].join(","))));
    let longest = "x".repeat(256);
    drop(front.events(&format!("/sub/{longest}")));
    drop(front.events("/sub/a%2Fb"));
}

#[test]
fn hostile_names_are_not_found() {
    let scene = Scene::new();
    check(&scene, &scene.front());
    let scene = Scene::new();
    let embedded = scene.embedded(config());
    for topic in HOSTILE {
        assert_eq!(embedded.get(&format!("/sub/{topic}")).status, 404, "{topic}");
    }
}

#[test]
fn a_percent_encoded_name_is_the_name() {
    let scene = Scene::new();
    let front = scene.front();
    for path in ["/sub/news/sport", "/sub/news%2Fsport", "/sub/%6eews/sport"] {
        let mut events = front.events(path);
        assert_eq!(scene.redis.run(&["PUBLISH", "news/sport", "goal"]).integer(), 1, "{path}");
        assert_eq!(events.event().as_deref(), Some("data: goal"), "{path}");
    }
}

#[test]
fn a_route_makes_topics_of_parts_of_its_path() {
    let scene = Scene::new();
    let table = vec![
        Route { path: "/users/{id}/events".into(), topic: Some("user/{id},all".into()), ..Route::default() },
        Route { path: "/fixed".into(), topic: Some("weather".into()), ..Route::default() },
    ];
    let front = scene.front_with(routes(table));
    let mut events = front.events("/users/42/events?x=y");
    for topic in ["user/42", "all"] {
        scene.redis.run(&["PUBLISH", topic, topic]);
        assert_eq!(events.event(), Some(format!("data: {topic}")));
    }
    let mut fixed = front.events("/fixed");
    scene.redis.run(&["PUBLISH", "weather", "rain"]);
    assert_eq!(fixed.event().as_deref(), Some("data: rain"));
    for hostile in [
        "/users/a,tempest:x/events",
        "/users/a%2Cevil/events",
        "/users/a%2Fprivate/events",
        "/users/%7B/events",
    ] {
        assert_eq!(front.get(hostile).status, 404, "{hostile}");
    }
}
