//! `.tempest/`: what a running `tempest up` leaves in its folder, and how other commands find it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use tempest_broker::Tls;

use crate::failure::Failure;

/// The folder of a cluster's own files.
pub(crate) const FOLDER: &str = ".tempest";
const UP_FILE: &str = "up.json";
const LOCK_FILE: &str = "lock";
const CONTROL_SOCKET: &str = "control";

/// Where a running cluster is.
#[derive(Clone, Debug)]
pub(crate) struct UpFile {
    /// The file.
    pub(crate) path: PathBuf,
    content: Value,
}

impl UpFile {
    /// The cluster that runs in this folder or the next one above that has one. A file whose process is gone, or
    /// that cannot be read, counts as absent.
    pub(crate) fn find(from: &Path) -> Option<Self> {
        from.ancestors().find_map(|folder| Self::read(&folder.join(FOLDER).join(UP_FILE)))
    }

    fn read(path: &Path) -> Option<Self> {
        let content: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
        let pid = content["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))?;
        let alive = !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH));
        (alive && content["redis_url"].is_string()).then(|| Self { path: path.to_owned(), content })
    }

    /// Where it takes orders.
    pub(crate) fn control(&self) -> PathBuf {
        self.path.with_file_name(CONTROL_SOCKET)
    }

    /// What it says of a setting.
    pub(crate) fn value(&self, key: &str) -> Option<String> {
        let field = match key {
            "redis.url" => "redis_url",
            "redis.ca_file" => "redis_ca_file",
            "redis.cert_file" => "redis_cert_file",
            "redis.key_file" => "redis_key_file",
            "redis.prefix" => "prefix",
            "redis.topic_prefix" => "topic_prefix",
            _ => return None,
        };
        self.content[field].as_str().map(str::to_owned)
    }
}

/// The folder of a cluster that this process runs. Only one process can have it; its files go with this value.
pub(crate) struct Claimed {
    folder: PathBuf,
    /// Locked as long as it is open.
    _lock: fs::File,
}

/// What other commands need to know.
pub(crate) struct Addresses<'a> {
    pub(crate) front: &'a str,
    pub(crate) redis_url: &'a str,
    pub(crate) redis_tls: Tls,
    pub(crate) prefix: &'a str,
    pub(crate) topic_prefix: &'a str,
}

impl Claimed {
    /// Claims `.tempest` of the current folder.
    ///
    /// Errors: it cannot be written, or another `tempest up` runs here.
    pub(crate) fn claim() -> Result<Self, Failure> {
        let folder = PathBuf::from(FOLDER);
        let cannot =
            |error: io::Error| Failure::new(format!("cannot write {FOLDER}/ in this folder: {error}"));
        fs::create_dir_all(&folder).map_err(cannot)?;
        let lock = fs::File::create(folder.join(LOCK_FILE)).map_err(cannot)?;
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let claimed = Self { folder, _lock: lock };
                // One that was killed could not take its own away.
                claimed.withdraw();
                Ok(claimed)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::new(
                "tempest up runs in this folder already; stop it (Ctrl-C), or start this one in another folder",
            )),
            Err(error) => Err(cannot(error.into())),
        }
    }

    /// The folder for the data of the private Redis.
    pub(crate) fn redis_folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.join("redis");
        fs::create_dir_all(&folder)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", folder.display())))?;
        Ok(folder)
    }

    /// The socket for orders, in the current folder: short enough for the system wherever that is.
    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join(CONTROL_SOCKET)
    }

    /// Tells other commands where the cluster is. Whoever reads it sees all of it or nothing.
    pub(crate) fn announce(&self, addresses: &Addresses<'_>) -> Result<(), Failure> {
        let Tls { ca_file, cert_file, key_file } = addresses.redis_tls.absolute();
        let content = json!({
            "front": addresses.front,
            "redis_url": addresses.redis_url,
            "redis_ca_file": ca_file,
            "redis_cert_file": cert_file,
            "redis_key_file": key_file,
            "prefix": addresses.prefix,
            "topic_prefix": addresses.topic_prefix,
            "pid": std::process::id(),
        });
        let (new, path) = (self.folder.join("up.json.new"), self.folder.join(UP_FILE));
        write_private(&new, &format!("{content:#}\n"))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
    }
}

/// The URL may hold a password: for the owner only.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

impl Claimed {
    /// Nothing can be found here any more. That nothing could before is no error.
    fn withdraw(&self) {
        fs::remove_file(self.folder.join(UP_FILE)).ok();
        fs::remove_file(self.control()).ok();
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.withdraw();
    }
}
