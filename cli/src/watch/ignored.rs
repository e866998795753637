//! Files whose change means nothing to a worker.

use std::path::Path;

use ignore::gitignore::Gitignore;

/// Folders of tools, whatever `.gitignore` says.
const FOLDERS: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".tempest",
    "target",
    "node_modules",
    "__pycache__",
    ".venv",
    "venv",
    ".tox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
    ".bundle",
];
/// Files that a worker, an editor or a compiler writes for itself.
const ENDINGS: &[&str] = &[
    ".pyc", ".pyo", ".log", ".pid", ".sock", ".tmp", ".swp", ".swo", ".swx", "~", "-journal", "-wal", "-shm",
];
/// A file with which vim tries whether it may write.
const TRIAL: &str = "4913";

/// What is ignored: by name, and by the lists `.gitignore` that were found so far.
#[derive(Default)]
pub(super) struct Ignored {
    lists: Vec<Gitignore>,
}

impl Ignored {
    /// Reads the lists above a folder, up to that of its repository.
    pub(super) fn above(&mut self, folder: &Path) {
        let in_repository = folder.ancestors().any(|above| above.join(".git").exists());
        let mut above = folder;
        while in_repository && !above.join(".git").exists() {
            let Some(parent) = above.parent() else { return };
            above = parent;
            self.of_folder(above);
        }
    }

    /// Reads the list of a folder, if it has one. Lines that are wrong are left out.
    pub(super) fn of_folder(&mut self, folder: &Path) {
        let file = folder.join(".gitignore");
        if file.is_file() && !self.lists.iter().any(|list| list.path() == folder) {
            self.lists.push(Gitignore::new(file).0);
        }
    }

    /// Whether a change of this file or folder means nothing.
    pub(super) fn is_ignored(&self, path: &Path, is_folder: bool) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let by_name = if is_folder {
            FOLDERS.contains(&name.as_ref())
        } else {
            name == TRIAL || ENDINGS.iter().any(|ending| name.ends_with(ending))
        };
        by_name || self.is_listed(path, is_folder)
    }

    /// Whether a path, as seen from the folder of its worker, leads through a folder of tools.
    pub(super) fn is_of_tools(inside: &Path) -> bool {
        let folders = inside.parent().into_iter().flat_map(Path::components);
        folders.into_iter().any(|part| FOLDERS.contains(&part.as_os_str().to_string_lossy().as_ref()))
    }

    /// The list that is nearest to the file and names it decides.
    fn is_listed(&self, path: &Path, is_folder: bool) -> bool {
        let over = self.lists.iter().filter(|list| path.starts_with(list.path()));
        let named = over.map(|list| (list, list.matched_path_or_any_parents(path, is_folder)));
        let named = named.filter(|(_, found)| !found.is_none());
        let nearest = named.max_by_key(|(list, _)| list.path().components().count());
        nearest.is_some_and(|(_, found)| found.is_ignore())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_tools_write_is_ignored_and_what_people_write_is_not() {
        let ignored = Ignored::default();
        let file = |path: &str| ignored.is_ignored(Path::new(path), false);
        for path in ["/a/app.py", "/a/lib/x.rb", "/a/.env", "/a/targets.py", "/a/log", "/a/package.json"] {
            assert!(!file(path), "{path}");
        }
        for path in ["/a/app.pyc", "/a/b.py~", "/a/4913", "/a/x.log"] {
            assert!(file(path), "{path}");
        }
        assert!(
            Ignored::is_of_tools(Path::new("node_modules/m/i.js"))
                && Ignored::is_of_tools(Path::new(".git/x"))
        );
        assert!(!Ignored::is_of_tools(Path::new("src/target")));
        assert!(ignored.is_ignored(Path::new("/a/target"), true));
        assert!(!ignored.is_ignored(Path::new("/a/src"), true));
    }

    #[test]
    fn lists_of_git_count_and_the_nearest_wins() {
        let dir = tempfile::TempDir::new().unwrap();
        let root = dir.path().join("repo");
        fs::create_dir_all(root.join("app/data")).unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(dir.path().join(".gitignore"), "app.py\n").unwrap();
        fs::write(root.join(".gitignore"), "*.db\n/app/data/\n").unwrap();
        fs::write(root.join("app/.gitignore"), "!keep.db\n").unwrap();
        let mut ignored = Ignored::default();
        ignored.above(&root.join("app"));
        ignored.of_folder(&root.join("app"));
        let file = |path: &str| ignored.is_ignored(&root.join(path), false);
        assert!(!file("app/app.py"), "a list outside of the repository does not count");
        assert!(file("app/x.db") && !file("app/keep.db"));
        assert!(file("app/data/x"));
        assert!(ignored.is_ignored(&root.join("app/data"), true));
    }
}
