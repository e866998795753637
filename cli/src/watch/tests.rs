use std::fs;

use tempfile::TempDir;

use super::*;

struct Scene {
    dir: TempDir,
    watch: Watch,
}

fn scene(specs: &[(&str, &str, &str)]) -> Scene {
    let dir = TempDir::new().unwrap();
    for folder in ["one/sub", "two", "one/node_modules/m", "bin"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("bin/run"), "").unwrap();
    fs::write(dir.path().join("tempest.toml"), "").unwrap();
    let specs: Vec<_> = specs
        .iter()
        .map(|(name, folder, command)| {
            let command = command.split(' ').map(str::to_owned).collect();
            WorkerSpec { dir: Some(dir.path().join(folder)), ..WorkerSpec::new(*name, command) }
        })
        .collect();
    let watch = Watch::start(&specs, Some(&dir.path().join("tempest.toml"))).unwrap();
    Scene { dir, watch }
}

impl Scene {
    fn write(&self, name: &str) {
        fs::write(self.dir.path().join(name), "x").unwrap();
    }

    /// What the next change is: its files, and whose they are.
    async fn next(&mut self) -> (String, String) {
        let changed = tokio::time::timeout(Duration::from_secs(20), self.watch.changed());
        let changed = changed.await.expect("a change is told");
        (changed.shown(), changed.workers.into_iter().collect::<Vec<_>>().join(","))
    }
}

fn told(files: &str, workers: &str) -> (String, String) {
    (files.to_owned(), workers.to_owned())
}

const TWO: &[(&str, &str, &str)] = &[("a", "one", "python app.py"), ("b", "two", "../bin/run")];

#[tokio::test]
async fn a_change_is_told_of_the_worker_it_belongs_to() {
    let mut scene = scene(TWO);
    scene.write("one/app.py");
    assert_eq!(scene.next().await, told("app.py", "a"));
    scene.write("one/sub/lib.py");
    assert_eq!(scene.next().await, told("sub/lib.py", "a"));
    for name in ["two/x", "two/y", "one/z"] {
        scene.write(name);
    }
    let mut all = Changed::default();
    while all.files.len() < 3 {
        // On a busy machine they may be told one after the other.
        let more = scene.watch.changed().await;
        all.files.extend(more.files);
        all.workers.extend(more.workers);
    }
    assert_eq!((all.shown().as_str(), all.workers.len()), ("x and 2 more", 2));
    let run = scene.dir.path().canonicalize().unwrap().join("bin/run");
    scene.write("bin/other");
    scene.write("bin/run");
    assert_eq!(scene.next().await, told(&run.display().to_string(), "b"), "its program, wherever it lies");
}

#[tokio::test]
async fn what_is_ignored_is_not_told() {
    let mut scene = scene(TWO);
    for name in ["one/node_modules/m/i.js", "one/x.pyc", "one/a.log", "one/sub/.x.swp"] {
        scene.write(name);
    }
    fs::create_dir_all(scene.dir.path().join("one/__pycache__")).unwrap();
    scene.write("one/__pycache__/x");
    assert!(tokio::time::timeout(Duration::from_millis(700), scene.watch.changed()).await.is_err());
    scene.write("two/last");
    assert_eq!(scene.next().await, told("last", "b"));
}

#[tokio::test]
async fn folders_that_come_later_are_watched_too() {
    let mut scene = scene(TWO);
    fs::create_dir_all(scene.dir.path().join("one/new/deep")).unwrap();
    scene.write("one/new/deep/first");
    assert_eq!(scene.next().await, told("new/deep/first", "a"));
    scene.write("one/new/deep/second");
    assert_eq!(scene.next().await, told("new/deep/second", "a"));
    fs::remove_dir_all(scene.dir.path().join("one/new")).unwrap();
    assert_eq!(scene.next().await.1, "a");
    fs::create_dir_all(scene.dir.path().join("one/new")).unwrap();
    scene.write("one/new/again");
    assert_eq!(scene.next().await, told("new/again", "a"));
}

#[tokio::test]
async fn a_file_that_an_editor_puts_in_place_counts_once() {
    let mut scene = scene(TWO);
    scene.write("one/app.py~");
    fs::rename(scene.dir.path().join("one/app.py~"), scene.dir.path().join("one/app.py")).unwrap();
    assert_eq!(scene.next().await, told("app.py", "a"));
    assert!(tokio::time::timeout(Duration::from_millis(500), scene.watch.changed()).await.is_err());
}

#[tokio::test]
async fn the_configuration_is_told_apart() {
    let mut scene = scene(&[("a", ".", "python app.py")]);
    scene.write("tempest.toml");
    let changed = scene.watch.changed().await;
    assert_eq!(changed, Changed { config: true, ..Changed::default() });
}
