//! A process group: what a child leads, and what it may leave behind.

use rustix::process::{
    Pid, Signal, WaitOptions, kill_process, kill_process_group, test_kill_process_group, waitpgid,
};

use crate::machine::{Process, processes};

/// The group a child leads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(Pid);

impl Group {
    /// The group of a leader that was started as such.
    pub(crate) fn of(leader: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(leader).ok()?).map(Self)
    }

    /// To the leader alone, which must not have been waited for.
    pub(crate) fn signal_leader(self, signal: Signal) {
        kill_process(self.0, signal).ok();
    }

    /// To every member. A group that is gone already is no error.
    pub(crate) fn signal(self, signal: Signal) {
        kill_process_group(self.0, signal).ok();
    }

    /// Whether a member still runs. Call it only when the leader has been waited for: it reaps members that became
    /// this process's own children, as orphans of process 1 do in a container.
    pub(crate) fn runs(self) -> bool {
        while matches!(waitpgid(self.0, WaitOptions::NOHANG), Ok(Some(_))) {}
        test_kill_process_group(self.0).is_ok() && !self.is_all_zombies()
    }

    /// Members that have ended exist until somebody reaps them. Only Linux can tell; else nobody counts as a zombie.
    fn is_all_zombies(self) -> bool {
        let mut members = processes();
        members.retain(|process| process.group == self.0.as_raw_nonzero().get());
        !members.is_empty() && members.iter().all(Process::is_zombie)
    }
}
