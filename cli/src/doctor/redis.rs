//! What a Redis must be and have for Tempest.

use std::time::Duration;

use tempest_broker::{Denied, Inspection, Settings};
use tempest_protocol::limits;

use super::Finding;

/// A round trip that is felt: each request takes several.
const SLOW: Duration = Duration::from_millis(2);
/// Clocks that differ by more make deadlines of workers without a library wrong.
const CLOCKS_APART_MS: u64 = 500;
/// What the subscription of a front should be allowed to lag behind, in bytes.
const PUBSUB_BYTES: u64 = 8 << 20;
/// Each front holds three connections, each worker two and one a lane.
const CLIENTS_MIN: u64 = 1_000;

/// No Redis there, or none for this account.
pub(super) fn unreachable(settings: &Settings, error: &tempest_broker::Error) -> Finding {
    let text = error.to_string();
    let (found, hint) = text.split_once("; ").unwrap_or((&text, "look at what runs there"));
    let also = if settings.url.contains("127.0.0.1") {
        ", or run tempest up, which starts one of its own"
    } else {
        ""
    };
    Finding::fail("redis.reachable", found, format!("{hint}{also}"))
}

/// Everything about it, a finding each.
pub(super) fn judge(it: &Inspection, url: &str) -> Vec<Finding> {
    let mut findings = vec![reachable(it, url)];
    let checks = [
        tls,
        version,
        role,
        eviction,
        memory,
        persistence,
        written,
        pubsub_buffer,
        timeout,
        keepalive,
        clients,
        latency,
        clock,
    ];
    if it.info.is_empty() {
        findings.push(Finding::warn(
            "redis.info",
            "this account may not ask INFO, so version, eviction, memory and persistence are not checked",
            format!("{} acl setuser NAME +info, or ask as an account that may", it.prompt),
        ));
    }
    findings.extend(checks.iter().filter_map(|check| check(it)));
    findings.push(rights(it));
    findings
}

fn reachable(it: &Inspection, url: &str) -> Finding {
    let name = it.text("server_name").unwrap_or("redis");
    let version = it.text("valkey_version").or(it.text("redis_version")).unwrap_or("of an unknown version");
    Finding::ok("redis.reachable", format!("{name} {version} at {url}"))
}

/// Whether others can read along on the way.
fn tls(it: &Inspection) -> Option<Finding> {
    let name = "redis.tls";
    match &it.tls {
        Some(tls) => {
            let authority = match &tls.ca_file {
                Some(file) => format!("signed by an authority of {}", file.display()),
                None => "signed by an authority this machine knows".into(),
            };
            let shown = if tls.cert_file.is_some() { ", and ours is shown" } else { "" };
            Some(Finding::ok(name, format!("TLS; its certificate is {authority}{shown}")))
        }
        None if it.local => None,
        None => Some(Finding::warn(
            name,
            "another machine, without TLS: whoever is on the way reads passwords and jobs",
            "give it a tls-port and name it rediss://…, or keep the network between to yourself",
        )),
    }
}

fn version(it: &Inspection) -> Option<Finding> {
    let version = it.text("redis_version")?;
    let major: u64 = version.split('.').next()?.parse().ok()?;
    Some(match major {
        7.. => Finding::ok("redis.version", format!("{version}, 7.0 or newer is needed")),
        _ => Finding::fail(
            "redis.version",
            format!("{version}, 7.0 or newer is needed"),
            "install Redis 7 or Valkey, and start it with the same data",
        ),
    })
}

fn role(it: &Inspection) -> Option<Finding> {
    if it.text("role")? == "slave" {
        let master =
            format!("{}:{}", it.text("master_host").unwrap_or("?"), it.text("master_port").unwrap_or("?"));
        return Some(Finding::fail(
            "redis.role",
            format!("a replica of {master}, which takes no writes"),
            format!("name its primary: --redis-url redis://{master}"),
        ));
    }
    if it.text("cluster_enabled") == Some("1") {
        return Some(Finding::warn(
            "redis.role",
            "a node of a Redis Cluster; Tempest speaks to this one node only",
            "use a Redis that holds all slots",
        ));
    }
    Some(Finding::ok("redis.role", "takes writes"))
}

fn eviction(it: &Inspection) -> Option<Finding> {
    let policy = it.text("maxmemory_policy").or(it.text("maxmemory-policy"))?;
    Some(match policy {
        "noeviction" => Finding::ok("redis.eviction", "noeviction"),
        _ => Finding::fail(
            "redis.eviction",
            format!("maxmemory-policy is {policy}: jobs are lost silently when memory is full"),
            set(it, "maxmemory-policy noeviction"),
        ),
    })
}

fn memory(it: &Inspection) -> Option<Finding> {
    let (used, max) = (it.number("used_memory")?, it.number("maxmemory")?);
    let system = it.number("total_system_memory").unwrap_or_default();
    let name = "redis.memory";
    if max == 0 {
        let some = if system == 0 { "1gb".into() } else { format!("{}mb", (system / 2) >> 20) };
        let found = format!("{} used, no limit: when memory is full the system kills Redis", size(used));
        return Some(Finding::warn(name, found, set(it, &format!("maxmemory {some}"))));
    }
    let found = format!("{} of {} used", size(used), size(max));
    let raise =
        || format!("{} (the system has {})", set(it, &format!("maxmemory {}mb", max >> 19)), size(system));
    let percent = used.saturating_mul(100) / max;
    Some(if percent >= limits::MEMORY_PERCENT_MAX {
        let max = limits::MEMORY_PERCENT_MAX;
        Finding::fail(name, format!("{found}: above {max} % requests get a 503"), raise())
    } else if percent >= limits::MEMORY_PERCENT_MAX / 2 {
        Finding::warn(
            name,
            format!("{found}: above {} % requests get a 503", limits::MEMORY_PERCENT_MAX),
            raise(),
        )
    } else if system > 0 && max > system / 10 * 9 {
        Finding::warn(
            name,
            format!("{found}, but the system has only {}", size(system)),
            set(it, &format!("maxmemory {}mb", (system / 2) >> 20)),
        )
    } else {
        Finding::ok(name, found)
    })
}

fn persistence(it: &Inspection) -> Option<Finding> {
    let name = "redis.persistence";
    let on = it.text("aof_enabled").map(|it| it == "1").or(it.text("appendonly").map(|it| it == "yes"))?;
    let kept = |found: &str| Finding::ok(name, format!("append-only file: {found}"));
    Some(match (on, it.text("appendfsync")) {
        (true, Some("always")) => kept("a loss of power loses nothing that was confirmed"),
        (true, Some("everysec")) => kept("a loss of power loses a second at most"),
        (true, None) => kept("how often it reaches the disk, this account may not ask"),
        (true, Some(_)) => Finding::warn(
            name,
            "appendfsync is no: a loss of power loses what the system has not written, some 30 s",
            set(it, "appendfsync everysec"),
        ),
        (false, _) => {
            let snapshots = it.text("save").filter(|save| !save.is_empty());
            let found = match snapshots {
                Some(save) => {
                    format!("snapshots only (save {save}): a crash loses every job since the last one")
                }
                None => "nothing is kept: a restart of Redis loses every job that waits".into(),
            };
            Finding::warn(name, found, set(it, "appendonly yes"))
        }
    })
}

/// Writes that failed make Redis refuse commands.
fn written(it: &Inspection) -> Option<Finding> {
    let failed = |field: &str| it.text(field).is_some_and(|status| status == "err");
    let which = [("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")]
        .into_iter()
        .find(|(field, _)| failed(field))?;
    Some(Finding::fail(
        "redis.disk",
        format!("the last write of its {} failed, so it may refuse commands (MISCONF)", which.1),
        "look at its log and its disk (df -h, permissions of its folder)",
    ))
}

/// `class hard soft seconds`, four words a class.
fn pubsub_buffer(it: &Inspection) -> Option<Finding> {
    let words: Vec<_> = it.text("client-output-buffer-limit")?.split_whitespace().collect();
    let class = words.chunks(4).find(|class| class.first() == Some(&"pubsub"))?;
    let [_, hard, soft, seconds] = class else { return None };
    let number = |word: &str| word.parse::<u64>().unwrap_or_default();
    let name = "redis.pubsub_buffer";
    let least = [number(hard), number(soft)].into_iter().filter(|limit| *limit > 0).min();
    let usual = || set(it, "client-output-buffer-limit \"pubsub 32mb 8mb 60\"");
    Some(match least {
        None => Finding::warn(name, "no limit: one front that hangs can fill Redis with events", usual()),
        Some(least) if least < PUBSUB_BYTES => {
            let found = format!("{}: a burst of events cuts the subscription of a front", size(least));
            Finding::warn(name, found, usual())
        }
        Some(_) => {
            let (hard, soft) = (size(number(hard)), size(number(soft)));
            Finding::ok(name, format!("a front may lag behind by {soft} for {seconds} s, by {hard} never"))
        }
    })
}

fn timeout(it: &Inspection) -> Option<Finding> {
    Some(match it.number("timeout")? {
        0 => Finding::ok("redis.timeout", "idle connections are left alone"),
        seconds => Finding::warn(
            "redis.timeout",
            format!(
                "connections that are idle for {seconds} s are closed, and have to be made anew in the middle of requests"
            ),
            set(it, "timeout 0"),
        ),
    })
}

fn keepalive(it: &Inspection) -> Option<Finding> {
    Some(match it.number("tcp-keepalive")? {
        0 => Finding::warn(
            "redis.keepalive",
            "tcp-keepalive is 0: connections of machines that are gone stay for ever",
            set(it, "tcp-keepalive 300"),
        ),
        seconds => Finding::ok("redis.keepalive", format!("dead connections are found after {seconds} s")),
    })
}

fn clients(it: &Inspection) -> Option<Finding> {
    let (now, max) = (it.number("connected_clients")?, it.number("maxclients")?);
    let found = format!("{now} connections of at most {max}");
    let more = set(it, "maxclients 10000");
    Some(if now.saturating_mul(10) >= max.saturating_mul(9) {
        Finding::fail("redis.clients", found, format!("{more} (its limit of open files must allow it)"))
    } else if max < CLIENTS_MIN || now.saturating_mul(2) >= max {
        Finding::warn("redis.clients", found, format!("{more} (its limit of open files must allow it)"))
    } else {
        Finding::ok("redis.clients", found)
    })
}

fn latency(it: &Inspection) -> Option<Finding> {
    let (median, worst) = (it.ping_median(), it.pings.last()?);
    let found =
        format!("PING takes {} in the median of {}, {} at worst", ms(median), it.pings.len(), ms(*worst));
    Some(if median <= SLOW {
        Finding::ok("redis.latency", found)
    } else {
        let look = format!("bring Redis nearer, or look what keeps it: {} slowlog get 10", it.prompt);
        Finding::warn("redis.latency", found, look)
    })
}

fn clock(it: &Inspection) -> Option<Finding> {
    let (ahead, exact) = it.clock_ahead_ms;
    let apart = ahead.unsigned_abs().saturating_sub(exact);
    let word = if ahead < 0 { "behind" } else { "ahead of" };
    let found = format!("Redis is {} ms {word} this machine (± {exact} ms)", ahead.unsigned_abs());
    let mend = "run chrony or systemd-timesyncd on both machines: timedatectl set-ntp true";
    let deadline = u64::try_from(limits::HTTP_DEADLINE.as_millis()).unwrap_or(u64::MAX);
    Some(match apart {
        0..=CLOCKS_APART_MS => Finding::ok("redis.clock", found),
        apart if apart < deadline => Finding::warn("redis.clock", found, mend),
        _ => Finding::fail(
            "redis.clock",
            format!("{found}: to workers without a library every job is late or none"),
            mend,
        ),
    })
}

fn rights(it: &Inspection) -> Finding {
    let (vital, others): (Vec<_>, Vec<_>) = it.denied.iter().partition(|denied| denied.without.is_empty());
    let names = |denied: &[&Denied]| {
        let names: Vec<_> = denied.iter().map(|denied| denied.command.as_str()).collect();
        let rest = names.len().saturating_sub(3);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        names.into_iter().take(3).collect::<Vec<_>>().join(", ") + &more
    };
    let grant = "ask as an account that may set others: tempest acl --user up=NAME --apply; or give it +@all -@admin -@dangerous +info +client|unblock on ~PREFIX:* and &*";
    let of_a_front = |denied: &[&Denied]| denied.iter().any(|denied| denied.front);
    // An account of a front need not do what workers do.
    let first = others.iter().find(|denied| vital.is_empty() || denied.front);
    match (vital.is_empty(), first) {
        (false, _) if of_a_front(&vital) => {
            Finding::fail("redis.rights", format!("this account may not {}", names(&vital)), grant)
        }
        (_, Some(first)) => {
            let found = format!("this account may not {}: {}", first.command, first.without);
            Finding::warn("redis.rights", found, grant)
        }
        (false, None) => Finding::ok(
            "redis.rights",
            "this account may do what a front does; supervisors and workers need their own (tempest acl)",
        ),
        (true, None) => Finding::ok("redis.rights", "this account may do all that Tempest does"),
    }
}

/// How to set an option now and for good.
fn set(it: &Inspection, what: &str) -> String {
    format!("{} config set {what}, and the same in its redis.conf", it.prompt)
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} kB", bytes >> 10),
        mib if mib < 10_240 => format!("{mib} MB"),
        mib => format!("{} GB", mib >> 10),
    }
}

#[cfg(test)]
mod tests;
