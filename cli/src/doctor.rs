//! What is looked at before a cluster serves, and what to do about what is found. Nothing is changed by looking.
//!
//! It is not responsible for asking Redis, which the broker does, nor for printing.

mod certificates;
mod files;
mod machine;
mod ports;
mod redis;
mod workers;

use std::fmt;

use tempest_broker::{Broker, Inspection, Settings};

use crate::{config::Config, failure::Failure};

/// How good it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, until one day it does not.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What was looked at: `redis.memory`.
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    /// What there is, in one line.
    pub(crate) found: String,
    /// What to type, or to change; empty where nothing is wrong.
    pub(crate) mend: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, found: found.into(), mend: String::new() }
    }

    fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, found: found.into(), mend: mend.into() }
    }

    fn fail(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, found: found.into(), mend: mend.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, level, found, mend } = self;
        write!(f, "{:<4}  {check:<20}  {found}", level.as_str())?;
        if mend.is_empty() { Ok(()) } else { write!(f, "; {mend}") }
    }
}

/// Looks at everything that this configuration needs.
pub(crate) async fn examine(config: Result<Config, Failure>) -> Vec<Finding> {
    let config = match config {
        Ok(config) => config,
        Err(failure) => {
            return failure
                .lines()
                .map(|line| Finding::fail("config", line, "mend it, then ask again"))
                .collect();
        }
    };
    let mut findings = vec![of_config(&config)];
    let settings = config.broker(None, "tempest doctor");
    let inspection = match Inspection::of(&settings).await {
        Ok(inspection) => {
            findings.extend(redis::judge(&inspection, &settings.shown_url()));
            findings.extend(versions(settings).await);
            Some(inspection)
        }
        Err(error) => {
            findings.push(redis::unreachable(&settings, &error));
            None
        }
    };
    let front = config.front();
    let here = tokio::task::spawn_blocking(move || {
        let mut here = machine::judge(&front, inspection.as_ref());
        here.extend(ports::judge(&front));
        here.extend(certificates::judge(&front.tls));
        here
    });
    findings.extend(here.await.unwrap_or_default());
    findings
}

fn of_config(config: &Config) -> Finding {
    let file = config.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let (routes, workers) = (config.routes.len(), config.workers.len());
    Finding::ok("config", format!("{file}: {routes} routes, {workers} kinds of workers"))
}

/// A Redis on which no broker works has been told of already.
async fn versions(settings: Settings) -> Option<Finding> {
    let broker = Broker::connect(settings).await.ok()?;
    let states = broker.worker_states().await;
    broker.close().await;
    Some(workers::judge(&states.ok()?, env!("CARGO_PKG_VERSION")))
}
