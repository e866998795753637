//! What the system tells of processes and memory. Only Linux tells; elsewhere nothing is known.

use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use tempest_protocol::WorkerId;

/// This machine's name, as far as a worker id can hold it.
pub(crate) fn host() -> String {
    WorkerId::host_part(&rustix::system::uname().nodename().to_string_lossy())
}

/// A process, as `/proc` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// As `ps` prints it: `R`, `S`, `T` (stopped), `Z` (ended and not reaped) …
    pub(crate) state: char,
    /// Its resident memory; what it shares with others counts as its own.
    pub(crate) resident_bytes: u64,
}

impl Process {
    /// It has ended, and nobody has asked how.
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }

    /// It was stopped by a signal or by a debugger.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// Every process there is.
pub(crate) fn processes() -> Vec<Process> {
    let Ok(folders) = fs::read_dir("/proc") else { return Vec::new() };
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    let about = |folder: fs::DirEntry| {
        // Most folders are no process; a process may be gone by now.
        folder.file_name().to_str()?.parse::<i32>().ok()?;
        parse(&fs::read_to_string(folder.path().join("stat")).ok()?, page_bytes)
    };
    folders.flatten().filter_map(about).collect()
}

/// `pid (name) state parent group …`, resident pages in field 24 (proc_pid_stat(5)); the name may contain anything.
fn parse(stat: &str, page_bytes: u64) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let (id, _name) = head.split_once(' ')?;
    let fields: Vec<_> = rest.split_ascii_whitespace().collect();
    Some(Process {
        id: id.parse().ok()?,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        resident_bytes: fields.get(21)?.parse::<u64>().ok()?.saturating_mul(page_bytes),
    })
}

/// Kills for want of memory in the control group of this process, where its children are, too.
#[derive(Debug)]
pub(crate) struct OomKills {
    file: Option<PathBuf>,
    /// How many there were at the last two looks.
    before: Mutex<[u64; 2]>,
}

impl OomKills {
    /// Of the group this process is in now.
    pub(crate) fn here() -> Self {
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let path = group.lines().find_map(|line| line.strip_prefix("0::/")).map(str::to_owned);
        let file = path.map(|path| PathBuf::from("/sys/fs/cgroup").join(path).join("memory.events"));
        let kills = Self { file, before: Mutex::default() };
        let now = kills.now();
        *kills.before() = [now; 2];
        kills
    }

    /// A look, once a second or so.
    pub(crate) fn look(&self) {
        let now = self.now();
        let mut before = self.before();
        *before = [before[1], now];
    }

    /// Whether somebody was killed in the last two looks.
    pub(crate) fn lately(&self) -> bool {
        self.now() > self.before()[0]
    }

    fn before(&self) -> std::sync::MutexGuard<'_, [u64; 2]> {
        self.before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let text = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        text.as_deref().map_or(0, killed)
    }
}

/// The line `oom_kill` of `memory.events`.
fn killed(events: &str) -> u64 {
    let count = events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    count.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_among_them() {
        let me = i32::try_from(std::process::id()).unwrap();
        let processes = processes();
        let process = processes.iter().find(|process| process.id == me).expect("it runs");
        assert!(process.resident_bytes > 100_000 && !process.is_zombie(), "{process:?}");
    }

    #[test]
    fn a_name_may_contain_anything() {
        let rest = "1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 1000 25 0 0";
        let process = parse(&format!("7 (a) b) T {rest}"), 4_096).expect("a process");
        assert!(process.is_stopped());
        assert_eq!((process.id, process.parent, process.group), (7, 1, 7));
        assert_eq!(process.resident_bytes, 25 * 4_096);
        assert_eq!(parse("7 (a) T 1", 4_096), None);
    }

    #[test]
    fn kills_are_counted() {
        assert_eq!(killed("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"), 2);
        assert_eq!(killed(""), 0);
    }
}
