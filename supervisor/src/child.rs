//! One process: its environment, its group, its death.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::Signal;
use tempest_broker::Settings;
use tempest_protocol::{Lane, Queue};
use tokio::{
    process,
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::task::TaskTracker;

use crate::{
    Line, Origin, WorkerSpec,
    group::Group,
    machine::OomKills,
    output::{LastWords, forward},
    spawner::Spawner,
};

/// How often to look whether a group has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A child that was started, and the group it leads.
pub(crate) struct Child {
    process: process::Child,
    group: Option<Group>,
    readers: TaskTracker,
    last_words: LastWords,
    oom_kills: Arc<OomKills>,
}

/// What a child is started with.
pub(crate) struct Birth<'a> {
    pub(crate) spec: &'a WorkerSpec,
    pub(crate) label: &'a str,
    /// What its worker ids end in.
    pub(crate) tag: &'a str,
    /// The id under which the supervisor has registered it, if it did.
    pub(crate) registered: Option<&'a str>,
    pub(crate) settings: &'a Settings,
    pub(crate) spawner: &'a Spawner,
    pub(crate) output: &'a mpsc::Sender<Line>,
    pub(crate) oom_kills: &'a Arc<OomKills>,
}

/// How a child ended.
pub(crate) struct Death {
    /// A clause: `killed by signal 9 (SIGKILL)`, `exited with code 1`.
    pub(crate) cause: String,
    /// Whether it had to be killed.
    pub(crate) killed: bool,
}

impl Child {
    /// Starts a child.
    ///
    /// Errors: one line that says why not.
    pub(crate) async fn start(birth: Birth<'_>) -> Result<Self, String> {
        let Birth { spec, label, settings, spawner, output, .. } = birth;
        let program = spec.program()?;
        let mut command = spawner.command(&program, spec.command.get(1..).unwrap_or_default());
        // Who may change something at the front's admin listener is no business of workers.
        command.env_remove("TEMPEST_ADMIN_TOKEN");
        for (name, value) in environment(spec, settings) {
            command.env(name, value);
        }
        command.envs(&spec.env).env("TEMPEST_WORKER_TAG", birth.tag);
        if let Some(id) = birth.registered {
            command.env("TEMPEST_WORKER_ID", id);
        }
        if let Some(dir) = &spec.dir {
            command.current_dir(dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = spawner.spawn(command).await.map_err(|error| error.to_string())?;
        let group = process.id().and_then(Group::of);
        let (readers, last_words) = (TaskTracker::new(), LastWords::default());
        if let Some(stdout) = process.stdout.take() {
            readers.spawn(forward(label.to_owned(), Origin::Stdout, stdout, output.clone(), None));
        }
        if let Some(stderr) = process.stderr.take() {
            let kept = Some(last_words.clone());
            readers.spawn(forward(label.to_owned(), Origin::Stderr, stderr, output.clone(), kept));
        }
        readers.close();
        Ok(Self { process, group, readers, last_words, oom_kills: birth.oom_kills.clone() })
    }

    /// The process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until it ends by itself. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Death {
        let cause = match self.process.wait().await {
            Ok(status) if status.signal() == Some(Signal::KILL.as_raw()) && self.oom_kills.lately() => {
                format!("{}, out of memory", cause_of(status))
            }
            Ok(status) => cause_of(status),
            Err(error) => format!("lost: {error}"),
        };
        Death { cause, killed: false }
    }

    /// Asks it to end, and kills what is left of its group after `grace`. The child is asked alone at first, so that what
    /// it has started for its work can finish that, as the `redis-cli` of a shell; the others when it has ended, or when
    /// half the time is over.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Death {
        let end = Instant::now() + grace;
        if let Some(group) = self.group {
            group.signal_leader(Signal::TERM);
        }
        let early = timeout(grace / 2, self.ended()).await.ok();
        self.signal(Signal::TERM);
        let ended = timeout_at(end, async {
            let death = match early {
                Some(death) => death,
                None => self.ended().await,
            };
            while self.group.is_some_and(Group::runs) {
                tokio::time::sleep(LOOK).await;
            }
            death
        });
        match ended.await {
            Ok(death) => death,
            Err(_) => {
                self.signal(Signal::KILL);
                Death { killed: true, ..self.ended().await }
            }
        }
    }

    /// Ends what the child left running in its group.
    pub(crate) fn kill_rest(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until the last it printed has been handed on; not for a process that left the group with the pipe open.
    pub(crate) async fn drained(&self) {
        timeout(Duration::from_millis(500), self.readers.wait()).await.ok();
    }

    /// The last lines of its standard error.
    pub(crate) fn last_words(&self) -> String {
        self.last_words.text()
    }

    /// To the whole group. A group that is gone already is no error.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            group.signal(signal);
        }
    }
}

/// A child that nobody waited for must not outlive the supervisor.
impl Drop for Child {
    fn drop(&mut self) {
        if self.id().is_some() {
            self.kill_rest();
        }
    }
}

/// How a worker finds its cluster and its work.
fn environment(spec: &WorkerSpec, settings: &Settings) -> Vec<(&'static str, String)> {
    let queues: Vec<_> = spec.queues.iter().map(Queue::as_str).collect();
    let lanes: Vec<_> = spec.lanes.iter().map(|lane| Lane::as_str(*lane)).collect();
    let mut environment = vec![
        ("TEMPEST_REDIS_URL", settings.url.clone()),
        ("TEMPEST_PREFIX", settings.prefix.to_string()),
        ("TEMPEST_TOPIC_PREFIX", settings.topic_prefix.clone()),
        ("TEMPEST_QUEUE", queues.join(",")),
        ("TEMPEST_LANES", lanes.join(",")),
        ("TEMPEST_REST", if may_rest(spec) { "1" } else { "0" }.to_owned()),
    ];
    // A worker may run in a folder of its own.
    let tls = settings.tls.absolute();
    environment.extend(tls.variables().map(|(name, file)| (name, file.to_string_lossy().into_owned())));
    // Else what a Python worker prints appears only when it ends.
    if std::env::var_os("PYTHONUNBUFFERED").is_none() {
        environment.push(("PYTHONUNBUFFERED", "1".into()));
    }
    environment
}

/// Whether the supervisor keeps the lease of a child that rests: not of one that registers elsewhere, or not at all.
fn may_rest(spec: &WorkerSpec) -> bool {
    let is_elsewhere =
        ["TEMPEST_REDIS_URL", "TEMPEST_PREFIX"].iter().any(|name| spec.env.contains_key(*name));
    !spec.is_beaten_for && !is_elsewhere
}

fn cause_of(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(number), _) => match name_of(number) {
            Some(name) => format!("killed by signal {number} ({name})"),
            None => format!("killed by signal {number}"),
        },
        (None, Some(code)) => format!("exited with code {code}"),
        (None, None) => "ended".into(),
    }
}

fn name_of(signal: i32) -> Option<&'static str> {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::SYS, "SIGSYS"),
    ];
    names.into_iter().find(|(named, _)| named.as_raw() == signal).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_told_in_words() {
        assert_eq!(cause_of(ExitStatus::from_raw(9)), "killed by signal 9 (SIGKILL)");
        assert_eq!(cause_of(ExitStatus::from_raw(1 << 8)), "exited with code 1");
        assert_eq!(cause_of(ExitStatus::from_raw(34)), "killed by signal 34");
    }
}
