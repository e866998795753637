//! What changes in a cluster that runs: workers that are replaced, scaled, added and given up.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tempest_supervisor::{Applied, Orders as Workers};

use crate::{
    config::Config,
    failure::Failure,
    orders::{Answering, Asked, Order, Orders},
    output::print,
    reload::Reloader,
    watch::{Changed, Watch},
};

/// Who may want a change, and who carries it out.
pub(super) struct Rolling {
    pub(super) workers: Workers,
    pub(super) orders: Orders,
    /// Files that change, if somebody wants to know.
    pub(super) watch: Option<Watch>,
}

/// A change that somebody wants.
pub(super) enum Wanted {
    /// A command.
    Asked(Asked),
    /// Files have changed.
    Changed(Changed),
}

impl Rolling {
    /// Waits for the next change that somebody wants. Cancel-safe.
    pub(super) async fn next(&mut self) -> Wanted {
        let changed = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            asked = self.orders.next() => Wanted::Asked(asked),
            changed = changed => Wanted::Changed(changed),
        }
    }

    /// Restarts workers whose files have changed, and puts a changed configuration in force.
    pub(super) async fn follow(&mut self, reloader: &mut Reloader<'_>, changed: Changed) {
        if !changed.workers.is_empty() {
            let names: Vec<_> = changed.workers.iter().map(String::as_str).collect();
            let line = format!("watch: {} changed; restarting {}\n", changed.shown(), names.join(", "));
            // Nobody may read it; that hinders nothing.
            print(line.as_bytes()).ok();
            // What becomes of it is said in the output of the workers.
            names.iter().for_each(|name| drop(self.workers.restart(name)));
        }
        if changed.config {
            self.apply(reloader).await.ok(); // it was said how that went
        }
    }

    /// Does what a command asks for.
    pub(super) async fn obey(&mut self, reloader: &mut Reloader<'_>, asked: Asked) {
        match asked.order {
            Order::Reload { workers } => self.reload(reloader, workers, asked.answer).await,
            Order::Scale { worker, count } => {
                let scaled = self.workers.scale(&worker, count);
                tokio::spawn(async move {
                    match scaled.await {
                        Ok(before) => asked.answer.done(format!("{worker}: {before} → {count}")),
                        Err(error) => asked.answer.failed(error.to_string()),
                    }
                });
            }
        }
    }

    /// Puts the configuration in force.
    async fn apply(&mut self, reloader: &mut Reloader<'_>) -> Result<Applied, Failure> {
        let applied = reloader.reload().await?;
        if applied != Applied::default() && self.watch.is_some() {
            let Config { workers, file, .. } = &reloader.config;
            self.watch = Some(Watch::start(workers, file.as_deref())?);
        }
        Ok(applied)
    }

    /// The same, then replaces the children of these workers, of all if none is named: one after the other of each
    /// worker, which is not waited for here.
    pub(super) async fn reload(
        &mut self,
        reloader: &mut Reloader<'_>,
        names: Vec<String>,
        answer: Answering,
    ) {
        let applied = match self.apply(reloader).await {
            Ok(applied) => applied,
            Err(failure) => return answer.failed(failure.lines().collect::<Vec<_>>().join("\n")),
        };
        let new: BTreeSet<_> = applied.added.into_iter().chain(applied.changed).collect();
        let all = || reloader.config.workers.iter().map(|worker| worker.name.clone()).collect();
        let mut names: Vec<String> = if names.is_empty() { all() } else { names };
        names.retain(|name| !new.contains(name)); // these are being started or replaced already
        let workers = self.workers.clone();
        tokio::spawn(async move { roll(&workers, names, answer).await });
    }
}

async fn roll(workers: &Workers, names: Vec<String>, answer: Answering) {
    let said = &answer;
    let rolled = names.into_iter().map(|name| async move {
        let rolled = workers.restart(&name).await;
        match &rolled {
            Ok(count) => said.said(format!("{name}: {count} replaced")),
            Err(error) => said.said(format!("{name}: {error}")),
        }
        rolled
    });
    let rolled = join_all(rolled).await;
    let failed = rolled.iter().filter(|rolled| rolled.is_err()).count();
    match failed {
        0 => answer.done("reloaded"),
        _ => {
            answer.failed(format!("{failed} of {} workers could not be replaced; they work on", rolled.len()))
        }
    }
}
