//! What the process takes of the machine, as Linux tells it under `/proc`. Elsewhere nothing is known.

use std::{fs, time::Duration};

/// Ticks of a second in which Linux counts processor time for programs, whatever its own clock.
const TICKS: u64 = 100;

/// What the process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) resident_bytes: Option<u64>,
    pub(super) cpu: Option<Duration>,
    pub(super) open_files: Option<u64>,
    pub(super) open_files_max: Option<u64>,
    pub(super) threads: Option<u64>,
}

impl Process {
    /// As it is now.
    pub(super) fn now() -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let open_files = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        Self {
            // The list itself is one of them.
            open_files: open_files.and_then(|count| u64::try_from(count.saturating_sub(1)).ok()),
            ..Self::of(&read("status"), &read("stat"), &read("limits"))
        }
    }

    fn of(status: &str, stat: &str, limits: &str) -> Self {
        let field = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name))?;
            value.split_whitespace().next()?.parse::<u64>().ok()
        };
        // The name of the program comes before, in parentheses, with whatever is in it.
        let ticks = stat.rsplit_once(") ").and_then(|(_, rest)| {
            let mut fields = rest.split_whitespace().skip(11).map(str::parse::<u64>);
            Some(fields.next()?.ok()? + fields.next()?.ok()?)
        });
        let open_files_max = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            resident_bytes: field("VmRSS:").map(|kib| kib << 10),
            cpu: ticks.map(|ticks| Duration::from_millis(ticks * (1_000 / TICKS))),
            open_files: None,
            open_files_max: open_files_max.and_then(|it| it.split_whitespace().next()?.parse().ok()),
            threads: field("Threads:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_linux_are_understood() {
        let status = "Name:\tx\nVmPeak:\t  9 kB\nVmRSS:\t    1234 kB\nThreads:\t7\n";
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 150 25 0 0 20 0 7 0 1 2 3";
        let limits =
            "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024      4096      files\n";
        let expected = Process {
            resident_bytes: Some(1_234 * 1_024),
            cpu: Some(Duration::from_millis(1_750)),
            open_files: None,
            open_files_max: Some(1_024),
            threads: Some(7),
        };
        assert_eq!(Process::of(status, stat, limits), expected);
        assert_eq!(Process::of("", "", ""), Process::default());
    }
}
