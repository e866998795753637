//! The hourly search for what no set names: run lists whose registration was lost, mailboxes nobody listed. One
//! keeper of the cluster does it.

use std::collections::HashSet;

use redis::cmd;
use tempest_protocol::{Keys, Mailbox, Queue};
use tracing::{info, warn};

use super::KeeperOptions;
use crate::{Broker, Error, clock::millis};

/// Keys Redis looks at in one step.
const STEP: usize = 1_000;

/// Sweeps if no keeper has done so lately.
pub(super) async fn sweep_if_elected(broker: &Broker, options: &KeeperOptions) -> Result<(), Error> {
    let mut election = cmd("SET");
    election.arg(broker.keys().sweep()).arg(std::process::id());
    election.arg("NX").arg("PX").arg(millis(options.sweep_every));
    if broker.link().ask::<Option<String>>(&election).await?.is_none() {
        return Ok(());
    }
    let runs = sweep_run_lists(broker).await?;
    let mailboxes = sweep_mailboxes(broker, options).await?;
    info!(run_lists = runs, mailboxes, "swept for what no set names");
    Ok(())
}

/// Registers run lists that no set names, so that recovery finds them. Gives how many.
async fn sweep_run_lists(broker: &Broker) -> Result<usize, Error> {
    let prefix = broker.keys().prefix();
    let mut found = 0;
    for key in scan(broker, &format!("{prefix}:{{*}}:run:*")).await? {
        let Some((queue, entry)) = run_list(&key, broker.keys()) else {
            warn!(key, "a run list whose name says neither worker nor slot");
            continue;
        };
        let workers = broker.keys().workers(&queue);
        let added: u64 = broker.link().ask(cmd("SADD").arg(workers).arg(entry)).await?;
        broker.announce(std::slice::from_ref(&queue)).await?;
        if added > 0 {
            warn!(key, "a run list nobody had registered; it is now");
            found += 1;
        }
    }
    Ok(found)
}

/// The queue and the `<worker>.<slot>` of a run list's key.
fn run_list<'a>(key: &'a str, keys: &Keys) -> Option<(Queue, &'a str)> {
    let rest = key.strip_prefix(keys.prefix().as_str())?.strip_prefix(":{")?;
    let (queue, entry) = rest.split_once("}:run:")?;
    Keys::worker_of(entry)?;
    Some((Queue::new(queue).ok()?, entry))
}

/// Removes mailboxes that no set names and nobody touched for long. Gives how many.
async fn sweep_mailboxes(broker: &Broker, options: &KeeperOptions) -> Result<usize, Error> {
    let listed: HashSet<Mailbox> = broker.mailboxes().await?.into_iter().collect();
    let prefix = broker.keys().prefix();
    let mut removed = 0;
    for key in scan(broker, &format!("{prefix}:mailbox:{{*}}")).await? {
        let unlisted = broker.keys().mailbox_of(&key).is_some_and(|mailbox| !listed.contains(&mailbox));
        if unlisted && idle_seconds(broker, &key).await? >= options.mailbox_idle.as_secs() {
            removed += broker.link().ask::<usize>(cmd("UNLINK").arg(&key)).await?;
        }
    }
    Ok(removed)
}

async fn idle_seconds(broker: &Broker, key: &str) -> Result<u64, Error> {
    let idle: Option<u64> = broker.link().ask(cmd("OBJECT").arg("IDLETIME").arg(key)).await?;
    Ok(idle.unwrap_or_default())
}

/// Every list whose key matches. Keys that are no UTF-8 are not ours.
async fn scan(broker: &Broker, pattern: &str) -> Result<HashSet<String>, Error> {
    let mut found = HashSet::new();
    let mut cursor = 0u64;
    loop {
        let mut step = cmd("SCAN");
        step.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP).arg("TYPE").arg("list");
        let (next, keys): (u64, Vec<Vec<u8>>) = broker.link().ask(&step).await?;
        found.extend(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()));
        if next == 0 {
            return Ok(found);
        }
        cursor = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_list_names_its_queue_and_slot() {
        let keys = Keys::default();
        let (queue, entry) = run_list("tempest:{mail}:run:h-1-ab.c.3", &keys).unwrap();
        assert_eq!((queue.as_str(), entry), ("mail", "h-1-ab.c.3"));
        for other in
            ["tempest:{mail}:run:nobody", "other:{mail}:run:w.1", "tempest:{a b}:run:w.1", "tempest:{mail}"]
        {
            assert!(run_list(other, &keys).is_none(), "{other}");
        }
    }
}
