//! What is to be started.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use tempest_protocol::{Lane, Queue};

/// A kind of worker: one entry `[[worker]]` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSpec {
    /// What its children are called in output: `<name>.<number>`.
    pub name: String,
    /// Program and arguments. No shell is involved.
    pub command: Vec<String>,
    /// Queues it works on (`TEMPEST_QUEUE`).
    pub queues: Vec<Queue>,
    /// Lanes it serves, the first served first (`TEMPEST_LANES`).
    pub lanes: Vec<Lane>,
    /// How many children.
    pub count: usize,
    /// Further environment; these win over everything but `TEMPEST_WORKER_TAG`.
    pub env: BTreeMap<String, String>,
    /// Where it is started; absent: where the supervisor runs.
    pub dir: Option<PathBuf>,
    /// What a child may use before another takes its place.
    pub limits: Limits,
    /// The supervisor registers each child and holds its lease, under the name it finds in `TEMPEST_WORKER_ID`, with one
    /// slot: for workers that do not do so themselves.
    pub is_beaten_for: bool,
}

/// What a child may use before another takes its place. Each is none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Resident memory of its process group, in bytes. Beyond it the child is replaced: the next one works first.
    pub memory_bytes: Option<u64>,
    /// Its age; it is replaced.
    pub age: Option<Duration>,
    /// Jobs it has finished, as far as its lease tells (SPEC "Presence", `done`); it is replaced.
    pub jobs: Option<u64>,
    /// How long one job may run. The child is ended: `SIGTERM`, grace, `SIGKILL`, recovery.
    pub run: Option<Duration>,
    /// How long it may finish nothing while it holds a job, or while a job waits for it. The child is ended.
    pub stall: Option<Duration>,
}

impl Limits {
    /// Whether Redis must be asked to judge them.
    pub(crate) fn needs_redis(&self) -> bool {
        self.jobs.is_some() || self.run.is_some() || self.stall.is_some()
    }
}

impl WorkerSpec {
    /// One child of this command on queue `default`, normal lane.
    pub fn new(name: impl Into<String>, command: Vec<String>) -> Self {
        Self {
            name: name.into(),
            command,
            queues: vec![Queue::new("default").expect("a good name")],
            lanes: vec![Lane::Normal],
            count: 1,
            env: BTreeMap::new(),
            dir: None,
            limits: Limits::default(),
            is_beaten_for: false,
        }
    }

    /// Whether its children do the same: all but their number.
    pub(crate) fn does_as(&self, other: &Self) -> bool {
        Self { count: 0, ..self.clone() } == Self { count: 0, ..other.clone() }
    }

    /// Finds the program as the child would. A word without a slash is looked up in `PATH`.
    ///
    /// Errors: one line that says what is missing.
    pub(crate) fn program(&self) -> Result<PathBuf, String> {
        let word = self.command.first().filter(|word| !word.is_empty()).ok_or("its command is empty")?;
        let dir = self.dir.as_deref().unwrap_or(Path::new("."));
        if !dir.is_dir() {
            return Err(format!("there is no folder {}", dir.display()));
        }
        if word.contains('/') {
            let path = dir.join(word);
            return if is_program(&path) {
                Ok(word.into())
            } else {
                Err(format!("there is no program {word}"))
            };
        }
        let path = self.env.get("PATH").map(OsString::from).or_else(|| std::env::var_os("PATH"));
        std::env::split_paths(&path.unwrap_or_default())
            .map(|folder| folder.join(word))
            .find(|path| is_program(path))
            .map(|path| absolute(&path))
            .ok_or_else(|| format!("there is no program {word} in PATH"))
    }
}

/// The child starts in another folder, where a relative path would mean something else.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
