//! The front that takes the place of this one: the same command, the program as it now lies on the disk, and the same
//! listening sockets. As long as either has them open, the system accepts connections for both.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixDatagram as StdDatagram},
    path::PathBuf,
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use tempest_front::Spoken;
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::given::{FIRST, READY};

/// How long a new front may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);

/// How this process was started, so that it can be done again.
pub(crate) struct Origin {
    /// As it was called: a link or a name that leads to another version by now shall do so.
    called: PathBuf,
    arguments: Vec<OsString>,
    /// Where the program lay at the start, for one that cannot be found as it was called.
    program: Option<PathBuf>,
}

impl Origin {
    /// Must be asked at the start: later the program's file may be another one.
    pub(crate) fn of_this_process() -> Self {
        let program = std::env::current_exe().ok();
        let mut arguments = std::env::args_os();
        let called = arguments.next().map(PathBuf::from).or_else(|| program.clone()).unwrap_or_default();
        Self { called, arguments: arguments.collect(), program }
    }

    /// Starts a new front on these sockets, and waits until it serves. Gives its process id. What was started and does
    /// not come to serve is ended.
    ///
    /// Errors: one line that says why there is no new front.
    pub(crate) async fn succeed(
        &self,
        sockets: Vec<(Spoken, OwnedFd)>,
        stop: &CancellationToken,
    ) -> Result<u32, String> {
        let (mine, theirs) = ready_pair().map_err(|error| format!("no socket to wait on: {error}"))?;
        let mut child =
            self.start(sockets, theirs).map_err(|error| format!("{}: {error}", self.called.display()))?;
        let pid = child.id().unwrap_or_default();
        match serves(&mut child, &mine, stop).await {
            Ok(()) => {
                tokio::spawn(watch(child, pid));
                Ok(pid)
            }
            Err(why) => {
                // One that has ended by itself is past being killed.
                child.kill().await.ok();
                Err(why)
            }
        }
    }

    fn start(&self, sockets: Vec<(Spoken, OwnedFd)>, ready: OwnedFd) -> io::Result<Child> {
        let names: Vec<_> = sockets.iter().map(|(spoken, _)| spoken.as_str()).chain([READY]).collect();
        let descriptors: Vec<_> = sockets.into_iter().map(|(_, socket)| socket).chain([ready]).collect();
        let programs = [Some(&self.called), self.program.as_ref()];
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for program in programs.into_iter().flatten() {
            match self.command(program, &names, &descriptors)?.spawn() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
                started => return started,
            }
        }
        Err(last)
    }

    fn command(&self, program: &PathBuf, names: &[&str], descriptors: &[OwnedFd]) -> io::Result<Command> {
        let mut command = Command::new(program);
        command.arg0(&self.called).args(&self.arguments);
        // Without LISTEN_PID they are for whoever reads them: the child takes them before it starts anything.
        command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        command.env_remove("LISTEN_PID").env_remove("LISTEN_FDS_FIRST_FD");
        let mut mappings = Vec::new();
        for (child_fd, descriptor) in (FIRST..).zip(descriptors) {
            mappings.push(FdMapping { parent_fd: descriptor.try_clone()?, child_fd });
        }
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        Ok(command)
    }
}

/// Where this process hears that the new front serves, and what the new front says it on.
fn ready_pair() -> io::Result<(UnixDatagram, OwnedFd)> {
    let (mine, theirs) = StdDatagram::pair()?;
    mine.set_nonblocking(true)?;
    Ok((UnixDatagram::from_std(mine)?, theirs.into()))
}

async fn serves(child: &mut Child, ready: &UnixDatagram, stop: &CancellationToken) -> Result<(), String> {
    let mut word = [0; 16];
    tokio::select! {
        heard = ready.recv(&mut word) => match heard {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("it cannot be heard: {error}")),
        },
        ended = child.wait() => Err(match ended {
            Ok(status) => format!("it ended before it served ({status}); its own words say why"),
            Err(error) => format!("it is lost: {error}"),
        }),
        () = tokio::time::sleep(PATIENCE) => Err(format!("it did not serve within {PATIENCE:?}")),
        () = stop.cancelled() => Err("this front was told to stop".to_owned()),
    }
}

/// Says if the new front ends while this one still finishes what it holds.
async fn watch(mut child: Child, pid: u32) {
    if let Ok(status) = child.wait().await {
        error!(pid, %status, "the front that took the place of this one has ended");
    }
}
