//! How a command ends when it does not succeed: lines for a person, and an exit code.

use std::{io::Write, process::ExitCode};

/// Why a command failed, in lines that say what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    lines: Vec<String>,
    code: u8,
}

impl Failure {
    /// Something went wrong: exit code 1.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], code: 1 }
    }

    /// The command was called wrongly, or its configuration is wrong: exit code 2.
    pub(crate) fn usage(lines: impl Into<Vec<String>>) -> Self {
        Self { lines: lines.into(), code: 2 }
    }

    /// A second signal: exit code 130, as of a program that Ctrl-C ends.
    pub(crate) fn interrupted() -> Self {
        Self {
            lines: vec!["a second signal: ended at once, whatever was in flight is lost".into()],
            code: 130,
        }
    }

    /// Why, one line each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flat_map(|line| line.lines())
    }

    /// Says why, one line each.
    pub(crate) fn report(&self) -> ExitCode {
        for line in self.lines() {
            // Nobody may be left to read it.
            writeln!(std::io::stderr(), "tempest: {line}").ok();
        }
        ExitCode::from(self.code)
    }
}

impl From<tempest_broker::Error> for Failure {
    fn from(error: tempest_broker::Error) -> Self {
        use tempest_broker::Error::Refused;
        let may_not = matches!(&error, Refused { word, .. } if word == "NOPERM");
        let hint = if may_not { "; for the account that may see `tempest acl --help`" } else { "" };
        Self::new(format!("{error}{hint}"))
    }
}

impl From<tempest_front::Error> for Failure {
    fn from(error: tempest_front::Error) -> Self {
        match error {
            tempest_front::Error::Routes(lines) => Self::usage(lines),
            other => Self::new(other.to_string()),
        }
    }
}
