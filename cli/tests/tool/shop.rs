//! A folder to call the tool in.

use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of one's own, and the variables the tool is called with.
pub(crate) struct Shop {
    pub(crate) dir: TempDir,
    variables: Vec<(String, String)>,
}

/// What a call gave.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary folder"), variables: Vec::new() }
    }

    /// One whose calls find a Redis by variable.
    pub(crate) fn at(url: String) -> Self {
        Self::new().with("TEMPEST_REDIS_URL", &url)
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        std::fs::write(path, text).expect("it can be written");
    }

    /// The tool, to be called in this folder and with no variables but ours.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        self.command_in(self.dir.path(), arguments)
    }

    pub(crate) fn command_in<A: AsRef<OsStr>>(&self, folder: &Path, arguments: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tempest"));
        command.args(arguments).current_dir(folder);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TEMPEST_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn call<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Told {
        Told::within(self.command(arguments).spawn().expect("the tool starts"), PATIENCE)
    }

    pub(crate) fn call_with_input<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Told {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().expect("the tool starts");
        child.stdin.take().expect("piped").write_all(input).expect("it reads");
        Told::within(child, PATIENCE)
    }
}

impl Told {
    /// Waits for a call that prints little; one that does not end is killed.
    fn within(mut child: Child, limit: Duration) -> Self {
        let until = Instant::now() + limit;
        while child.try_wait().expect("it can be waited for").is_none() {
            if Instant::now() > until {
                child.kill().expect("it can be killed");
                let told = Self::of(child.wait_with_output().expect("it ends"));
                panic!("it did not end within {limit:?}: {told:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Self::of(child.wait_with_output().expect("it ends"))
    }

    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It went well. Gives what was printed.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// What was printed, as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let text = self.good();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// It failed with this code and said exactly one line. Gives the line.
    #[track_caller]
    pub(crate) fn one_line(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        assert!(self.err.starts_with("tempest: "), "{self:?}");
        self.err.trim_end().trim_start_matches("tempest: ").to_owned()
    }
}
