//! Names, keys, codes and numbers: name, subscribable, key, backoff, code.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempest_protocol::{
    Action, Backoff, Code, Error, Group, JobId, Keys, Lane, Mailbox, Prefix, Queue, Schedule, Tag, Topic,
    WorkerId,
};

use crate::corpus::{Case, cases, walk};

fn text<'a>(case: &'a Case, name: &str) -> &'a str {
    case.input[name].as_str().unwrap_or_else(|| panic!("{}: no {name}", case.id))
}

fn number(case: &Case, name: &str) -> u64 {
    case.input[name].as_u64().unwrap_or_else(|| panic!("{}: no {name}", case.id))
}

#[test]
fn names() {
    walk("name", |case| {
        let name = text(case, "name");
        let checked: Result<String, Error> = match text(case, "kind") {
            "queue" => Queue::new(name).map(|name| name.to_string()),
            "topic" => Topic::new(name).map(|name| name.to_string()),
            "action" => Action::new(name).map(|name| name.to_string()),
            "worker" => WorkerId::new(name).map(|name| name.to_string()),
            "prefix" => Prefix::new(name).map(|name| name.to_string()),
            "mailbox" => Mailbox::new(name).map(|name| name.to_string()),
            "id" => JobId::new(name).map(|name| name.to_string()),
            "group" => Group::new(name).map(|name| name.to_string()),
            "schedule" => Schedule::new(name).map(|name| name.to_string()),
            "key" => Tag::new(name).map(|name| name.to_string()),
            kind => return Err(format!("unknown kind {kind}")),
        };
        case.expect(checked.map(|kept| json!({ "ok": kept == name })))
    });
}

fn keys(case: &Case) -> Keys {
    Keys::new(Prefix::new(text(case, "prefix")).expect("a prefix"))
}

#[test]
fn subscribable_topics() {
    walk("subscribable", |case| {
        let topic = text(case, "topic");
        Topic::new(topic).map_err(|error| error.to_string())?;
        case.expect(Ok(json!({ "ok": keys(case).subscribable(topic) })))
    });
}

#[test]
fn keys_and_channels() {
    walk("key", |case| {
        let keys = keys(case);
        let queue = || Queue::new(text(case, "queue")).expect("a queue");
        let worker = || WorkerId::new(text(case, "worker")).expect("a worker");
        let mailbox = || Mailbox::new(text(case, "mailbox")).expect("a mailbox");
        let id = || JobId::new(text(case, "id")).expect("an id");
        let tag = || Tag::new(text(case, "name")).expect("a key");
        let group = || Group::new(text(case, "group")).expect("a group");
        let key = match text(case, "key") {
            "lane" => keys.lane(&queue(), text(case, "lane").parse::<Lane>().expect("a lane")),
            "run" => {
                let slot = usize::try_from(number(case, "slot")).expect("a slot");
                let entry = Keys::entry(&worker(), slot);
                assert_eq!(
                    Keys::worker_of(&entry),
                    Some(worker()),
                    "{}: the entry names its worker",
                    case.id
                );
                assert_eq!(keys.run_entry(&queue(), &entry), keys.run(&queue(), &worker(), slot));
                keys.run(&queue(), &worker(), slot)
            }
            "workers" => keys.workers(&queue()),
            "lease" => keys.lease(&queue(), &worker()),
            "later" => keys.later(&queue()),
            "dead" => keys.dead(&queue()),
            "record" => keys.record(&queue(), &id()),
            "log" => keys.log(&queue(), &id()),
            "result" => keys.result(&queue(), &id()),
            "unique" => keys.unique(&queue(), &tag()),
            "limits" => keys.limits(&queue()),
            "running" => keys.running(&queue()),
            "rate" => keys.rate(&queue()),
            "swept" => keys.swept(&queue()),
            "key" => keys.key(&queue(), &tag()),
            "aside" => keys.aside(&queue(), &tag()),
            "asides" => keys.asides(&queue()),
            "schedules" => keys.schedules(&queue()),
            "due" => keys.due(&queue()),
            "group" => keys.group(&queue(), &group()),
            "pending" => keys.pending(&queue(), &group()),
            "results" => keys.results(&queue(), &group()),
            "control" => keys.control(&queue()),
            "mailbox" => {
                let key = keys.mailbox(&mailbox());
                assert_eq!(keys.mailbox_of(&key), Some(mailbox()), "{}: the key names its mailbox", case.id);
                key
            }
            "about" => keys.about(&mailbox()),
            "probe" => keys.probe(&mailbox()),
            "queues" => keys.queues(),
            "mailboxes" => keys.mailboxes(),
            "topic" => keys.topic(&Topic::new(text(case, "topic")).expect("a topic")),
            key => return Err(format!("unknown key {key}")),
        };
        case.expect(Ok(json!({ "key": key })))
    });
}

#[test]
fn backoff_bounds() {
    walk("backoff", |case| {
        let backoff = Backoff { base_ms: number(case, "base_ms"), cap_ms: number(case, "cap_ms") };
        let bound = backoff.bound(u32::try_from(number(case, "n")).expect("a count"));
        let cap_ms = u64::try_from(bound.as_millis()).expect("milliseconds");
        case.expect(Ok(json!({ "cap_ms": cap_ms })))
    });
}

#[test]
fn codes() {
    walk("code", |case| {
        let code: Result<Code, Error> = text(case, "code").parse();
        case.expect(code.map(|code| json!({ "http": code.http_status() })))
    });
    let listed: BTreeSet<String> = cases("code").iter().map(|case| text(case, "code").to_owned()).collect();
    let known: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(listed, known, "code.json lists every code word");
}

#[test]
fn a_schema_lists_every_code() {
    let schema: Value = serde_json::from_slice(&crate::corpus::raw("schema")).expect("JSON");
    let words: Vec<_> = Code::ALL.iter().map(|code| json!(code.as_str())).collect();
    assert_eq!(schema["$defs"]["code_word"]["enum"], json!(words), "the enum of schema.json");
}
