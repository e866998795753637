//! How commands find their Redis: option, running cluster, variable, file, default.

use serde_json::json;

use crate::{server::Server, shop::Shop};

/// A Redis that is known by the queue it has.
fn named(queue: &str) -> Server {
    let server = Server::start();
    server.run(&["SADD", "tempest:queues", queue]);
    server
}

fn up_file(shop: &Shop, server: &Server, pid: u32) {
    let content = json!({ "front": "", "redis_url": server.url(), "prefix": "tempest", "topic_prefix": "", "pid": pid });
    shop.write(".tempest/up.json", &content.to_string());
}

fn first_queue(told: crate::shop::Told) -> String {
    told.json()[0]["queue"].as_str().expect("a queue").to_owned()
}

#[test]
fn the_running_cluster_wins_over_the_variable_and_an_option_over_all() {
    let (running, variable, option) = (named("running"), named("variable"), named("option"));
    let shop = Shop::at(variable.url());
    shop.write("tempest.toml", "this is not read here");
    up_file(&shop, &running, std::process::id());
    assert_eq!(first_queue(shop.call(&["queues", "--json"])), "running");
    let below = shop.dir.path().join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let told = shop.command_in(&below, &["queues", "--json"]).output().unwrap();
    assert_eq!(first_queue(crate::shop::Told::of(told)), "running", "it is found from below");
    shop.write("tempest.toml", "");
    let told = shop.call(&["queues", "--json", "--redis-url", &option.url()]);
    assert_eq!(first_queue(told), "option");
}

#[test]
fn a_cluster_that_is_gone_is_not_believed() {
    let (gone, variable, file) = (named("gone"), named("variable"), named("file"));
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let shop = Shop::at(variable.url());
    up_file(&shop, &gone, child.id());
    assert_eq!(first_queue(shop.call(&["queues", "--json"])), "variable");
    shop.write(".tempest/up.json", "{ half a fi");
    assert_eq!(first_queue(shop.call(&["queues", "--json"])), "variable");
    let shop = Shop::new();
    up_file(&shop, &gone, child.id());
    shop.write("tempest.toml", &format!("[redis]\nurl = \"{}\"\n", file.url()));
    assert_eq!(first_queue(shop.call(&["queues", "--json"])), "file");
}
