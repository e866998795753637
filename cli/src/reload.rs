//! A changed configuration for what runs: all that can be put in force, or nothing; and one line that says what.

use tempest_broker::{AppliedSchedules, Broker};
use tempest_front::{Handle, Reloaded};
use tempest_supervisor::{Applied, Orders};
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
    pub(crate) broker: Broker,
    pub(crate) log: &'a Log,
    /// The workers of the file, if this process runs them.
    pub(crate) workers: Option<Orders>,
}

impl Reloader<'_> {
    /// Reloads, and says how it went. A configuration with a mistake changes nothing. Gives what became of the workers.
    ///
    /// Errors: those that were said.
    pub(crate) async fn reload(&mut self) -> Result<Applied, Failure> {
        service::reloading();
        let reloaded = self.try_reload().await;
        if let Err(failure) = &reloaded {
            failure.lines().for_each(|line| error!("{line}"));
            error!("nothing was reloaded; what was in force still is");
        }
        service::ready();
        reloaded
    }

    async fn try_reload(&mut self) -> Result<Applied, Failure> {
        let mut new = (self.load)()?;
        let routes = self.front.reload(new.front())?;
        self.log.reload(&new);
        let applied = self.apply(&new).await;
        let schedules = self.apply_schedules(&new).await.unwrap_or_else(|error| {
            error!("schedules are not changed: {error}; reload again when Redis serves");
            // What is to be removed is known by what is in force.
            new.schedules.clone_from(&self.config.schedules);
            AppliedSchedules::default()
        });
        let (later, now): (Vec<_>, Vec<_>) =
            self.config.changes(&new).into_iter().partition(|(old, _)| needs_restart(old.setting.key));
        let mut said =
            vec![shown(&now), shown_routes(&routes), shown_workers(&applied), shown_schedules(&schedules)];
        said.retain(|part| !part.is_empty());
        let mut line = match said.is_empty() {
            true => "reloaded: nothing has changed".to_owned(),
            false => format!("reloaded: {}", said.join("; ")),
        };
        if !later.is_empty() {
            line += &format!("; needs a restart: {}", shown(&later));
        }
        info!("{line}");
        // What waits for a restart is said again with the next reload.
        new.keep(&self.config, needs_restart);
        self.config = new;
        Ok(applied)
    }

    /// Writes the schedules of this configuration.
    async fn apply_schedules(&self, new: &Config) -> Result<AppliedSchedules, tempest_broker::Error> {
        let had_some = !self.config.schedules.is_empty();
        if new.schedules.is_empty() && !had_some {
            return Ok(AppliedSchedules::default());
        }
        self.broker.apply_schedules(&new.schedules, had_some).await
    }

    /// Has the supervisor run the workers of this configuration.
    async fn apply(&self, new: &Config) -> Applied {
        match &self.workers {
            // A supervisor that stops has nothing to apply any more.
            Some(orders) if self.config.workers != new.workers => {
                orders.apply(new.workers.clone()).await.unwrap_or_default()
            }
            _ => Applied::default(),
        }
    }
}

/// Writes the schedules of a configuration, at the start of a front.
///
/// Errors: Redis is away or refuses.
pub(crate) async fn write_schedules(config: &Config, broker: &Broker) -> Result<(), Failure> {
    if config.file.is_none() {
        return Ok(());
    }
    let applied = broker.apply_schedules(&config.schedules, false).await?;
    let said = shown_schedules(&applied);
    if !said.is_empty() {
        info!("{said}");
    }
    if !applied.left.is_empty() {
        let left = applied.left.join(", ");
        info!(
            "schedules of another tempest.toml: {left}; those that should fire no more: tempest schedules remove"
        );
    }
    Ok(())
}

/// `front.timeout_ms 30000 → 5000, …`
fn shown(changes: &[(&Value, &Value)]) -> String {
    let change =
        |(old, new): &(&Value, &Value)| format!("{} {} → {}", old.setting.key, old.shown(), new.shown());
    changes.iter().map(change).collect::<Vec<_>>().join(", ")
}

fn shown_routes(routes: &Reloaded) -> String {
    shown_names("routes", &[("new", &routes.added), ("gone", &routes.removed), ("changed", &routes.changed)])
}

fn shown_workers(workers: &Applied) -> String {
    let Applied { added, removed, changed, scaled } = workers;
    shown_names("workers", &[("new", added), ("gone", removed), ("changed", changed), ("scaled", scaled)])
}

fn shown_schedules(schedules: &AppliedSchedules) -> String {
    let AppliedSchedules { added, removed, changed, left: _ } = schedules;
    shown_names("schedules", &[("new", added), ("gone", removed), ("changed", changed)])
}

/// `routes new: /mail, /news; routes gone: /old`
fn shown_names(what: &str, kinds: &[(&str, &Vec<String>)]) -> String {
    let kinds = kinds.iter().filter(|(_, names)| !names.is_empty());
    kinds.map(|(kind, names)| format!("{what} {kind}: {}", names.join(", "))).collect::<Vec<_>>().join("; ")
}
