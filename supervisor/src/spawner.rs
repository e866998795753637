//! A thread that starts children. Linux ties a child's parent-death signal to the *thread* that started it, so that
//! thread must live as long as the supervisor does.

use std::{
    collections::HashSet,
    process::Stdio,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

/// What a child ends by when the supervisor is gone.
const SETPRIV: [&str; 3] = ["--pdeathsig", "KILL", "--"];

type Order = (Command, oneshot::Sender<std::io::Result<Child>>);

/// Starts children on a thread of its own, which ends with this value.
pub struct Spawner {
    orders: mpsc::Sender<Order>,
    setpriv: bool,
    /// Those that may still run, or that nobody has asked yet how they ended.
    started: Mutex<HashSet<u32>>,
}

impl Spawner {
    /// Starts the thread. Must be called inside a tokio runtime.
    pub fn start() -> Self {
        let (orders, inbox) = mpsc::channel::<Order>();
        let runtime = Handle::current();
        std::thread::spawn(move || {
            let _inside = runtime.enter();
            for (mut command, started) in inbox {
                // A receiver that is gone drops the child, which kills it.
                started.send(command.spawn()).ok();
            }
        });
        Self { orders, setpriv: has_setpriv(), started: Mutex::default() }
    }

    /// A command for a program that ends when the supervisor does, as far as the system has means for that.
    pub fn command(&self, program: &std::path::Path, arguments: &[String]) -> Command {
        let mut command = if self.setpriv {
            let mut command = Command::new("setpriv");
            command.args(SETPRIV).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments);
        command
    }

    /// Starts it.
    ///
    /// Errors: those of the system.
    pub async fn spawn(&self, command: Command) -> std::io::Result<Child> {
        let gone = || std::io::Error::other("the thread that starts children is gone");
        let (started, answer) = oneshot::channel();
        self.orders.send((command, started)).map_err(|_| gone())?;
        let child = answer.await.map_err(|_| gone())??;
        self.started().extend(child.id());
        Ok(child)
    }

    /// The children it started, but for those that are forgotten.
    pub(crate) fn started(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn has_setpriv() -> bool {
    let mut trial = std::process::Command::new("setpriv");
    trial.args(SETPRIV).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    cfg!(target_os = "linux") && trial.status().is_ok_and(|status| status.success())
}
