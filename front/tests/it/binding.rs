//! A front that cannot start says why, all of it at once.

use tempest_front::{Error, FrontConfig, Route};

use crate::{
    scene::{Scene, config, routes},
    server::{Server, free_port},
};

fn refusal(scene: &Scene, config: FrontConfig) -> Error {
    match scene.try_front(&scene.redis.url(), config) {
        Err(error) => error,
        Ok(_) => panic!("the front started"),
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let scene = Scene::without_worker(Server::start());
    let first = scene.front();
    let taken = first.address.to_string();
    let error = refusal(&scene, FrontConfig { listen: vec![taken.clone()], ..config() });
    let line = error.to_string();
    assert!(matches!(error, Error::Bind { .. }));
    assert!(line.contains(&taken) && line.contains("--listen") && line.lines().count() == 1, "{line}");
}

#[test]
fn an_address_that_is_none_is_one_line() {
    let scene = Scene::without_worker(Server::start());
    for address in ["localhost", "nonsense:99999", "no-such-host.invalid:1", "203.0.113.1:0"] {
        let line = refusal(&scene, FrontConfig { listen: vec![address.into()], ..config() }).to_string();
        assert!(line.contains(address) && line.lines().count() == 1, "{line}");
    }
}

#[test]
fn a_host_name_is_listened_on_with_all_its_addresses() {
    let scene = Scene::new();
    let port = free_port();
    let front = scene.front_with(FrontConfig { listen: vec![format!("localhost:{port}")], ..config() });
    assert_eq!(front.address.port(), port);
    scene.exchange(&front, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
}

#[test]
fn a_route_that_could_never_be_reached_is_refused() {
    let scene = Scene::without_worker(Server::start());
    let by = |methods: &[&str]| Route {
        path: "/".into(),
        queue: Some("default".into()),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        ..Route::default()
    };
    for (first, second) in [(by(&[]), by(&[])), (by(&[]), by(&["GET"])), (by(&["GET", "PUT"]), by(&["PUT"]))]
    {
        let line = refusal(&scene, routes(vec![first, second])).to_string();
        assert!(line.contains("\"/\" stands twice") && line.lines().count() == 1, "{line}");
    }
}

#[test]
fn every_mistake_of_the_table_is_told_at_once() {
    let scene = Scene::without_worker(Server::start());
    let good = Route { path: "/{*rest}".into(), queue: Some("default".into()), ..Route::default() };
    let mistakes = [
        Route { path: "no-slash".into(), ..good.clone() },
        Route { path: "/{unclosed".into(), ..good.clone() },
        Route { path: "/neither".into(), queue: None, ..good.clone() },
        Route { path: "/both".into(), topic: Some("t".into()), ..good.clone() },
        Route { path: "/queue".into(), queue: Some("not a name".into()), ..good.clone() },
        Route { path: "/lane".into(), lane: Some("highest".into()), ..good.clone() },
        Route { path: "/action".into(), action: Some("a/b".into()), ..good.clone() },
        Route { path: "/encoding".into(), encoding: Some("xml".into()), ..good.clone() },
        Route { path: "/methods".into(), methods: vec!["get".into()], ..good.clone() },
        Route { path: "/timeout".into(), timeout_ms: Some(0), ..good.clone() },
        Route { path: "/template".into(), queue: None, topic: Some("user/{id}".into()), ..good.clone() },
    ];
    let told = refusal(&scene, routes([mistakes.to_vec(), vec![good]].concat())).to_string();
    for route in &mistakes {
        assert!(told.contains(&format!("{:?}", route.path)), "{:?} is missing in:\n{told}", route.path);
    }
    assert_eq!(scene.redis.cli("KEYS tempest:mailbox*").list().len(), 0, "nothing was opened");
}

#[test]
fn paths_that_cannot_stand_side_by_side_are_told() {
    let scene = Scene::without_worker(Server::start());
    let route = |path: &str| Route { path: path.into(), queue: Some("default".into()), ..Route::default() };
    let told = refusal(&scene, routes(vec![route("/a/{x}"), route("/a/{y}")])).to_string();
    assert!(told.contains("/a/{y}"), "{told}");
}

#[test]
fn no_redis_is_one_line() {
    let scene = Scene::without_worker(Server::start());
    let url = format!("redis://127.0.0.1:{}", free_port());
    let error = scene.try_front(&url, config()).err().expect("no front");
    let line = error.to_string();
    assert!(line.contains(&url) && line.lines().count() == 1, "{line}");
}
