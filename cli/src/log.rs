//! One log format, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// Starts the log. `quiet` is for commands whose output is the answer: there the default is warnings.
pub(crate) fn start(config: &Config, quiet: bool) {
    let (filter, format) = config.log();
    let by_default = config.value("log.filter").origin == crate::config::Origin::Default;
    let filter = if quiet && by_default { "warn" } else { filter };
    // The filter was checked when it was taken.
    let filter = EnvFilter::builder().parse_lossy(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start in one process (a test) keeps the first log.
    if format == "json" {
        log.json().flatten_event(true).with_target(true).try_init().ok();
    } else {
        log.compact().with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init().ok();
    }
}
