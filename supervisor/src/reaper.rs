//! What process 1 of a container owes: whoever was left without a parent becomes its child, and nobody but it can ask
//! how that ended.

use std::{collections::HashSet, time::Duration};

use rustix::process::{Pid, WaitOptions, getpid, waitpid};

use crate::{
    machine::{Process, processes},
    spawner::Spawner,
};

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Reaps orphans each second, until it is dropped. Does nothing unless this is process 1. Children that the spawner
/// started are left to those who wait for them.
pub(crate) async fn reap(spawner: &Spawner) {
    if !getpid().is_init() {
        return std::future::pending().await;
    }
    let mut before = HashSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        // In this order: a child that is started between the two is not taken for one that has gone.
        let own = spawner.started().clone();
        let processes = processes();
        let exists = |id: &u32| processes.iter().any(|process| u32::try_from(process.id) == Ok(*id));
        spawner.started().retain(|id| !own.contains(id) || exists(id));
        // At two looks: one that is just being started is known only when that is done.
        let now: HashSet<i32> = orphans(&processes, &own).collect();
        for id in now.intersection(&before) {
            // Somebody else may have been quicker.
            waitpid(Pid::from_raw(*id), WaitOptions::NOHANG).ok();
        }
        before = now;
    }
}

fn orphans(processes: &[Process], own: &HashSet<u32>) -> impl Iterator<Item = i32> {
    let me = getpid().as_raw_nonzero().get();
    let is_orphan = move |process: &&Process| {
        let known = u32::try_from(process.id).is_ok_and(|id| own.contains(&id));
        process.parent == me && process.is_zombie() && !known
    };
    processes.iter().filter(is_orphan).map(|process| process.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ended_strangers_are_orphans() {
        let me = getpid().as_raw_nonzero().get();
        let process = |id, parent, state| Process { id, parent, group: id, state, resident_bytes: 0 };
        let all = [process(5, me, 'Z'), process(6, me, 'S'), process(7, me, 'Z'), process(8, me + 1, 'Z')];
        let own = HashSet::from([7]);
        assert_eq!(orphans(&all, &own).collect::<Vec<_>>(), [5]);
    }
}
