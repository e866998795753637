//! `tempest config`, `tempest init`, help and version

use crate::shop::Shop;

#[test]
fn each_layer_wins_over_the_one_below() {
    let shop = Shop::new().with("TEMPEST_TIMEOUT_MS", "3000").with("TEMPEST_DRAIN_MS", "7");
    shop.write("tempest.toml", "[front]\ntimeout_ms = 2000\nbody_bytes_max = 99\ndrain_ms = 8\n");
    let told = shop.call(&["config", "--json", "--drain-ms", "9"]).json();
    let of = |key: &str| {
        let setting = &told["settings"][key];
        (setting["value"].as_str().unwrap().to_owned(), setting["origin"].as_str().unwrap().to_owned())
    };
    let is = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(of("front.listen"), is("localhost:1337", "default"));
    assert_eq!(of("front.body_bytes_max"), is("99", "file tempest.toml:3"));
    assert_eq!(of("front.timeout_ms"), is("3000", "environment TEMPEST_TIMEOUT_MS"));
    assert_eq!(of("front.drain_ms"), is("9", "option --drain-ms"));
    assert_eq!(told["file"], "tempest.toml");
}

#[test]
fn routes_and_workers_are_shown_and_a_password_is_not() {
    let shop = Shop::new().with("TEMPEST_REDIS_URL", "redis://me:secret@10.0.0.5:6379");
    shop.write(
        "other.toml",
        "[admin]\ntoken = \"secret-of-sixteen\"\n\
        [[route]]\npath = \"/y\"\nqueue = \"q\"\nbackground = true\n[[route]]\npath = \"/jobs/{queue}/{id}\"\njobs = true\n\
        [[route]]\npath = \"/x\"\nqueue = \"q\"\n[[worker]]\nname = \"w\"\ncommand = \"run it\"\nqueues = [\"q\"]\n\
        [[schedule]]\nname = \"s\"\ncron = \"@daily\"\nzone = \"Europe/Berlin\"\naction = \"a\"\n",
    );
    let text = shop.call(&["config", "--config", "other.toml"]).good();
    assert!(text.contains("route /x → queue q") && text.contains("worker w × 1 on q: run it"), "{text}");
    assert!(text.contains("route /y → queue q, in the background"), "{text}");
    assert!(text.contains("route /jobs/{queue}/{id} → jobs\n"), "{text}");
    assert!(text.contains("schedule s of default: @daily in Europe/Berlin → a"), "{text}");
    let told = shop.call(&["config", "--config", "other.toml", "--json"]).json();
    assert_eq!(told["schedules"][0]["definition"]["cron"], "@daily");
    assert!(text.contains("10.0.0.5") && !text.contains("secret"), "{text}");
    assert!(!told.to_string().contains("secret"), "{told}");
}

#[test]
fn init_writes_a_file_that_is_good_and_keeps_one_that_is_there() {
    let shop = Shop::new();
    assert!(shop.call(&["init"]).good().contains("tempest.toml"));
    let told = shop.call(&["config", "--json"]).json();
    assert_eq!(told["routes"].as_array().unwrap().len(), 2);
    shop.write("tempest.toml", "# mine\n");
    let line = shop.call(&["init"]).one_line(1);
    assert!(line.contains("--force"), "{line}");
    assert_eq!(std::fs::read_to_string(shop.dir.path().join("tempest.toml")).unwrap(), "# mine\n");
    shop.call(&["init", "--force"]).good();
    shop.call(&["init", "--file", "second.toml"]).good();
}

#[test]
fn help_tells_every_setting_and_an_example_of_every_command() {
    let shop = Shop::new();
    let help = shop.call(&["up", "--help"]).good();
    let init = {
        shop.call(&["init"]).good();
        std::fs::read_to_string(shop.dir.path().join("tempest.toml")).unwrap()
    };
    let told = shop.call(&["config", "--json"]).json();
    for key in told["settings"].as_object().unwrap().keys() {
        assert!(help.contains(key.as_str()), "{key} is not in the help of up");
        let (_, key) = key.split_once('.').unwrap();
        assert!(init.contains(&format!("# {key} = ")), "{key} is not in what init writes");
    }
    for command in
        ["up", "front", "push", "cancel", "publish", "queues", "schedules", "workers", "config", "init"]
    {
        let help = shop.call(&[command, "--help"]).good();
        assert!(help.contains("Examples:\n"), "{command}");
        assert!(help.contains(&format!("tempest {command}")), "{command}");
    }
    assert!(shop.call(&["--version"]).good().starts_with("tempest "));
}
