//! Which commands were sent to Redis.

use redis::{Arg, Cmd, Pipeline};

use super::Counter;
use crate::rights;

/// The commands of this crate, those of a busy process first; the last stands for any other.
const NAMES: [&str; 31] = [
    "RPUSH",
    "LTRIM",
    "LRANGE",
    "BLMOVE",
    "LREM",
    "LMOVE",
    "PUBLISH",
    "LLEN",
    "GET",
    "MEMORY",
    "ZCARD",
    "SADD",
    "SET",
    "SMEMBERS",
    "EXISTS",
    "INFO",
    "EVALSHA",
    "EVAL",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "ZRANGE",
    "LINDEX",
    "SREM",
    "DEL",
    "UNLINK",
    "TIME",
    "PING",
    "LPUSH",
    "SCAN",
    "CLIENT",
    "other",
];

/// How many commands were sent, by their name.
#[derive(Debug, Default)]
pub struct Commands([Counter; NAMES.len()]);

impl Commands {
    /// Counts a command.
    pub(crate) fn one(&self, command: &Cmd) {
        if let Some(Arg::Simple(name)) = command.args_iter().next() {
            self.named(name);
        }
    }

    /// Counts each of several.
    pub(crate) fn all(&self, commands: &Pipeline) {
        commands.cmd_iter().for_each(|command| self.one(command));
    }

    /// Counts one of this name.
    pub(crate) fn named(&self, name: &[u8]) {
        debug_assert!(
            rights::knows(name),
            "{} is not in the table of broker/src/rights.rs: no account would have it",
            String::from_utf8_lossy(name)
        );
        let at = NAMES.iter().position(|known| known.as_bytes() == name).unwrap_or(NAMES.len() - 1);
        self.0[at].count();
    }

    /// Names, and how many of each.
    pub fn sent(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0.iter().map(Counter::value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_by_name() {
        let commands = Commands::default();
        let mut several = redis::pipe();
        several.cmd("LTRIM").arg("a").arg(1).arg(-1).ignore().cmd("LRANGE").arg("a").arg(0).arg(1);
        commands.all(&several);
        commands.one(redis::cmd("RPUSH").arg("RPUSH"));
        commands.one(redis::cmd("ZSCORE").arg("GET"));
        let sent: Vec<_> = commands.sent().filter(|(_, count)| *count > 0).collect();
        assert_eq!(sent, [("RPUSH", 1), ("LTRIM", 1), ("LRANGE", 1), ("other", 1)]);
    }
}
