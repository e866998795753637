//! What is to be started.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
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
        }
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
