//! Settings as options of the command line: clap's arguments are made from the table.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use crate::setting::{SETTINGS, Setting};

/// The settings that were given on the command line, of those with a bit of `USED_BY`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags<const USED_BY: u8> {
    given: Vec<(&'static Setting, String)>,
}

impl<const USED_BY: u8> Flags<USED_BY> {
    /// What was given.
    pub(crate) fn given(&self) -> &[(&'static Setting, String)] {
        &self.given
    }

    fn settings() -> impl Iterator<Item = &'static Setting> {
        SETTINGS.iter().filter(|setting| setting.used_by & USED_BY != 0)
    }
}

impl<const USED_BY: u8> Args for Flags<USED_BY> {
    fn augment_args(command: Command) -> Command {
        Self::settings().fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Not required and not checked here: all mistakes are said at once, wherever they were made.
fn argument(setting: &Setting) -> Arg {
    let default = if setting.default.is_empty() { "none" } else { setting.default };
    Arg::new(setting.key)
        .long(setting.flag)
        .value_name(setting.value_name())
        .allow_hyphen_values(true)
        .overrides_with(setting.key)
        .help_heading("Settings")
        .help(format!(
            "{} [{}, key {}, default: {default}]",
            setting.doc.trim_end_matches('.'),
            setting.variable,
            setting.key,
        ))
}

impl<const USED_BY: u8> FromArgMatches for Flags<USED_BY> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |setting: &'static Setting| {
            matches.get_one::<String>(setting.key).map(|value| (setting, value.clone()))
        };
        Ok(Self { given: Self::settings().filter_map(given).collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
