//! What this machine allows a front, and a Redis that runs on it. What the system does not tell is not judged.

use rustix::process::{Resource, getrlimit};
use tempest_broker::Inspection;
use tempest_front::{BACKLOG, FrontConfig};

use super::{
    Finding,
    files::{number, text},
};

/// Connections besides event streams where `connections_max` says nothing; and files a front opens for itself.
const BESIDES_STREAMS: u64 = 1_000;
/// What Redis keeps of its open files for itself.
const REDIS_OWN_FILES: u64 = 32;
/// A proxy in front of a front has as many connections to it as ports.
const PORTS_MIN: u64 = 20_000;

/// Everything about it, a finding each.
pub(super) fn judge(front: &FrontConfig, redis: Option<&Inspection>) -> Vec<Finding> {
    let mut findings = vec![open_files(front, getrlimit(Resource::Nofile).maximum)];
    findings.extend(number("/proc/sys/net/core/somaxconn").map(backlog));
    let range = text("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    findings.extend(ports(&range, front));
    findings.extend(redis.into_iter().filter_map(RedisProcess::of).flat_map(|process| process.judge()));
    findings
}

/// A front raises its limit as far as it may.
fn open_files(front: &FrontConfig, most: Option<u64>) -> Finding {
    let streams = u64::try_from(front.streams_max).unwrap_or(u64::MAX);
    let connections = u64::try_from(front.connections_max).unwrap_or(u64::MAX);
    let wanted = streams.max(connections).saturating_add(BESIDES_STREAMS);
    let name = "machine.open_files";
    match most {
        Some(most) if most < wanted => Finding::warn(
            name,
            format!(
                "at most {most}, but front.streams_max is {streams}: clients are refused before it is reached"
            ),
            format!(
                "LimitNOFILE={wanted} in the unit (ulimit -Hn {wanted} in a shell), or a lower front.streams_max"
            ),
        ),
        Some(most) => Finding::ok(name, format!("at most {most}, enough for {streams} event streams")),
        None => Finding::ok(name, "no limit"),
    }
}

fn backlog(most: u64) -> Finding {
    let wanted = u64::from(BACKLOG.unsigned_abs());
    let found = format!("{most} connections may wait to be accepted");
    if most >= wanted {
        return Finding::ok("machine.backlog", found);
    }
    let mend = format!("sysctl -w net.core.somaxconn={wanted}");
    Finding::warn("machine.backlog", format!("{found}: a storm of reconnects is refused in part"), mend)
}

/// `first last`
fn ports(range: &str, front: &FrontConfig) -> Option<Finding> {
    let mut numbers = range.split_whitespace().map(str::parse::<u64>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let count = (last + 1).saturating_sub(first);
    let found = format!("{first} to {last} for outgoing connections");
    let listens = front.listen.iter().chain(&front.tls.listen);
    let mut listens = listens.filter_map(|address| address.rsplit_once(':')?.1.parse::<u64>().ok());
    Some(match listens.find(|port| (first..=last).contains(port)) {
        Some(port) => Finding::warn(
            "machine.ports",
            format!("{found}: any of them may have taken {port} before the front listens on it"),
            format!("sysctl -w net.ipv4.ip_local_reserved_ports={port}, or listen below {first}"),
        ),
        None if count < PORTS_MIN => Finding::warn(
            "machine.ports",
            format!("{found}: a proxy on this machine has at most {count} connections to a front"),
            "sysctl -w net.ipv4.ip_local_port_range=\"15000 60999\"",
        ),
        None => Finding::ok("machine.ports", found),
    })
}

/// A Redis on this machine.
struct RedisProcess<'a> {
    it: &'a Inspection,
    pid: u64,
}

impl<'a> RedisProcess<'a> {
    /// None if it is elsewhere, or in a container whose processes have other numbers.
    fn of(it: &'a Inspection) -> Option<Self> {
        let pid = it.number("process_id").filter(|_| it.local)?;
        let name = text(format!("/proc/{pid}/comm"))?;
        (name.starts_with("redis") || name.starts_with("valkey")).then_some(Self { it, pid })
    }

    fn judge(&self) -> Vec<Finding> {
        let open_files =
            || clients(&text(format!("/proc/{}/limits", self.pid))?, self.it.number("maxclients")?);
        let huge = || {
            let enabled = text("/sys/kernel/mm/transparent_hugepage/enabled")?;
            huge_pages(&enabled, &text(format!("/proc/{}/status", self.pid))?)
        };
        let saves =
            self.it.text("aof_enabled") == Some("1") || self.it.text("save").is_some_and(|it| !it.is_empty());
        let overcommit = || number("/proc/sys/vm/overcommit_memory").filter(|_| saves).map(overcommit);
        [open_files(), huge(), overcommit()].into_iter().flatten().collect()
    }
}

fn clients(limits: &str, maxclients: u64) -> Option<Finding> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let most: u64 = line.split_whitespace().next()?.parse().ok()?;
    let found = format!("{most} open files of Redis for {maxclients} connections");
    Some(if most < maxclients.saturating_add(REDIS_OWN_FILES) {
        let wanted = maxclients + 1_000;
        Finding::warn("machine.redis_files", found, format!("LimitNOFILE={wanted} in the unit of Redis"))
    } else {
        Finding::ok("machine.redis_files", found)
    })
}

/// Redis 7 turns them off for itself unless it was told not to.
fn huge_pages(enabled: &str, status: &str) -> Option<Finding> {
    let name = "machine.huge_pages";
    let own = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"))?.trim();
    Some(if enabled.contains("[always]") && own == "1" {
        Finding::warn(
            name,
            "transparent huge pages are on for Redis: each save makes it slow and large",
            "disable-thp yes in its redis.conf, or echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        )
    } else {
        Finding::ok(name, "Redis has no transparent huge pages")
    })
}

fn overcommit(mode: u64) -> Finding {
    match mode {
        1 => Finding::ok("machine.overcommit", "Redis can always save"),
        _ => Finding::warn(
            "machine.overcommit",
            format!(
                "vm.overcommit_memory is {mode}: Redis cannot save when it uses more than half of the memory"
            ),
            "sysctl -w vm.overcommit_memory=1",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn open_files_are_compared_with_the_streams_that_are_allowed() {
        let front = FrontConfig { streams_max: 50_000, ..FrontConfig::default() };
        let short = open_files(&front, Some(4_096));
        assert_eq!(short.level, Level::Warn);
        assert!(short.mend.contains("LimitNOFILE=51000"), "{short}");
        assert_eq!(open_files(&front, Some(51_000)).level, Level::Ok);
        assert_eq!(open_files(&front, None).level, Level::Ok);
        let front = FrontConfig { connections_max: 60_000, ..front };
        assert_eq!(open_files(&front, Some(51_000)).level, Level::Warn);
    }

    #[test]
    fn a_short_backlog_is_told() {
        assert_eq!(backlog(128).level, Level::Warn);
        assert_eq!(backlog(4_096).level, Level::Ok);
    }

    #[test]
    fn ports_that_may_be_taken_and_too_few_of_them_are_told() {
        let at = |listen: &str| FrontConfig { listen: vec![listen.into()], ..FrontConfig::default() };
        let level = |range: &str, listen: &str| ports(range, &at(listen)).map(|finding| finding.level);
        assert_eq!(level("32768\t60999", "localhost:1337"), Some(Level::Ok));
        assert_eq!(level("32768\t60999", "0.0.0.0:40000"), Some(Level::Warn));
        assert_eq!(level("50000\t60999", "localhost:1337"), Some(Level::Warn));
        assert_eq!(level("", "localhost:1337"), None);
    }

    #[test]
    fn what_a_redis_here_is_allowed_is_read_from_its_process() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 4096       files\n";
        assert_eq!(clients(limits, 10_000).map(|finding| finding.level), Some(Level::Warn));
        assert_eq!(clients(limits, 900).map(|finding| finding.level), Some(Level::Ok));
        let huge = |enabled, own| huge_pages(enabled, own).map(|finding| finding.level);
        assert_eq!(huge("[always] madvise never", "Name:\tredis\nTHP_enabled:\t1"), Some(Level::Warn));
        assert_eq!(huge("[always] madvise never", "THP_enabled:\t0"), Some(Level::Ok));
        assert_eq!(huge("always [madvise] never", "THP_enabled:\t1"), Some(Level::Ok));
        assert_eq!(overcommit(0).level, Level::Warn);
        assert_eq!(overcommit(1).level, Level::Ok);
    }
}
