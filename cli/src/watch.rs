//! `tempest up --watch`: which files of workers change, and whose they are.
//!
//! It is not responsible for restarting anything. Folders are watched one by one, so that those that are ignored cost
//! nothing, however large they are.

mod ignored;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tempest_supervisor::WorkerSpec;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use crate::failure::Failure;
use ignored::Ignored;

/// How long nothing more may change before a change is told: editors and builds write several files.
const QUIET: Duration = Duration::from_millis(200);
/// It is told after this time even if changes go on.
const AT_LATEST: Duration = Duration::from_secs(2);
/// Folders of one cluster. The system has a limit of its own, often 8,192 for all programs of a user.
const FOLDERS_MAX: usize = 5_000;
/// Events that wait to be read.
const WAITING: usize = 1_024;

/// The files of a cluster.
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<Event>,
    ignored: Ignored,
    folders: BTreeSet<PathBuf>,
    workers: Vec<Watched>,
    config: Option<PathBuf>,
    /// What has changed and was not told yet.
    pending: Changed,
}

/// What belongs to a worker.
struct Watched {
    name: String,
    folder: PathBuf,
    /// Its program and those of its arguments that are files: they count wherever they lie.
    named: Vec<PathBuf>,
}

/// What has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Files, as the workers they belong to see them.
    pub(crate) files: BTreeSet<String>,
    /// Workers they belong to.
    pub(crate) workers: BTreeSet<String>,
    /// Whether the configuration is among them.
    pub(crate) config: bool,
}

impl Watch {
    /// Watches the folders of these workers, and this configuration. What changes from here on is told.
    ///
    /// Errors: a folder cannot be watched; one line that says what to do.
    pub(crate) fn start(workers: &[WorkerSpec], config: Option<&Path>) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel(WAITING);
        let heard = move |event: notify::Result<Event>| {
            // Called on a thread of the watcher. Nobody listens any more: it will end, too.
            if let Some(event) = event.ok().filter(|event| !matches!(event.kind, EventKind::Access(_))) {
                sender.blocking_send(event).ok();
            }
        };
        let watcher = notify::recommended_watcher(heard).map_err(|error| cannot(Path::new("."), &error))?;
        let workers: Vec<_> = workers.iter().map(Watched::of).collect();
        let config = config.map(absolute);
        let (ignored, folders, pending) = Default::default();
        let mut watch = Self { watcher, events, ignored, folders, workers, config, pending };
        watch.everything()?;
        Ok(watch)
    }

    fn everything(&mut self) -> Result<(), Failure> {
        let roots: BTreeSet<_> = self.workers.iter().map(|worker| worker.folder.clone()).collect();
        for root in roots {
            self.ignored.above(&root);
            self.enter(&root)?;
        }
        let named = self.workers.iter().flat_map(|worker| &worker.named).chain(&self.config);
        let beside: BTreeSet<_> = named.filter_map(|file| file.parent().map(Path::to_owned)).collect();
        beside.iter().try_for_each(|folder| self.add(folder).map(drop))
    }

    /// Watches a folder and those in it. Links are not followed.
    fn enter(&mut self, folder: &Path) -> Result<(), Failure> {
        if !self.add(folder)? {
            return Ok(());
        }
        self.ignored.of_folder(folder);
        // One that has gone meanwhile has nothing to tell.
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        for path in folders.map(|entry| entry.path()) {
            if !self.ignored.is_ignored(&path, true) {
                self.enter(&path)?;
            }
        }
        Ok(())
    }

    /// Watches a folder alone. Gives whether it was not watched before.
    fn add(&mut self, folder: &Path) -> Result<bool, Failure> {
        if self.folders.contains(folder) {
            return Ok(false);
        }
        if self.folders.len() >= FOLDERS_MAX {
            return Err(Failure::new(format!(
                "--watch: there are more than {FOLDERS_MAX} folders; give each [[worker]] a dir of its own, or name large folders in .gitignore"
            )));
        }
        match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => Ok(self.folders.insert(folder.to_owned())),
            Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => Ok(false),
            Err(error) => Err(cannot(folder, &error)),
        }
    }

    /// Waits for the next change, and until it is quiet again. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> Changed {
        while self.pending == Changed::default() {
            match self.events.recv().await {
                Some(event) => self.note(&event),
                None => std::future::pending().await,
            }
        }
        let latest = Instant::now() + AT_LATEST;
        while let Ok(Some(event)) = timeout_at(latest.min(Instant::now() + QUIET), self.events.recv()).await {
            self.note(&event);
        }
        std::mem::take(&mut self.pending)
    }

    fn note(&mut self, event: &Event) {
        for path in &event.paths {
            if matches!(event.kind, EventKind::Remove(_)) {
                // One of this name may come again, with a watch of its own.
                self.folders.remove(path);
            }
            if path.is_dir() {
                self.arrived(path);
            } else {
                self.file(path);
            }
        }
    }

    /// What lies in a folder that is new was written before anybody watched it.
    fn arrived(&mut self, folder: &Path) {
        let mine = self.workers.iter().any(|worker| folder.starts_with(&worker.folder));
        if !mine || self.folders.contains(folder) || self.ignored.is_ignored(folder, true) {
            return;
        }
        if let Err(failure) = self.enter(folder) {
            failure.lines().for_each(|line| tracing::warn!("{line}"));
            return;
        }
        let inside = |path: &PathBuf| path.starts_with(folder);
        for folder in self.folders.iter().filter(|path| inside(path)).cloned().collect::<Vec<_>>() {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter(|entry| entry.path().is_file()).for_each(|entry| self.file(&entry.path()));
        }
    }

    fn file(&mut self, path: &Path) {
        if self.config.as_deref() == Some(path) {
            self.pending.config = true;
            return;
        }
        let ignored = self.ignored.is_ignored(path, false);
        for worker in &self.workers {
            if worker.named.iter().any(|named| named == path) || !ignored && worker.has(path) {
                self.pending.files.insert(worker.shown(path));
                self.pending.workers.insert(worker.name.clone());
            }
        }
    }
}

impl Watched {
    fn of(spec: &WorkerSpec) -> Self {
        let folder = absolute(spec.dir.as_deref().unwrap_or(Path::new(".")));
        let words = spec.command.iter().enumerate().filter(|(at, word)| *at > 0 || word.contains('/'));
        let files = words.map(|(_, word)| absolute(&folder.join(word))).filter(|path| path.is_file());
        Self { name: spec.name.clone(), named: files.collect(), folder }
    }

    /// Whether a file is one of its folder. Folders of tools may be watched for what another worker is started with.
    fn has(&self, path: &Path) -> bool {
        path.strip_prefix(&self.folder).is_ok_and(|inside| !Ignored::is_of_tools(inside))
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }
}

impl Changed {
    /// `app.py and 2 more`
    pub(crate) fn shown(&self) -> String {
        let first = self.files.first().map_or("", String::as_str);
        match self.files.len() {
            0 | 1 => first.to_owned(),
            more => format!("{first} and {} more", more - 1),
        }
    }
}

/// Links are followed, as the system does that tells of changes.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

fn cannot(folder: &Path, error: &notify::Error) -> Failure {
    let folder = folder.display();
    Failure::new(match error.kind {
        ErrorKind::MaxFilesWatch => "--watch: the system watches no more folders; sysctl -w fs.inotify.max_user_watches=65536, or fewer folders".to_owned(),
        _ => format!("--watch: cannot watch {folder}: {error}"),
    })
}

#[cfg(test)]
mod tests;
