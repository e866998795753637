//! `[[worker]]`: what the supervisor starts.

use std::{collections::BTreeMap, time::Duration};

use tempest_protocol::{Lane, Queue};
use tempest_supervisor::WorkerSpec;
use toml::de::DeTable;

use super::{
    Reader, Value,
    key::{Entry, Shape, entries},
};

/// Every key of a worker.
pub(crate) const KEYS: &[Entry] = entries! {
    "name" (Shape::Text) "What it is called in the log and by commands; required, once only.";
    "command" (Shape::Texts) "The program and its arguments; also a text, parted as a shell does. Required.";
    "queues" (Shape::Texts) "The queues it works on (`TEMPEST_QUEUE`); absent: `default`.";
    "lanes" (Shape::Texts) "The lanes it claims from (`TEMPEST_LANES`); absent: `normal`.";
    "count" (Shape::Integer) "How many are started; absent: 1.";
    "env" (Shape::Fields) "Variables of its environment besides those of `tempest up`.";
    "dir" (Shape::Folder) "The folder it is started in; relative to the file; absent: that of the file.";
    "beat" (Shape::Truth) "`true`: the supervisor registers each child under the name in `TEMPEST_WORKER_ID`, with one slot, and holds its lease: for workers without SDK.";
    "memory_mib_max" (Shape::Integer) "Resident memory of a child and what it started, in MiB; beyond it the child is replaced, the next one first. 0 or absent: any; so with the limits below.";
    "age_ms_max" (Shape::Integer) "Age of a child, in milliseconds; then it is replaced, up to a tenth earlier.";
    "jobs_max" (Shape::Integer) "Jobs a child may finish, as its lease tells; then it is replaced.";
    "run_ms_max" (Shape::Integer) "How long one job may run, in milliseconds; else its worker is ended: `SIGTERM`, `supervisor.grace_ms`, `SIGKILL`.";
    "stall_ms_max" (Shape::Integer) "How long a child may finish nothing while it holds a job or while one waits for it, in milliseconds; else it is ended.";
};

/// Children of one entry.
const COUNT_MAX: u64 = 1_000;
/// Limits of children: of memory in MiB, of times in milliseconds (ten years), of jobs.
const MEMORY_MIB_MAX: u64 = 16 << 20;
const TIME_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;
const JOBS_MAX: u64 = 1 << 53;

impl Reader<'_> {
    pub(super) fn worker(
        &mut self,
        at: usize,
        table: &DeTable<'_>,
        others: &[WorkerSpec],
    ) -> Option<WorkerSpec> {
        let before = self.wrong.len();
        let mut spec = WorkerSpec::new("", Vec::new());
        spec.dir = Some(self.folder());
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if KEYS.iter().any(|known| known.name == name) {
                self.worker_key(name, value, &mut spec);
            } else {
                self.unknown(key, "[[worker]]", KEYS.iter().map(|known| known.name));
            }
        }
        for (key, missing) in [("name", spec.name.is_empty()), ("command", spec.command.is_empty())] {
            if missing && !table.keys().any(|given| given.get_ref() == key) {
                self.wrong(at, format!("[[worker]] needs {key}"));
            }
        }
        if others.iter().any(|other| other.name == spec.name) {
            self.wrong(at, format!("two workers are named {:?}", spec.name));
        }
        (self.wrong.len() == before).then_some(spec)
    }

    fn worker_key(&mut self, key: &str, value: &Value<'_>, spec: &mut WorkerSpec) {
        let at = value.span().start;
        match key {
            "name" => {
                spec.name = self.text(key, value).unwrap_or_default();
                if !is_name(&spec.name) && value.get_ref().is_str() {
                    let name = &spec.name;
                    self.wrong(at, format!("name {name:?} must be 1 to 32 of A-Z a-z 0-9 . _ -"));
                }
            }
            "command" => spec.command = self.command(value).unwrap_or_default(),
            "queues" => spec.queues = self.parsed(key, value, |word| Queue::new(word)),
            "lanes" => spec.lanes = self.parsed(key, value, |word| word.parse::<Lane>()),
            "count" => {
                let count = self.integer(key, value, COUNT_MAX).unwrap_or(1);
                spec.count = usize::try_from(count).unwrap_or(1);
            }
            "env" => spec.env = self.environment(value),
            "beat" => match value.get_ref().as_bool() {
                Some(is_beaten_for) => spec.is_beaten_for = is_beaten_for,
                None => self.wrong(at, "beat must be true or false"),
            },
            "memory_mib_max" => {
                spec.limits.memory_bytes = self.limit(key, value, MEMORY_MIB_MAX).map(|mib| mib << 20);
            }
            "age_ms_max" => spec.limits.age = self.time(key, value),
            "jobs_max" => spec.limits.jobs = self.limit(key, value, JOBS_MAX),
            "run_ms_max" => spec.limits.run = self.time(key, value),
            "stall_ms_max" => spec.limits.stall = self.time(key, value),
            _ => {
                let folder = self.folder();
                spec.dir = self.text(key, value).map(|dir| folder.join(dir));
            }
        }
    }

    /// What a child may use; 0 is any amount.
    fn limit(&mut self, key: &str, value: &Value<'_>, max: u64) -> Option<u64> {
        self.integer(key, value, max).filter(|limit| *limit > 0)
    }

    fn time(&mut self, key: &str, value: &Value<'_>) -> Option<Duration> {
        self.limit(key, value, TIME_MS_MAX).map(Duration::from_millis)
    }

    /// A command line as a shell would cut it, or a list of words.
    fn command(&mut self, value: &Value<'_>) -> Option<Vec<String>> {
        let words = match value.get_ref().as_str() {
            Some(line) => shlex::split(line),
            None => self.texts("command", value),
        };
        match words {
            Some(words) if !words.is_empty() && !words[0].is_empty() => Some(words),
            Some(_) => {
                self.wrong(value.span().start, "command is empty");
                None
            }
            None => {
                if value.get_ref().is_str() {
                    self.wrong(value.span().start, "command has a quote that does not end");
                }
                None
            }
        }
    }

    /// A list of names, at least one and none twice.
    fn parsed<T: PartialEq>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        parse: impl Fn(&str) -> Result<T, tempest_protocol::Error>,
    ) -> Vec<T> {
        let at = value.span().start;
        let mut parsed = Vec::new();
        let Some(words) = self.texts(key, value) else { return parsed };
        for word in &words {
            match parse(word) {
                Ok(name) if parsed.contains(&name) => self.wrong(at, format!("{key} has {word:?} twice")),
                Ok(name) => parsed.push(name),
                Err(error) => self.wrong(at, format!("{key}: {}", error.detail())),
            }
        }
        if words.is_empty() {
            self.wrong(at, format!("{key} is empty; leave it out for the default"));
        }
        parsed
    }

    fn environment(&mut self, value: &Value<'_>) -> BTreeMap<String, String> {
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(value.span().start, "env must be a table: { NAME = \"value\" }");
            return BTreeMap::new();
        };
        let mut environment = BTreeMap::new();
        for (name, value) in table {
            let name = name.get_ref().as_ref();
            if name.is_empty() || name.contains(['=', '\0']) {
                self.wrong(value.span().start, format!("env: {name:?} is no name of a variable"));
            } else if let Some(text) = self.text(&format!("env.{name}"), value) {
                environment.insert(name.to_owned(), text);
            }
        }
        environment
    }
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=32).contains(&name.len()) && name.bytes().all(good)
}
