//! A changed configuration for what runs: all that can be put in force, or nothing; and one line that says what.

use tempest_front::{Handle, Reloaded};
use tracing::{error, info};

use crate::{
    config::{Config, Value},
    failure::Failure,
    log::Log,
    service,
    setting::needs_restart,
};

/// Puts configurations in force.
pub(crate) struct Reloader<'a> {
    /// What is in force.
    pub(crate) config: Config,
    /// Reads it anew, from all its sources.
    pub(crate) load: &'a (dyn Fn() -> Result<Config, Failure> + Sync),
    pub(crate) front: Handle,
    pub(crate) log: &'a Log,
    /// Whether this process runs the workers of the file.
    pub(crate) has_workers: bool,
}

impl Reloader<'_> {
    /// Reloads, and says how it went. A configuration with a mistake changes nothing.
    pub(crate) fn reload(&mut self) {
        service::reloading();
        match self.try_reload() {
            Ok(changes) => info!("{changes}"),
            Err(failure) => {
                failure.lines().for_each(|line| error!("{line}"));
                error!("nothing was reloaded; what was in force still is");
            }
        }
        service::ready();
    }

    fn try_reload(&mut self) -> Result<String, Failure> {
        let mut new = (self.load)()?;
        let routes = self.front.reload(new.front())?;
        self.log.reload(&new);
        let (later, now): (Vec<_>, Vec<_>) =
            self.config.changes(&new).into_iter().partition(|(old, _)| needs_restart(old.setting.key));
        let mut said = vec![shown(&now), shown_routes(&routes)];
        let workers = self.has_workers && self.config.workers != new.workers;
        said.retain(|part| !part.is_empty());
        let mut line = match said.is_empty() {
            true => "reloaded: nothing has changed".to_owned(),
            false => format!("reloaded: {}", said.join("; ")),
        };
        let later = [shown(&later), if workers { "[[worker]]".to_owned() } else { String::new() }];
        let later: Vec<_> = later.into_iter().filter(|part| !part.is_empty()).collect();
        if !later.is_empty() {
            line += &format!("; needs a restart: {}", later.join(", "));
        }
        // What waits for a restart is said again with the next reload.
        new.keep(&self.config, needs_restart);
        self.config = new;
        Ok(line)
    }
}

/// `front.timeout_ms 30000 → 5000, …`
fn shown(changes: &[(&Value, &Value)]) -> String {
    let change =
        |(old, new): &(&Value, &Value)| format!("{} {} → {}", old.setting.key, old.shown(), new.shown());
    changes.iter().map(change).collect::<Vec<_>>().join(", ")
}

fn shown_routes(routes: &Reloaded) -> String {
    let kinds = [("new", &routes.added), ("gone", &routes.removed), ("changed", &routes.changed)];
    let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
    kinds.map(|(what, names)| format!("routes {what}: {}", names.join(", "))).collect::<Vec<_>>().join("; ")
}
