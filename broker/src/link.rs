//! The command connection: one multiplexed connection a process, mended for ever. Nothing blocks on it.
//!
//! A command that was under way when it broke is an [`Error::Away`]; it is never sent again here, because only its
//! sender knows whether it may run twice.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redis::{
    Cmd, FromRedisValue, Pipeline, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tempest_protocol::{RECONNECT, limits};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{Error, Faults, Settings, Stats, Trouble, clock, gather::Gather, place::Place};

/// What is in trouble while the connection is down.
const PART: &str = "commands";

/// How long a connection that Redis answers on with an order to connect anew is used at least: who refuses writes for a
/// while would be flooded with connections else.
const REPLACE: Duration = Duration::from_secs(1);

/// A connection that is up.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) since: Instant,
    generation: u64,
    /// Redis says to connect anew; it is used until another is up.
    is_stale: bool,
}

#[derive(Clone)]
pub(crate) struct Link {
    place: Arc<Place>,
    state: Arc<watch::Sender<Option<Up>>>,
    stats: Arc<Stats>,
    gather: Arc<Gather>,
}

impl Link {
    /// Connects once, checks the server, and keeps the connection from then on.
    pub(crate) async fn connect(
        settings: &Settings,
        clock: Arc<clock::Clock>,
        stats: Arc<Stats>,
        tasks: &TaskTracker,
        closing: &CancellationToken,
    ) -> Result<Self, Error> {
        let place = Arc::new(Place::of(settings)?);
        let no_redis = |error| place.no_redis(&error);
        let mut connection = place.dedicated(limits::COMMAND_ANSWER).await.map_err(no_redis)?;
        check_server(&mut connection).await?;
        loaded(&mut connection).await.map_err(no_redis)?;
        learn_time(&mut connection, &clock).await.map_err(no_redis)?;
        let up = Up { connection, since: Instant::now(), generation: 0, is_stale: false };
        let state = Arc::new(watch::Sender::new(Some(up)));
        let keep = keep(place.clone(), state.clone(), clock, stats.clone());
        let closing = closing.clone();
        let link = Self { place, state, stats, gather: Arc::default() };
        let (writer, closed) = (link.clone(), closing.clone());
        tasks.spawn(async move { writer.gather.write(&writer, &closed).await });
        tasks.spawn(async move { closing.run_until_cancelled(keep).await });
        Ok(link)
    }

    /// Commands that leave in one write with those of others.
    pub(crate) fn gather(&self) -> &Gather {
        &self.gather
    }

    /// What is wrong with Redis.
    pub(crate) fn faults(&self) -> &Faults {
        &self.stats.faults
    }

    pub(crate) fn current(&self) -> Option<Up> {
        self.state.borrow().clone()
    }

    /// Since when the connection is up, if it is not the first.
    pub(crate) fn renewed(&self) -> Option<Instant> {
        self.current().filter(|up| up.generation > 0).map(|up| up.since)
    }

    /// Waits for the connection to be up.
    pub(crate) async fn up(&self) -> Up {
        let mut watch = self.state.subscribe();
        loop {
            if let Some(up) = watch.borrow_and_update().clone() {
                return up;
            }
            if watch.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// One command. [`Error::Down`] at once while the connection is down.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let mut up = self.current().ok_or(Error::Down)?;
        self.stats.commands.one(command);
        let asked = Instant::now();
        let answer = command.query_async(&mut up.connection).await.map_err(Error::from);
        self.stats.round_trip.add(asked.elapsed());
        self.judge(&up, answer)
    }

    /// Several commands in one write whose answers say nothing.
    ///
    /// Errors: the first that one of them met.
    pub(crate) async fn do_all(&self, commands: &Pipeline) -> Result<(), Error> {
        self.ask_all(commands).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Several commands in one write, each with an answer of its own.
    pub(crate) async fn ask_all(&self, commands: &Pipeline) -> Result<Vec<Result<Value, Error>>, Error> {
        // The library calls an empty pipeline an error, which would look like a broken connection.
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let mut up = self.current().ok_or(Error::Down)?;
        let count = commands.len();
        self.stats.commands.all(commands);
        let asked = Instant::now();
        let answer = up.connection.req_packed_commands(commands, 0, count).await.map_err(Error::from);
        self.stats.round_trip.add(asked.elapsed());
        let answers = self.judge(&up, answer)?;
        answers
            .into_iter()
            .map(|answer| Ok(self.judge(&up, answer.extract_error().map_err(Error::from))))
            .collect()
    }

    /// `MULTI … EXEC` in one write.
    pub(crate) async fn transact<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        let mut up = self.current().ok_or(Error::Down)?;
        self.stats.commands.all(commands);
        let asked = Instant::now();
        let answer = commands.clone().atomic().query_async(&mut up.connection).await.map_err(Error::from);
        self.stats.round_trip.add(asked.elapsed());
        self.judge(&up, answer)
    }

    /// A connection of one's own, for what blocks. `answer` is the client-side limit: past it the connection must be
    /// dropped, never used again.
    pub(crate) async fn dedicated(&self, answer: Duration) -> Result<MultiplexedConnection, Error> {
        self.place.dedicated(answer).await
    }

    /// A connection for subscriptions.
    pub(crate) async fn pubsub(&self) -> Result<redis::aio::PubSub, Error> {
        self.place.pubsub().await
    }

    /// Marks the connection as broken, or as to be replaced, if the answer says so.
    fn judge<T>(&self, up: &Up, answer: Result<T, Error>) -> Result<T, Error> {
        let Err(error) = &answer else { return answer };
        if error.trouble() == Trouble::Reconnect {
            let is_answered = matches!(error, Error::Refused { .. });
            self.state.send_if_modified(|state| match state {
                Some(current) if current.generation != up.generation => false,
                Some(current) if is_answered => !std::mem::replace(&mut current.is_stale, true),
                Some(_) => {
                    self.stats.faults.failed(PART, error);
                    lose(state, &self.stats);
                    true
                }
                None => false,
            });
        }
        answer
    }
}

fn lose(state: &mut Option<Up>, stats: &Stats) {
    *state = None;
    stats.lost.set();
}

/// A call on a connection that has no limit of its own, such as one for subscriptions.
pub(crate) async fn within<T>(call: impl Future<Output = redis::RedisResult<T>>) -> Result<T, Error> {
    match tokio::time::timeout(limits::COMMAND_ANSWER, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Error::Away("no answer in time".into())),
    }
}

/// Refuses a Redis on which nothing would be safe.
async fn check_server(connection: &mut MultiplexedConnection) -> Result<(), Error> {
    let info: redis::InfoDict = match redis::cmd("INFO").query_async(connection).await {
        Ok(info) => info,
        Err(error) => {
            warn!(%error, "cannot ask Redis for its version and eviction policy; going on unchecked");
            return Ok(());
        }
    };
    let version: String = info.get("redis_version").unwrap_or_default();
    if version.split('.').next().and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major < 7) {
        return Err(Error::Setup(format!(
            "this is Redis {version}; Tempest needs Redis 7.0 or newer, or Valkey"
        )));
    }
    let policy: String = info.get("maxmemory_policy").unwrap_or_else(|| "noeviction".into());
    if policy != "noeviction" {
        return Err(Error::Setup(format!(
            "Redis evicts keys (maxmemory-policy {policy}), which loses jobs silently; set it: redis-cli config set maxmemory-policy noeviction"
        )));
    }
    Ok(())
}

/// Waits while Redis reads its data.
async fn loaded(connection: &mut MultiplexedConnection) -> Result<(), Error> {
    let mut said = false;
    loop {
        match redis::cmd("PING").query_async::<String>(connection).await.map_err(Error::from) {
            Ok(_) => return Ok(()),
            Err(Error::Refused { word, .. }) if word == "LOADING" => {
                if !std::mem::replace(&mut said, true) {
                    info!("waiting until Redis has read its data");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn learn_time(connection: &mut MultiplexedConnection, clock: &clock::Clock) -> Result<(), Error> {
    let asked = Instant::now();
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    clock.learn(asked, seconds, micros);
    Ok(())
}

/// Connects whenever the connection is gone; learns the time on each connection and each minute.
async fn keep(
    place: Arc<Place>,
    state: Arc<watch::Sender<Option<Up>>>,
    clock: Arc<clock::Clock>,
    stats: Arc<Stats>,
) {
    let mut watch = state.subscribe();
    let mut generation = 0;
    loop {
        let is_unfit = |state: &Option<Up>| state.as_ref().is_none_or(|up| up.is_stale);
        // In time or not, what is there is looked at.
        drop(tokio::time::timeout(clock::LEARN_EVERY, watch.wait_for(is_unfit)).await);
        let current = state.borrow().clone();
        match current {
            Some(mut up) if !up.is_stale => {
                if let Err(error) = learn_time(&mut up.connection, &clock).await {
                    debug!(%error, "cannot ask Redis for the time");
                }
            }
            Some(up) => {
                let patience = REPLACE.saturating_sub(up.since.elapsed());
                let broke = tokio::time::timeout(patience, watch.wait_for(Option::is_none)).await.is_ok();
                if broke {
                    continue;
                }
                generation += 1;
                match connect(&place, &clock, generation).await {
                    Ok(up) => replace(&state, &stats, up),
                    Err(error) => {
                        stats.faults.failed(PART, &error);
                        state.send_modify(|state| lose(state, &stats));
                    }
                }
            }
            None => {
                generation += 1;
                replace(&state, &stats, reconnect(&place, &clock, &stats, generation).await);
            }
        }
    }
}

fn replace(state: &watch::Sender<Option<Up>>, stats: &Stats, up: Up) {
    debug!("connected to Redis again");
    stats.reconnects.commands.count();
    stats.faults.well(PART);
    state.send_replace(Some(up));
}

async fn reconnect(place: &Place, clock: &clock::Clock, stats: &Stats, generation: u64) -> Up {
    for failures in 1.. {
        tokio::time::sleep(RECONNECT.bound(failures).mul_f64(fastrand::f64())).await;
        match connect(place, clock, generation).await {
            Ok(up) => return up,
            Err(error) => stats.faults.failed(PART, &error),
        }
    }
    unreachable!("the loop ends only with a connection")
}

/// A connection to a Redis that answers: `PING` is refused with `LOADING` while it reads its data.
async fn connect(place: &Place, clock: &clock::Clock, generation: u64) -> Result<Up, Error> {
    let mut connection = place.dedicated(limits::COMMAND_ANSWER).await?;
    redis::cmd("PING").query_async::<String>(&mut connection).await?;
    learn_time(&mut connection, clock).await?;
    Ok(Up { connection, since: Instant::now(), generation, is_stale: false })
}
