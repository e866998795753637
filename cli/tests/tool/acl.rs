//! `tempest acl`: accounts as lines, as commands, and set in a Redis.

use crate::{
    server::{Answer, Server},
    shop::Shop,
};

/// All that speaks to Redis, with `--password-env`.
const EVERYONE: [&str; 15] = [
    "acl",
    "--user",
    "front",
    "--user",
    "caller",
    "--user",
    "publisher",
    "--user",
    "inspector",
    "--user",
    "worker=mail",
    "--queue",
    "mail",
    "--topic",
    "news.*",
];

fn shop() -> Shop {
    Shop::new().with("PASSWORD", "secret")
}

fn everyone<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let passwords = ["--password-env", "PASSWORD"].repeat(5);
    [&EVERYONE[..], &passwords, more].concat()
}

/// A shop whose calls use an account.
fn as_user(server: &Server, name: &str) -> Shop {
    Shop::at(server.url().replace("//", &format!("//{name}:secret@")))
}

/// Redis has denied nothing so far.
#[track_caller]
fn denied_nothing(server: &Server) {
    assert_eq!(server.run(&["ACL", "LOG"]), Answer::List(Vec::new()));
}

#[track_caller]
fn work_as_their_users(server: &Server) {
    let id = as_user(server, "caller").call(&["push", "mail", "send", "{}"]).good();
    assert!(!id.trim().is_empty());
    let told = as_user(server, "caller").call(&["push", "mail", "send", "--wait", "--timeout", "50ms"]);
    assert_eq!(told.code, Some(1), "nobody answers: {told:?}");
    assert_eq!(
        as_user(server, "publisher").call(&["publish", "news.today", "x"]).good().trim(),
        "heard by 0"
    );
    let queues = as_user(server, "inspector").call(&["queues", "--json"]).json();
    assert_eq!(queues[0]["queue"], "mail");
    as_user(server, "inspector").call(&["workers"]).good();
    denied_nothing(server);
}

#[test]
fn the_lines_are_an_acl_file() {
    let shop = shop();
    let lines = shop.call(&everyone(&[])).good();
    assert!(!lines.contains("secret"), "{lines}");
    let file = shop.dir.path().join("users.acl");
    std::fs::write(&file, format!("user default on nopass ~* &* +@all\n{lines}")).expect("written");
    let server = Server::start_with(&["--save", "", "--aclfile", file.to_str().expect("text")]);
    work_as_their_users(&server);
}

#[test]
fn the_commands_and_apply_set_the_same_accounts() {
    let (one, other) = (Server::start(), Server::start());
    for command in shop().call(&everyone(&["--format", "setuser"])).good().lines() {
        let mut words: Vec<String> = Vec::new();
        for (at, part) in command.split('"').enumerate() {
            // Between quotes stands one word.
            if at % 2 == 1 {
                words.push(part.into())
            } else {
                words.extend(part.split_whitespace().map(str::to_owned))
            }
        }
        assert_eq!(one.run(&words), Answer::Text(b"OK".to_vec()), "{command}");
    }
    let told = shop().call(&everyone(&["--apply", "--redis-url", &other.url()]));
    assert_eq!((told.code, told.out.as_str()), (Some(0), ""), "{told:?}");
    assert!(told.err.contains("set the account mail with the rights of a worker"), "{told:?}");
    assert!(told.err.contains("no ACL file"), "{told:?}");
    // In the order in which a hash table gives them.
    let words = |server: &Server| {
        let lines = server.cli("ACL LIST").list();
        let sorted = |line: &Vec<u8>| {
            let mut words: Vec<_> =
                String::from_utf8_lossy(line).split([' ', '(', ')']).map(str::to_owned).collect();
            words.sort();
            words.join(" ")
        };
        lines.iter().map(sorted).collect::<Vec<_>>()
    };
    assert_eq!(words(&one), words(&other));
    work_as_their_users(&other);
}

#[test]
fn a_password_changes_without_a_moment_in_which_none_serves() {
    let server = Server::start();
    let url = server.url();
    let apply = |more: &[&str]| {
        shop()
            .with("NEXT", "next")
            .call(&[&["acl", "--user", "inspector", "--apply", "--redis-url", &url], more].concat())
    };
    apply(&["--password-env", "PASSWORD"]).good();
    apply(&["--password-env", "NEXT", "--add-password"]).good();
    let serves = |password: &str| {
        let url = server.url().replace("//", &format!("//inspector:{password}@"));
        Shop::at(url).call(&["queues"]).code == Some(0)
    };
    assert!(serves("secret") && serves("next"));
    apply(&[]).good();
    assert!(serves("secret") && serves("next"), "rights alone change no password");
    apply(&["--password-env", "NEXT"]).good();
    assert!(!serves("secret") && serves("next"));
}

#[test]
fn a_generated_password_is_shown_once_and_serves() {
    let server = Server::start();
    let told =
        Shop::at(server.url()).call(&["acl", "--user", "inspector", "--generate", "--apply", "--json"]);
    let password = told.json()[0]["password"].as_str().expect("a password").to_owned();
    let url = server.url().replace("//", &format!("//inspector:{password}@"));
    Shop::at(url).call(&["queues"]).good();
    let told = Shop::new().call(&["acl", "--user", "front", "--generate"]);
    let shown =
        told.err.split("the password is ").nth(1).and_then(|rest| rest.split(' ').next()).expect("shown");
    assert!(shown.len() == 64 && !told.out.contains(shown), "{told:?}");
}

#[test]
fn passwords_are_read_a_line_each() {
    let told = Shop::new().call_with_input(
        &["acl", "--user", "front", "--user", "inspector", "--password-stdin"],
        b"secret\nother\n",
    );
    let hash = "#2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    assert!(told.good().lines().next().expect("a line").contains(hash));
    let few = Shop::new().call_with_input(&["acl", "--user", "front", "--password-stdin"], b"");
    assert!(few.one_line(2).contains("password for each"));
}

#[test]
fn what_is_left_out_is_asked_for() {
    for (arguments, wanted) in [
        (&["--user", "worker"][..], "--queue"),
        (&["--user", "publisher"], "--topic"),
        (&["--user", "boss"], "no role"),
        (&["--user", "front", "--user", "front"], "two accounts"),
        (&["--user", "front=a b"], "no name"),
        (&["--user", "publisher", "--topic", "a) +@all"], "pattern"),
        (&["--user", "front", "--password-env", "NOWHERE"], "NOWHERE"),
        (&["--user", "front", "--password-hash", "secret"], "64"),
    ] {
        let told = Shop::new().call(&[&["acl"][..], arguments].concat());
        assert!(told.one_line(2).contains(wanted), "{arguments:?}");
    }
}

#[test]
fn an_account_that_may_not_set_others_is_told() {
    let server = Server::start();
    server.cli("ACL SETUSER bob on >secret ~* +@all -acl");
    let told = as_user(&server, "bob").call(&["acl", "--user", "front", "--apply"]);
    assert!(told.one_line(1).contains("NOPERM"));
}

#[test]
fn the_doctor_is_content_with_an_account_of_a_front() {
    let server = Server::start();
    shop().call(&everyone(&["--apply", "--redis-url", &server.url()])).good();
    let rights = |name: &str| {
        let told = as_user(&server, name).call(&["doctor", "--json", "--listen", "127.0.0.1:0"]);
        let about: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
        let checks = about["checks"].as_array().expect("checks").clone();
        checks.iter().find(|check| check["check"] == "redis.rights").expect("judged")["level"].clone()
    };
    assert_eq!(rights("front"), "warn", "it hears some topics only");
    Shop::at(server.url()).call(&["acl", "--user", "front", "--apply"]).good();
    assert_eq!(rights("front"), "ok");
    assert_eq!(rights("inspector"), "fail");
}

#[test]
fn the_accounts_of_the_python_tests_are_what_is_printed() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/python/tests/users.acl");
    let accounts = [
        "worker --queue default --queue other --queue q0 --queue q1 --queue q2 --queue q3 --queue q4 --queue q5 --topic news",
        "caller --queue default --queue mail --topic team:*",
    ];
    let lines = accounts.iter().map(|account| {
        let words: Vec<_> = ["acl", "--user"].into_iter().chain(account.split(' ')).collect();
        shop().call(&[&words, &["--password-env", "PASSWORD"][..]].concat()).good()
    });
    let printed: String = lines.collect();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, &printed).expect("written");
    }
    let stored = std::fs::read_to_string(&page).expect("the page");
    assert_eq!(stored, printed, "with UPDATE=1 this test writes clients/python/tests/users.acl anew");
}
