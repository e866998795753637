//! What supervisors say of their children, and who reads it (SPEC "Supervisors").
//!
//! Nothing is decided by it: leases and run lists tell who lives and what is held.

use std::time::Duration;

use bytes::Bytes;
use redis::{Value as Answer, cmd, pipe};
use serde_json::Value;
use tempest_protocol::WorkerId;

use crate::{Broker, Error, clock::millis};

/// How long what a supervisor said is kept.
const KEPT: Duration = Duration::from_secs(10);
/// Names of supervisors that were silent for this long are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// A supervisor, for whoever inspects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorState {
    /// Its name, in the alphabet of worker ids.
    pub name: WorkerId,
    /// What it said. Any bytes are possible.
    pub about: Bytes,
}

impl Broker {
    /// Says something of a supervisor's children; to be repeated every few seconds. One write.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn tell_supervisor(&self, name: &WorkerId, about: &Value) -> Result<(), Error> {
        let (keys, now_ms) = (self.keys(), self.now_ms());
        let mut commands = pipe();
        commands
            .cmd("SET")
            .arg(keys.supervisor(name))
            .arg(about.to_string())
            .arg("PX")
            .arg(millis(KEPT))
            .cmd("ZADD")
            .arg(keys.supervisors())
            .arg(now_ms)
            .arg(name.as_str())
            .cmd("ZREMRANGEBYSCORE")
            .arg(keys.supervisors())
            .arg("-inf")
            .arg(now_ms.saturating_sub(millis(FORGOTTEN)));
        self.link().do_all(&commands).await
    }

    /// Takes back what a supervisor said, at its end.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn forget_supervisor(&self, name: &WorkerId) -> Result<(), Error> {
        let mut commands = pipe();
        commands.cmd("DEL").arg(self.keys().supervisor(name));
        commands.cmd("ZREM").arg(self.keys().supervisors()).arg(name.as_str());
        self.link().do_all(&commands).await
    }

    /// Every supervisor that said something in the last seconds, in order of name.
    ///
    /// Errors: Redis is away or refuses.
    pub async fn supervisors(&self) -> Result<Vec<SupervisorState>, Error> {
        let names: Vec<String> =
            self.link().ask(cmd("ZRANGE").arg(self.keys().supervisors()).arg(0).arg(-1)).await?;
        let mut names: Vec<_> = names.iter().filter_map(|name| WorkerId::new(name).ok()).collect();
        names.sort();
        let mut commands = pipe();
        names.iter().for_each(|name| {
            commands.cmd("GET").arg(self.keys().supervisor(name));
        });
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.link().ask_all(&commands).await?;
        let said = |answer: Result<Answer, Error>| {
            redis::from_redis_value::<Option<Vec<u8>>>(answer.ok()?).ok().flatten()
        };
        let states = names.into_iter().zip(answers);
        let state = |(name, answer)| Some(SupervisorState { name, about: said(answer)?.into() });
        Ok(states.filter_map(state).collect())
    }
}
