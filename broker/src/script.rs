//! Lua that runs inside Redis: `EVALSHA`, and `EVAL` where the server does not know the script yet.

use redis::{Cmd, Value, cmd, pipe};

use crate::{Broker, Error};

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
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs the script once. Gives its number.
    ///
    /// Errors: those of the script; [`Error::Away`]: it may have run.
    pub(crate) async fn run(&self, broker: &Broker, run: &Run<'_>) -> Result<i64, Error> {
        match self.ask(broker, "EVALSHA", &self.hash, run).await {
            Err(Error::Refused { word, .. }) if word == "NOSCRIPT" => {
                self.ask(broker, "EVAL", self.text, run).await
            }
            answer => answer,
        }
    }

    async fn ask(&self, broker: &Broker, verb: &str, what: &str, run: &Run<'_>) -> Result<i64, Error> {
        let mut command: Cmd = cmd(verb);
        command.arg(what).arg(run.keys.len()).arg(run.keys).arg(run.args);
        let mut commands = pipe();
        commands.add_command(command);
        let mut answers = broker.link().ask_all(&commands).await?;
        match answers.pop() {
            Some(Ok(Value::Int(number))) => Ok(number),
            Some(Err(error)) => Err(error),
            other => Err(Error::Away(format!("a script answered {other:?}"))),
        }
    }
}

/// The scripts of this crate.
pub(crate) struct Scripts {
    pub(crate) recover: Script,
    pub(crate) promote: Script,
    pub(crate) bury: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            recover: Script::new(scripts::RECOVER),
            promote: Script::new(scripts::PROMOTE),
            bury: Script::new(scripts::BURY),
        }
    }
}
