//! What Tempest does to Redis, as commands on names like its own, and who does it: the one table that `tempest doctor`
//! asks Redis about and [`crate::acl`] writes accounts from. A debug build refuses to send a command it does not name.

use std::{collections::BTreeSet, sync::OnceLock};

use redis::{Cmd, cmd};
use tempest_protocol::{JobId, Keys, Lane, Mailbox, Queue, Tag, Topic, WorkerId};

use crate::Settings;

/// Who does something, a bit each.
pub(crate) mod who {
    pub(crate) const FRONT: u8 = 1;
    pub(crate) const WORKER: u8 = 2;
    /// Whoever pushes jobs and reads their replies.
    pub(crate) const CALLER: u8 = 4;
    pub(crate) const PUBLISHER: u8 = 8;
    pub(crate) const SUPERVISOR: u8 = 16;
    /// Whoever only looks.
    pub(crate) const INSPECTOR: u8 = 32;
    /// Whoever has a keeper: recovery, what is due, old mailboxes.
    pub(crate) const KEEPER: u8 = FRONT | SUPERVISOR;
    pub(crate) const ALL: u8 = 63;
}
use who::{ALL, CALLER, FRONT, INSPECTOR, KEEPER, PUBLISHER, SUPERVISOR, WORKER};

/// Whoever runs scripts on queues.
const RUNS_SCRIPTS: u8 = FRONT | WORKER | CALLER | SUPERVISOR;
/// Whoever looks at background jobs.
const LOOKS: u8 = FRONT | CALLER | SUPERVISOR | INSPECTOR;

/// What a command touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum On {
    Nothing,
    Queue,
    /// Kept results of background jobs.
    Results,
    Queues,
    Mailboxes,
    Sweep,
    Supervisors,
    Mailbox,
    About,
    Topic,
    Control,
    Probe,
}

/// What a command does to its keys, in the words of Redis' key specifications.
pub(crate) const READ: u8 = 1;
pub(crate) const WRITE: u8 = 2;
const BOTH: u8 = READ | WRITE;

/// A command that is wanted.
pub(crate) struct Right {
    words: Vec<String>,
    pub(crate) on: On,
    /// Bits of [`READ`] and [`WRITE`].
    pub(crate) access: u8,
    /// Bits of [`who`].
    pub(crate) who: u8,
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

    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Its name in a rule: `rpush`, `client|id`.
    pub(crate) fn name(&self) -> String {
        let verb = self.words[0].to_lowercase();
        match verb.as_str() {
            "client" | "memory" | "object" => format!("{verb}|{}", self.words[1].to_lowercase()),
            _ => verb,
        }
    }

    /// Whether Redis may be asked about it inside `MULTI`: these would end that.
    pub(crate) fn fits_in_multi(&self) -> bool {
        !["MULTI", "EXEC", "DISCARD"].contains(&self.words[0].as_str())
    }

    fn without(self, without: &'static str) -> Self {
        Self { without, ..self }
    }
}

/// Everything that anybody does. Nothing of it is meant to be run: the names are made up.
pub(crate) fn wanted(settings: &Settings) -> Vec<Right> {
    let keys = Keys::new(settings.prefix.clone());
    let mut wanted = on_queues(&keys);
    wanted.extend(on_mailboxes(&keys));
    wanted.extend(on_sets(&keys));
    wanted.extend(on_supervisors(&keys));
    wanted.extend(on_channels(&keys, &settings.topic_prefix));
    wanted.extend(on_nothing());
    wanted
}

/// Whether the table names a command of this verb.
pub(crate) fn knows(verb: &[u8]) -> bool {
    static VERBS: OnceLock<BTreeSet<String>> = OnceLock::new();
    let verbs = VERBS.get_or_init(|| {
        let wanted = wanted(&Settings::new("", ""));
        wanted.into_iter().filter_map(|right| right.words.into_iter().next()).collect()
    });
    std::str::from_utf8(verb).is_ok_and(|verb| verbs.contains(verb))
}

fn on_queues(keys: &Keys) -> Vec<Right> {
    let queue = Queue::new("doctor").expect("a good name");
    let worker = WorkerId::new("doctor-0-0").expect("a good name");
    let (lane, run) = (keys.lane(&queue, Lane::Normal), keys.run(&queue, &worker, 0));
    let (workers, lease) = (keys.workers(&queue), keys.lease(&queue, &worker));
    let (later, dead) = (keys.later(&queue), keys.dead(&queue));
    let rows: [(u8, u8, &[&str]); 31] = [
        (FRONT | CALLER | WORKER | SUPERVISOR, WRITE, &["RPUSH", &lane, "x"]),
        (WORKER | KEEPER, WRITE, &["LPUSH", &lane, "x"]),
        (WORKER | KEEPER | INSPECTOR, READ, &["LLEN", &lane]),
        (KEEPER | INSPECTOR, READ, &["LINDEX", &lane, "0"]),
        (FRONT | CALLER | WORKER | SUPERVISOR, WRITE, &["LREM", &lane, "1", "x"]),
        (WORKER | KEEPER, READ, &["LRANGE", &run, "0", "-1"]),
        (WORKER, BOTH, &["BLMOVE", &lane, &run, "LEFT", "RIGHT", "1"]),
        (WORKER, BOTH, &["LMOVE", &lane, &run, "LEFT", "RIGHT"]),
        (WORKER, WRITE, &["DEL", &run]),
        (WORKER | KEEPER, WRITE, &["SADD", &workers, "x"]),
        (WORKER | KEEPER, WRITE, &["SREM", &workers, "x"]),
        (KEEPER | INSPECTOR, READ, &["SMEMBERS", &workers]),
        (WORKER | SUPERVISOR, WRITE, &["SET", &lease, "x", "PX", "1"]),
        (KEEPER | INSPECTOR, READ, &["GET", &lease]),
        (WORKER | SUPERVISOR, WRITE, &["DEL", &lease]),
        (SUPERVISOR, WRITE, &["PEXPIRE", &lease, "1"]),
        (WORKER | KEEPER, READ, &["EXISTS", &lease]),
        (WORKER | KEEPER, WRITE, &["ZADD", &later, "1", "x"]),
        (KEEPER, READ, &["ZRANGE", &later, "0", "1", "BYSCORE"]),
        (WORKER | KEEPER, WRITE, &["ZREM", &later, "x"]),
        (KEEPER, READ, &["ZSCORE", &later, "x"]),
        (KEEPER | INSPECTOR, READ, &["ZCARD", &dead]),
        (WORKER | KEEPER, WRITE, &["ZADD", &dead, "1", "x"]),
        (WORKER | KEEPER, WRITE, &["ZREMRANGEBYRANK", &dead, "0", "0"]),
        (KEEPER, WRITE, &["ZREMRANGEBYSCORE", &dead, "0", "0"]),
        (WORKER, WRITE, &["RPUSH", &run, "x"]),
        (WORKER | KEEPER, WRITE, &["LREM", &run, "1", "x"]),
        (WORKER | KEEPER | INSPECTOR, READ, &["LLEN", &run]),
        (KEEPER | INSPECTOR, READ, &["LINDEX", &run, "-1"]),
        (RUNS_SCRIPTS, BOTH, &["EVAL", "return 0", "1", &run]),
        (RUNS_SCRIPTS, BOTH, &["EVALSHA", "0000000000000000000000000000000000000000", "1", &run]),
    ];
    let usage = right(On::Queue, (ALL & !PUBLISHER, READ, &["MEMORY", "USAGE", &lane]));
    let rows = rows.into_iter().map(|row| right(On::Queue, row)).chain(on_jobs(keys, &queue));
    rows.chain([usage.without("lanes are capped by jobs, not by bytes")]).collect()
}

/// What is done for background jobs, in scripts and beside them.
fn on_jobs(keys: &Keys, queue: &Queue) -> Vec<Right> {
    let id = JobId::new("doctor").expect("a good name");
    let tag = Tag::new("doctor").expect("a good name");
    let (record, log, result) = (keys.record(queue, &id), keys.log(queue, &id), keys.result(queue, &id));
    let (lane, later, unique) = (keys.lane(queue, Lane::Normal), keys.later(queue), keys.unique(queue, &tag));
    let (limits, running, rate) = (keys.limits(queue), keys.running(queue), keys.rate(queue));
    let swept = keys.swept(queue);
    let (aside, schedules, due) = (keys.aside(queue, &tag), keys.schedules(queue), keys.due(queue));
    let rows: [(u8, u8, &[&str]); 48] = [
        (RUNS_SCRIPTS, READ, &["EXISTS", &record]),
        (RUNS_SCRIPTS, WRITE, &["HSET", &record, "x", "x"]),
        (WORKER | KEEPER, WRITE, &["HDEL", &record, "x"]),
        (WORKER, READ, &["HGET", &record, "state"]),
        (RUNS_SCRIPTS, WRITE, &["PEXPIRE", &record, "1"]),
        (LOOKS, READ, &["HGETALL", &record]),
        (LOOKS, READ, &["PTTL", &record]),
        (WORKER | CALLER | KEEPER, WRITE, &["UNLINK", &record]),
        (LOOKS, READ, &["LRANGE", &log, "0", "-1"]),
        (WORKER, WRITE, &["RPUSH", &log, "x"]),
        (WORKER, WRITE, &["LTRIM", &log, "1", "-1"]),
        (LOOKS, READ, &["LINDEX", &result, "0"]),
        (WORKER, WRITE, &["DEL", &result]),
        (CALLER | WORKER, READ, &["LLEN", &lane]),
        (CALLER | FRONT | WORKER, READ, &["ZCARD", &later]),
        (CALLER | FRONT, WRITE, &["ZADD", &later, "1", "x"]),
        (RUNS_SCRIPTS, READ, &["GET", &unique]),
        (CALLER | FRONT | WORKER, WRITE, &["SET", &unique, "x", "PX", "1"]),
        (WORKER | KEEPER, WRITE, &["DEL", &unique]),
        (WORKER, READ, &["LPOS", &lane, "x"]),
        (WORKER | CALLER | KEEPER | INSPECTOR, READ, &["HMGET", &limits, "x"]),
        (WORKER | KEEPER, READ, &["HGET", &limits, "x"]),
        (CALLER | FRONT | SUPERVISOR, WRITE, &["HSET", &limits, "x", "x"]),
        (CALLER | FRONT | SUPERVISOR, WRITE, &["HDEL", &limits, "x"]),
        (WORKER | CALLER | KEEPER | INSPECTOR, READ, &["SCARD", &running]),
        (WORKER | KEEPER, READ, &["SISMEMBER", &running, "x"]),
        (WORKER, READ, &["SMISMEMBER", &running, "x"]),
        (WORKER, WRITE, &["SET", &swept, "1", "NX", "PX", "1"]),
        (WORKER | KEEPER, READ, &["SMEMBERS", &running]),
        (KEEPER, READ, &["SRANDMEMBER", &running, "1"]),
        (WORKER, WRITE, &["SADD", &running, "x"]),
        (WORKER | KEEPER, WRITE, &["SREM", &running, "x"]),
        (WORKER, READ, &["GET", &rate]),
        (WORKER, WRITE, &["SET", &rate, "x", "PX", "1"]),
        (WORKER, READ, &["LINDEX", &aside, "0"]),
        (WORKER | KEEPER, BOTH, &["LMOVE", &aside, &lane, "LEFT", "LEFT"]),
        (LOOKS | KEEPER, READ, &["HGETALL", &schedules]),
        (CALLER | KEEPER, READ, &["HGET", &schedules, "x"]),
        (FRONT | CALLER | SUPERVISOR, WRITE, &["HSET", &schedules, "x", "x"]),
        (FRONT | CALLER | SUPERVISOR, WRITE, &["HDEL", &schedules, "x"]),
        (FRONT | CALLER | SUPERVISOR, WRITE, &["ZADD", &due, "1", "x"]),
        (FRONT | CALLER | SUPERVISOR, WRITE, &["ZREM", &due, "x"]),
        (LOOKS | KEEPER, READ, &["ZRANGE", &due, "0", "-1"]),
        (CALLER | WORKER, WRITE, &["SADD", &running, "x"]),
        (WORKER | KEEPER, WRITE, &["ZREM", &later, "x"]),
        (WORKER | KEEPER, READ, &["ZSCORE", &later, "x"]),
        (WORKER, READ, &["PTTL", &record]),
        (KEEPER | INSPECTOR, READ, &["LLEN", &aside]),
    ];
    let awaits = right(On::Results, (CALLER, BOTH, &["BLMOVE", &result, &result, "LEFT", "LEFT", "1"]));
    let rows = rows.into_iter().map(|row| right(On::Queue, row));
    rows.chain(for_people(keys, queue)).chain([awaits]).collect()
}

/// What people do who look after background jobs: run them now, remove them, look for one.
fn for_people(keys: &Keys, queue: &Queue) -> Vec<Right> {
    let id = JobId::new("doctor").expect("a good name");
    let tag = Tag::new("doctor").expect("a good name");
    let worker = WorkerId::new("doctor-0-0").expect("a good name");
    let (lane, run, workers) =
        (keys.lane(queue, Lane::Normal), keys.run(queue, &worker, 0), keys.workers(queue));
    let (later, dead, unique) = (keys.later(queue), keys.dead(queue), keys.unique(queue, &tag));
    let (record, aside, asides) = (keys.record(queue, &id), keys.aside(queue, &tag), keys.asides(queue));
    let change = FRONT | CALLER | SUPERVISOR;
    let rows: [(u8, u8, &[&str]); 19] = [
        (LOOKS, READ, &["ZRANGE", &dead, "+inf", "-inf", "BYSCORE", "REV", "LIMIT", "0", "1", "WITHSCORES"]),
        (LOOKS, READ, &["ZCARD", &later]),
        (LOOKS, READ, &["LRANGE", &lane, "0", "1"]),
        (change, READ, &["LPOS", &lane, "x"]),
        (LOOKS, READ, &["LRANGE", &run, "0", "1"]),
        (LOOKS, READ, &["LLEN", &aside]),
        (LOOKS, READ, &["SMEMBERS", &workers]),
        (LOOKS, READ, &["SMEMBERS", &asides]),
        (LOOKS, READ, &["HGET", &record, "state"]),
        (change, READ, &["ZSCORE", &dead, "x"]),
        (change, WRITE, &["ZREM", &dead, "x"]),
        (change, WRITE, &["ZADD", &dead, "1", "x"]),
        (change, WRITE, &["RPUSH", &lane, "x"]),
        (change, WRITE, &["HDEL", &record, "x"]),
        (change, WRITE, &["LREM", &aside, "1", "x"]),
        (change, READ, &["GET", &unique]),
        (change, WRITE, &["DEL", &unique]),
        (change, READ, &["EXISTS", &aside]),
        (change, WRITE, &["SREM", &asides, "x"]),
    ];
    rows.into_iter().map(|row| right(On::Queue, row)).collect()
}

fn on_mailboxes(keys: &Keys) -> Vec<Right> {
    let mailbox = Mailbox::new("doctor").expect("a good name");
    let (key, about) = (keys.mailbox(&mailbox), keys.about(&mailbox));
    let rows: [(On, u8, u8, &[&str]); 9] = [
        (On::Mailbox, WORKER | KEEPER, WRITE, &["RPUSH", &key, "x"]),
        (On::Mailbox, FRONT | CALLER, BOTH, &["BLMOVE", &key, &key, "LEFT", "LEFT", "1"]),
        (On::Mailbox, FRONT | CALLER, READ, &["LRANGE", &key, "0", "-1"]),
        (On::Mailbox, FRONT | CALLER, READ, &["LINDEX", &key, "0"]),
        (On::Mailbox, FRONT | CALLER, WRITE, &["LTRIM", &key, "1", "-1"]),
        (On::Mailbox, CALLER | KEEPER, WRITE, &["UNLINK", &key]),
        (On::About, FRONT | CALLER, WRITE, &["SET", &about, "x", "PX", "1"]),
        (On::About, FRONT | CALLER, WRITE, &["UNLINK", &about]),
        (On::About, KEEPER, READ, &["EXISTS", &about]),
    ];
    let idle = right(On::Mailbox, (KEEPER, READ, &["OBJECT", "IDLETIME", &key]));
    let rows = rows.into_iter().map(|(on, who, access, words)| right(on, (who, access, words)));
    rows.chain([idle.without("the hourly sweep removes no forgotten mailbox")]).collect()
}

fn on_sets(keys: &Keys) -> Vec<Right> {
    let (queues, mailboxes, sweep) = (keys.queues(), keys.mailboxes(), keys.sweep());
    let rows: [(On, u8, u8, &[&str]); 6] = [
        (On::Queues, FRONT | CALLER | WORKER | SUPERVISOR, WRITE, &["SADD", &queues, "doctor"]),
        (On::Queues, KEEPER | INSPECTOR, READ, &["SMEMBERS", &queues]),
        (On::Mailboxes, FRONT | CALLER, WRITE, &["SADD", &mailboxes, "doctor"]),
        (On::Mailboxes, CALLER | KEEPER, WRITE, &["SREM", &mailboxes, "doctor"]),
        (On::Mailboxes, KEEPER, READ, &["SMEMBERS", &mailboxes]),
        (On::Sweep, KEEPER, WRITE, &["SET", &sweep, "x", "NX", "PX", "1"]),
    ];
    rows.into_iter().map(|(on, who, access, words)| right(on, (who, access, words))).collect()
}

fn on_supervisors(keys: &Keys) -> Vec<Right> {
    let all = keys.supervisors();
    let one = keys.supervisor(&WorkerId::new("doctor").expect("a good name"));
    let rows: [(u8, u8, &[&str]); 7] = [
        (SUPERVISOR, WRITE, &["ZADD", &all, "1", "x"]),
        (SUPERVISOR, WRITE, &["ZREM", &all, "x"]),
        (SUPERVISOR, WRITE, &["ZREMRANGEBYSCORE", &all, "0", "0"]),
        (INSPECTOR, READ, &["ZRANGE", &all, "0", "-1"]),
        (SUPERVISOR, WRITE, &["SET", &one, "x", "PX", "1"]),
        (SUPERVISOR, WRITE, &["DEL", &one]),
        (INSPECTOR, READ, &["GET", &one]),
    ];
    let rows = rows.into_iter().map(|row| right(On::Supervisors, row));
    rows.map(|right| right.without("memory, restarts and deaths of workers are not shown")).collect()
}

fn on_channels(keys: &Keys, topic_prefix: &str) -> Vec<Right> {
    let queue = Queue::new("doctor").expect("a good name");
    let mailbox = Mailbox::new("doctor").expect("a good name");
    let topic = format!("{topic_prefix}{}", Topic::new("doctor").expect("a good name"));
    let (control, probe) = (keys.control(&queue), keys.probe(&mailbox));
    let rows: [(On, u8, &[&str]); 9] = [
        (On::Topic, FRONT, &["UNSUBSCRIBE", &topic]),
        (On::Topic, PUBLISHER | WORKER | CALLER, &["PUBLISH", &topic, ""]),
        (On::Control, WORKER | SUPERVISOR, &["SUBSCRIBE", &control]),
        (On::Control, WORKER | SUPERVISOR, &["UNSUBSCRIBE", &control]),
        (On::Control, FRONT | CALLER | SUPERVISOR, &["PUBLISH", &control, ""]),
        (On::Probe, FRONT, &["SUBSCRIBE", &probe]),
        (On::Probe, FRONT, &["UNSUBSCRIBE", &probe]),
        (On::Probe, FRONT, &["PUBLISH", &probe, ""]),
        (On::Topic, FRONT, &["SUBSCRIBE", &topic]),
    ];
    let silent = |right: Right| match (right.on, right.name().as_str()) {
        (On::Topic, "subscribe") => right.without("streams of topics that it may not hear stay silent"),
        _ => right,
    };
    rows.into_iter().map(|(on, who, words)| silent(right(on, (who, 0, words)))).collect()
}

fn on_nothing() -> Vec<Right> {
    let unblock = "a job in another lane waits up to two seconds for a worker of several lanes";
    let rows: [(u8, &[&str], &str); 9] = [
        (ALL, &["PING"], ""),
        (ALL, &["TIME"], ""),
        (ALL, &["INFO"], "version, eviction and memory are not checked"),
        (KEEPER, &["SCAN", "0"], "the hourly sweep finds nothing"),
        (WORKER, &["CLIENT", "ID"], unblock),
        (WORKER, &["CLIENT", "UNBLOCK", "0"], unblock),
        (WORKER | CALLER | KEEPER, &["MULTI"], ""),
        (WORKER | CALLER | KEEPER, &["EXEC"], ""),
        (WORKER | CALLER | KEEPER, &["DISCARD"], ""),
    ];
    let right = |(who, words, without)| right(On::Nothing, (who, 0, words)).without(without);
    rows.into_iter().map(right).collect()
}

fn right(on: On, (who, access, words): (u8, u8, &[&str])) -> Right {
    Right { words: words.iter().map(|word| (*word).to_owned()).collect(), on, access, who, without: "" }
}
