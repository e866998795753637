use tempest_broker::Denied;

use super::*;
use crate::doctor::Level;

/// A Redis as it should be.
fn good() -> Inspection {
    let map = |fields: &[(&str, &str)]| {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Inspection {
        prompt: "redis-cli -p 7000".into(),
        local: true,
        tls: None,
        info: map(&[
            ("redis_version", "7.0.15"),
            ("role", "master"),
            ("cluster_enabled", "0"),
            ("used_memory", "1048576"),
            ("maxmemory", "1073741824"),
            ("maxmemory_policy", "noeviction"),
            ("total_system_memory", "8589934592"),
            ("aof_enabled", "1"),
            ("aof_last_write_status", "ok"),
            ("connected_clients", "3"),
        ]),
        options: map(&[
            ("appendfsync", "everysec"),
            ("save", ""),
            (
                "client-output-buffer-limit",
                "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
            ),
            ("timeout", "0"),
            ("tcp-keepalive", "300"),
            ("maxclients", "10000"),
        ]),
        pings: vec![Duration::from_micros(50); 100],
        clock_ahead_ms: (0, 1),
        denied: Vec::new(),
    }
}

fn changed(change: impl FnOnce(&mut Inspection)) -> Vec<Finding> {
    let mut it = good();
    change(&mut it);
    judge(&it, "redis://127.0.0.1:7000").into_iter().filter(|finding| finding.level != Level::Ok).collect()
}

/// The only thing that is wrong when a field says this.
#[track_caller]
fn only(name: &str, value: &str) -> Finding {
    let findings = changed(|it| {
        let fields = if it.info.contains_key(name) { &mut it.info } else { &mut it.options };
        assert!(fields.insert(name.into(), value.into()).is_some(), "{name}");
    });
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].clone()
}

#[test]
fn a_good_redis_has_nothing_to_mend() {
    assert_eq!(changed(|_| {}), []);
    let findings = judge(&good(), "redis://127.0.0.1:7000");
    assert!(findings.len() >= 12, "{findings:?}");
    assert!(findings.iter().all(|finding| finding.mend.is_empty()));
}

#[test]
fn what_is_wrong_is_found_and_only_that() {
    for (name, value, level, check, mend) in [
        ("redis_version", "6.2.7", Level::Fail, "redis.version", "install"),
        ("role", "slave", Level::Fail, "redis.role", "--redis-url"),
        ("cluster_enabled", "1", Level::Warn, "redis.role", "all slots"),
        ("maxmemory_policy", "allkeys-lru", Level::Fail, "redis.eviction", "maxmemory-policy noeviction"),
        ("maxmemory", "0", Level::Warn, "redis.memory", "config set maxmemory 4096mb"),
        ("maxmemory", "1100000", Level::Fail, "redis.memory", "config set maxmemory"),
        ("maxmemory", "2000000", Level::Warn, "redis.memory", "config set maxmemory"),
        ("maxmemory", "8589934592", Level::Warn, "redis.memory", "config set maxmemory 4096mb"),
        ("aof_enabled", "0", Level::Warn, "redis.persistence", "appendonly yes"),
        ("appendfsync", "no", Level::Warn, "redis.persistence", "appendfsync everysec"),
        ("aof_last_write_status", "err", Level::Fail, "redis.disk", "df -h"),
        ("client-output-buffer-limit", "pubsub 0 0 0", Level::Warn, "redis.pubsub_buffer", "pubsub 32mb"),
        (
            "client-output-buffer-limit",
            "pubsub 1048576 0 0",
            Level::Warn,
            "redis.pubsub_buffer",
            "pubsub 32mb",
        ),
        ("timeout", "60", Level::Warn, "redis.timeout", "timeout 0"),
        ("tcp-keepalive", "0", Level::Warn, "redis.keepalive", "tcp-keepalive 300"),
        ("maxclients", "100", Level::Warn, "redis.clients", "maxclients"),
        ("connected_clients", "9500", Level::Fail, "redis.clients", "maxclients"),
    ] {
        let finding = only(name, value);
        assert_eq!((finding.level, finding.check), (level, check), "{name} {value}");
        assert!(finding.mend.contains(mend), "{finding}");
    }
}

#[test]
fn what_is_lost_with_the_power_is_said() {
    let found = |it: &Inspection| persistence(it).expect("judged").found;
    let mut it = good();
    assert!(found(&it).contains("a second at most"));
    it.options.insert("appendfsync".into(), "always".into());
    assert!(found(&it).contains("nothing that was confirmed"));
    it.info.insert("aof_enabled".into(), "0".into());
    assert!(found(&it).contains("every job that waits"));
    it.options.insert("save".into(), "3600 1".into());
    assert!(found(&it).contains("since the last one"));
}

#[test]
fn clocks_round_trips_and_rights_are_judged() {
    let check = |finding: &Finding| (finding.level, finding.check);
    let apart = changed(|it| it.clock_ahead_ms = (-1_500, 1));
    assert_eq!(apart.iter().map(check).collect::<Vec<_>>(), [(Level::Warn, "redis.clock")]);
    assert!(apart[0].found.contains("1500 ms behind"), "{}", apart[0]);
    let apart = changed(|it| it.clock_ahead_ms = (3_600_000, 1));
    assert_eq!(apart.iter().map(check).collect::<Vec<_>>(), [(Level::Fail, "redis.clock")]);
    assert_eq!(changed(|it| it.clock_ahead_ms = (900, 600)), [], "it cannot be told that exactly");
    let slow = changed(|it| it.pings = vec![Duration::from_millis(9); 100]);
    assert_eq!(slow.iter().map(check).collect::<Vec<_>>(), [(Level::Warn, "redis.latency")]);

    let denied = |command: &str, without| Denied { command: command.into(), without, front: true };
    let some =
        changed(|it| it.denied = vec![denied("MEMORY USAGE k", "lanes are capped by jobs, not by bytes")]);
    assert_eq!(some.iter().map(check).collect::<Vec<_>>(), [(Level::Warn, "redis.rights")]);
    let vital = changed(|it| it.denied = vec![denied("MEMORY USAGE k", "x"), denied("RPUSH k x", "")]);
    assert_eq!(vital.iter().map(check).collect::<Vec<_>>(), [(Level::Fail, "redis.rights")]);
    assert!(vital[0].found.ends_with("may not RPUSH k x"), "{}", vital[0]);
}

#[test]
fn a_redis_that_says_nothing_of_itself_is_no_good_one() {
    let findings = changed(|it| {
        it.info.clear();
        it.options.clear();
    });
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].check, "redis.info");
}

#[test]
fn another_machine_without_tls_is_warned_of() {
    let level = |it: &Inspection| tls(it).map(|finding| finding.level);
    assert_eq!(level(&good()), None, "nobody is on the way");
    assert_eq!(level(&Inspection { local: false, ..good() }), Some(Level::Warn));
    let spoken = Inspection { local: false, tls: Some(tempest_broker::Tls::default()), ..good() };
    assert_eq!(level(&spoken), Some(Level::Ok));
}

#[test]
fn an_account_of_a_front_is_good_for_a_front() {
    let denied = |front| Denied { command: "EVAL".into(), without: "", front };
    let of_a_worker = Inspection { denied: vec![denied(false)], ..good() };
    assert_eq!(rights(&of_a_worker).level, Level::Ok);
    let of_both = Inspection { denied: vec![denied(false), denied(true)], ..good() };
    assert_eq!(rights(&of_both).level, Level::Fail);
}
