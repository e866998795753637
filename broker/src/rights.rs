//! What Tempest does to Redis, as commands on names like its own: what an account must be allowed to.

use redis::{Cmd, cmd};
use tempest_protocol::{Keys, Lane, Mailbox, Queue, Topic, WorkerId};

use crate::Settings;

/// A command that is wanted.
pub(crate) struct Right {
    words: Vec<String>,
    /// What does without it. Empty: Tempest cannot.
    pub(crate) without: &'static str,
}

impl Right {
    pub(crate) fn command(&self) -> Cmd {
        let (verb, rest) = self.words.split_first().expect("a command has a verb");
        let mut command = cmd(verb);
        command.arg(rest);
        command
    }

    pub(crate) fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// Everything that fronts, workers and recovery do. Nothing of it is meant to be run: the names are made up.
pub(crate) fn wanted(settings: &Settings) -> Vec<Right> {
    let keys = Keys::new(settings.prefix.clone());
    let mut wanted = on_queues(&keys);
    wanted.extend(on_mailboxes(&keys));
    wanted.extend(on_channels(&keys, &settings.topic_prefix));
    wanted.extend([
        right(&["SCAN", "0"], "the hourly sweep finds nothing"),
        right(&["INFO"], "version, eviction and memory are not checked"),
        right(
            &["CLIENT", "ID"],
            "a job in another lane waits up to two seconds for a worker of several lanes",
        ),
        right(
            &["CLIENT", "UNBLOCK", "0"],
            "a job in another lane waits up to two seconds for a worker of several lanes",
        ),
    ]);
    wanted
}

fn on_queues(keys: &Keys) -> Vec<Right> {
    let queue = Queue::new("doctor").expect("a good name");
    let worker = WorkerId::new("doctor-0-0").expect("a good name");
    let (lane, run) = (keys.lane(&queue, Lane::Normal), keys.run(&queue, &worker, 0));
    let (workers, lease) = (keys.workers(&queue), keys.lease(&queue, &worker));
    let (later, dead, queues) = (keys.later(&queue), keys.dead(&queue), keys.queues());
    [
        &["RPUSH", &lane, "x"][..],
        &["LPUSH", &lane, "x"],
        &["LLEN", &lane],
        &["LREM", &lane, "1", "x"],
        &["LRANGE", &run, "0", "-1"],
        &["BLMOVE", &lane, &run, "LEFT", "RIGHT", "1"],
        &["LMOVE", &lane, &run, "LEFT", "RIGHT"],
        &["DEL", &run],
        &["SADD", &queues, "doctor"],
        &["SREM", &queues, "doctor"],
        &["SMEMBERS", &queues],
        &["SADD", &workers, "x"],
        &["SREM", &workers, "x"],
        &["SMEMBERS", &workers],
        &["SET", &lease, "x", "PX", "1"],
        &["GET", &lease],
        &["DEL", &lease],
        &["EXISTS", &lease],
        &["ZADD", &later, "1", "x"],
        &["ZRANGE", &later, "0", "1", "BYSCORE"],
        &["ZREM", &later, "x"],
        &["ZSCORE", &later, "x"],
        &["ZCARD", &dead],
        &["ZADD", &dead, "1", "x"],
        &["ZREMRANGEBYRANK", &dead, "0", "0"],
        &["ZREMRANGEBYSCORE", &dead, "0", "0"],
        &["EVAL", "return 0", "1", &run],
        &["EVALSHA", "0000000000000000000000000000000000000000", "1", &run],
        &["SET", &keys.sweep(), "x", "NX", "PX", "1"],
    ]
    .into_iter()
    .map(|words| right(words, ""))
    .chain([
        right(&["MEMORY", "USAGE", &lane], "lanes are capped by jobs, not by bytes"),
        right(&["OBJECT", "IDLETIME", &run], "the hourly sweep removes no forgotten mailbox"),
    ])
    .collect()
}

fn on_mailboxes(keys: &Keys) -> Vec<Right> {
    let mailbox = Mailbox::new("doctor").expect("a good name");
    let (key, about, mailboxes) = (keys.mailbox(&mailbox), keys.about(&mailbox), keys.mailboxes());
    let commands = [
        &["RPUSH", &key, "x"][..],
        &["BLMOVE", &key, &key, "LEFT", "LEFT", "1"],
        &["LRANGE", &key, "0", "-1"],
        &["LTRIM", &key, "1", "-1"],
        &["UNLINK", &key],
        &["SET", &about, "x", "PX", "1"],
        &["EXISTS", &about],
        &["SADD", &mailboxes, "doctor"],
        &["SREM", &mailboxes, "doctor"],
        &["SMEMBERS", &mailboxes],
    ];
    commands.into_iter().map(|words| right(words, "")).collect()
}

fn on_channels(keys: &Keys, topic_prefix: &str) -> Vec<Right> {
    let queue = Queue::new("doctor").expect("a good name");
    let mailbox = Mailbox::new("doctor").expect("a good name");
    let topic = format!("{topic_prefix}{}", Topic::new("doctor").expect("a good name"));
    let channels = [topic, keys.control(&queue), keys.probe(&mailbox)];
    let both = |channel: &String| [right(&["SUBSCRIBE", channel], ""), right(&["PUBLISH", channel, ""], "")];
    channels.iter().flat_map(both).collect()
}

fn right(words: &[&str], without: &'static str) -> Right {
    Right { words: words.iter().map(|word| (*word).to_owned()).collect(), without }
}
