//! One process: its environment, its group, its death.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, process::Stdio, time::Duration};

use rustix::process::Signal;
use tempest_broker::Settings;
use tempest_protocol::{Lane, Queue};
use tokio::{process, sync::mpsc, time::timeout};
use tokio_util::task::TaskTracker;

use crate::{Line, Origin, WorkerSpec, group::Group, output::forward, spawner::Spawner};

/// How often to look whether a group has ended.
const LOOK: Duration = Duration::from_millis(20);

/// A child that was started, and the group it leads.
pub(crate) struct Child {
    process: process::Child,
    group: Option<Group>,
    readers: TaskTracker,
}

/// How a child ended.
pub(crate) struct Death {
    /// A clause: `killed by signal 9 (SIGKILL)`, `exited with code 1`.
    pub(crate) cause: String,
    /// Whether it had to be killed.
    pub(crate) killed: bool,
}

impl Child {
    /// Starts a child whose worker ids end in `tag`.
    ///
    /// Errors: one line that says why not.
    pub(crate) async fn start(
        spec: &WorkerSpec,
        label: &str,
        tag: &str,
        settings: &Settings,
        spawner: &Spawner,
        output: &mpsc::Sender<Line>,
    ) -> Result<Self, String> {
        let program = spec.program()?;
        let mut command = spawner.command(&program, spec.command.get(1..).unwrap_or_default());
        for (name, value) in environment(spec, settings) {
            command.env(name, value);
        }
        command.envs(&spec.env).env("TEMPEST_WORKER_TAG", tag);
        if let Some(dir) = &spec.dir {
            command.current_dir(dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut process = spawner.spawn(command).await.map_err(|error| error.to_string())?;
        let group = process.id().and_then(Group::of);
        let readers = TaskTracker::new();
        if let Some(stdout) = process.stdout.take() {
            readers.spawn(forward(label.to_owned(), Origin::Stdout, stdout, output.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            readers.spawn(forward(label.to_owned(), Origin::Stderr, stderr, output.clone()));
        }
        readers.close();
        Ok(Self { process, group, readers })
    }

    /// The process id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits until it ends by itself. Cancel-safe.
    pub(crate) async fn ended(&mut self) -> Death {
        let cause = match self.process.wait().await {
            Ok(status) => cause_of(status),
            Err(error) => format!("lost: {error}"),
        };
        Death { cause, killed: false }
    }

    /// Asks the whole group to end, and kills what is left of it after `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) -> Death {
        self.signal(Signal::TERM);
        let ended = timeout(grace, async {
            let death = self.ended().await;
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
