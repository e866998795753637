//! Lua that runs inside Redis (SPEC "Scripts"): `EVALSHA`, and `EVAL` where the server does not know the script yet.

use redis::{Cmd, Value};
use tempest_protocol::scripts;

use crate::{Broker, Error, claim::read};

/// A script and its hash.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

/// The keys and arguments of one run.
pub(crate) struct Run<'a> {
    pub(crate) keys: &'a [&'a str],
    pub(crate) args: &'a [&'a [u8]],
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs the script once. Gives its number.
    ///
    /// Errors: those of the script; [`Error::Away`]: it may have run.
    pub(crate) async fn run(&self, broker: &Broker, run: &Run<'_>) -> Result<i64, Error> {
        read(Ok(self.value(broker, run).await?))
    }

    /// Runs the script once. Gives whatever it gives.
    ///
    /// Errors: as for [`Script::run`].
    pub(crate) async fn value(&self, broker: &Broker, run: &Run<'_>) -> Result<Value, Error> {
        match broker.link().gather().ask(self.short(run)).await {
            Err(error) if is_unknown(&error) => broker.link().gather().ask(self.long(run)).await,
            answer => answer,
        }
    }

    /// The command that names the script.
    pub(crate) fn short(&self, run: &Run<'_>) -> Cmd {
        command("EVALSHA", &self.hash, run)
    }

    /// The command that brings it along.
    pub(crate) fn long(&self, run: &Run<'_>) -> Cmd {
        command("EVAL", self.text, run)
    }
}

fn command(verb: &str, what: &str, run: &Run<'_>) -> Cmd {
    let room = what.len() + run.args.iter().map(|arg| arg.len() + 16).sum::<usize>();
    let mut command = Cmd::with_capacity(3 + run.keys.len() + run.args.len(), room + 64 * run.keys.len());
    command.arg(verb).arg(what).arg(run.keys.len()).arg(run.keys).arg(run.args).take()
}

/// Whether Redis does not know the script by its hash.
pub(crate) fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Refused { word, .. } if word == "NOSCRIPT")
}

macro_rules! scripts {
    ($($name:ident $text:ident)*) => {
        /// The scripts of this crate.
        pub(crate) struct Scripts {
            $(pub(crate) $name: Script,)*
        }

        impl Default for Scripts {
            fn default() -> Self {
                Self { $($name: Script::new(scripts::$text),)* }
            }
        }
    };
}

scripts! {
    admit ADMIT
    begin BEGIN
    bury BURY
    complete COMPLETE
    count COUNT
    discard DISCARD
    fire FIRE
    note NOTE
    promote PROMOTE
    push PUSH
    push_unique PUSH_UNIQUE
    recover RECOVER
    release RELEASE
    revive REVIVE
    schedule SCHEDULE
    settle SETTLE
    sweep SWEEP
    take TAKE
}
