//! One log format, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Registry, fmt, prelude::*, reload};

use crate::config::Config;

/// The log of this process.
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts the log. `quiet` is for commands whose output is the answer: there the default is warnings.
pub(crate) fn start(config: &Config, quiet: bool) -> Log {
    let (filter, format) = config.log();
    let by_default = config.value("log.filter").origin == crate::config::Origin::Default;
    let (filter, handle) = reload::Layer::new(parsed(if quiet && by_default { "warn" } else { filter }));
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second start in one process (a test) keeps the first log.
    if format == "json" {
        log.with(lines.json().flatten_event(true).with_target(true)).try_init().ok();
    } else {
        let ansi = std::io::stderr().is_terminal();
        log.with(lines.compact().with_target(false).with_ansi(ansi)).try_init().ok();
    }
    Log { filter: handle }
}

impl Log {
    /// Logs what this configuration says from now on. The format stays.
    pub(crate) fn reload(&self, config: &Config) {
        // There is no log to change if it was not the first of its process.
        self.filter.reload(parsed(config.log().0)).ok();
    }
}

/// It was checked when it was taken.
fn parsed(filter: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(filter)
}
