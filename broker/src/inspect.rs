//! What a Redis says of itself, for whoever checks it before it serves. Unlike [`crate::Broker::connect`] this takes any
//! server, so that everything that is wrong with it can be said at once. Changes nothing in it.
//!
//! It is not responsible for judging what it finds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use redis::{
    ConnectionAddr, FromRedisValue, Pipeline, Value, aio::ConnectionLike, aio::MultiplexedConnection, cmd,
    pipe,
};
use tempest_protocol::limits;

use crate::{Error, Settings, Tls, clock::millis, place::Place, rights, rights::who};

/// How often the round trip is measured.
const PINGS: usize = 100;
/// How often the clock is read; the fastest answer counts.
const READINGS: usize = 5;
/// What is asked of the server's configuration.
const OPTIONS: [&str; 10] = [
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "save",
    "client-output-buffer-limit",
    "timeout",
    "tcp-keepalive",
    "maxclients",
    "tcp-backlog",
];

/// What a Redis says of itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// How to call `redis-cli` for it, without user and password: `redis-cli -h 10.0.0.5 -p 7000`.
    pub prompt: String,
    /// Whether it is reached over the loopback or a socket of the file system.
    pub local: bool,
    /// The certificates it is reached with in TLS; none without TLS.
    pub tls: Option<Tls>,
    /// The fields of `INFO`; empty if this account may not ask.
    pub info: BTreeMap<String, String>,
    /// Options of the server, those that this account may read.
    pub options: BTreeMap<String, String>,
    /// Round trips of 100 `PING`s, one after the other, in ascending order.
    pub pings: Vec<Duration>,
    /// How many milliseconds its clock is ahead of this machine's, behind if negative, and how exact that is.
    pub clock_ahead_ms: (i64, u64),
    /// What Tempest does and this account may not.
    pub denied: Vec<Denied>,
}

/// A command that an account may not run as Tempest does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// The command, with the key or channel it was tried on.
    pub command: String,
    /// What does without it. Empty: Tempest cannot.
    pub without: &'static str,
    /// Whether a front does it; else only workers, supervisors, callers or publishers do.
    pub front: bool,
}

impl Inspection {
    /// Asks the Redis of these settings. Takes some hundred round trips, on a connection of its own.
    ///
    /// Errors: [`Error::Setup`] with one line that says what to do: it cannot be reached, or refuses this account.
    pub async fn of(settings: &Settings) -> Result<Self, Error> {
        let place = Place::of(settings)?;
        let no_redis = |error| place.no_redis(&error);
        let mut connection = place.dedicated(limits::COMMAND_ANSWER).await.map_err(no_redis)?;
        let pings = pings(&mut connection).await.map_err(no_redis)?;
        let clock_ahead_ms = clock_ahead(&mut connection).await.map_err(no_redis)?;
        let info = cmd("INFO").query_async::<String>(&mut connection).await.unwrap_or_default();
        let options = options(&mut connection).await.map_err(no_redis)?;
        let denied = denied(&mut connection, settings).await.map_err(no_redis)?;
        let (prompt, local) = reached(&place);
        let tls = place.speaks_tls().then(|| settings.tls.clone());
        Ok(Self { prompt, local, tls, info: fields(&info), options, pings, clock_ahead_ms, denied })
    }

    /// A field of `INFO` or an option as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.info.get(name).or_else(|| self.options.get(name))?.parse().ok()
    }

    /// A field of `INFO`, or else an option.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.info.get(name).or_else(|| self.options.get(name)).map(String::as_str)
    }

    /// The round trip in the middle of all that were measured.
    pub fn ping_median(&self) -> Duration {
        self.pings.get(self.pings.len() / 2).copied().unwrap_or_default()
    }
}

async fn pings(connection: &mut MultiplexedConnection) -> Result<Vec<Duration>, Error> {
    let mut pings = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let asked = Instant::now();
        cmd("PING").query_async::<Value>(connection).await?;
        pings.push(asked.elapsed());
    }
    pings.sort();
    Ok(pings)
}

/// Its answer is true for half of the round trip.
async fn clock_ahead(connection: &mut MultiplexedConnection) -> Result<(i64, u64), Error> {
    let mut best: Option<(i64, u64)> = None;
    for _ in 0..READINGS {
        let (asked, wall) = (Instant::now(), SystemTime::now());
        let (seconds, micros): (u64, u64) = cmd("TIME").query_async(connection).await?;
        let took = asked.elapsed();
        let here = (wall + took / 2).duration_since(UNIX_EPOCH).unwrap_or_default();
        let there = Duration::from_secs(seconds) + Duration::from_micros(micros);
        let ahead = i64::try_from(millis(there.saturating_sub(here))).unwrap_or(i64::MAX);
        let behind = i64::try_from(millis(here.saturating_sub(there))).unwrap_or(i64::MAX);
        let reading = (ahead - behind, millis(took / 2) + 1);
        best = best.filter(|best| best.1 <= reading.1).or(Some(reading));
    }
    Ok(best.unwrap_or_default())
}

/// One question each: servers before 7.0 know no other way.
async fn options(connection: &mut MultiplexedConnection) -> Result<BTreeMap<String, String>, Error> {
    let mut commands = pipe();
    for name in OPTIONS {
        commands.cmd("CONFIG").arg("GET").arg(name);
    }
    let answers = ask_all(connection, &commands).await?;
    let options = answers.into_iter().filter_map(|answer| BTreeMap::from_redis_value(answer.ok()?).ok());
    Ok(options.flatten().collect())
}

/// Lets Redis judge each command without running it: inside `MULTI` it is checked and queued, and then discarded. That
/// needs no more rights than the commands themselves, which `ACL DRYRUN` does.
async fn denied(connection: &mut MultiplexedConnection, settings: &Settings) -> Result<Vec<Denied>, Error> {
    let mut wanted = rights::wanted(settings);
    wanted.retain(rights::Right::fits_in_multi);
    let mut commands = pipe();
    commands.cmd("MULTI");
    wanted.iter().for_each(|right| {
        commands.add_command(right.command());
    });
    commands.cmd("DISCARD");
    let answers = ask_all(connection, &commands).await?;
    let refused = |answer: &Result<Value, Error>| matches!(answer, Err(Error::Refused { word, .. }) if word == "NOPERM");
    if answers.first().is_some_and(refused) {
        return Ok(vec![Denied { command: "MULTI".into(), without: "", front: true }]);
    }
    let judged = wanted.iter().zip(answers.iter().skip(1)).filter(|(_, answer)| refused(answer));
    Ok(judged
        .map(|(right, _)| Denied {
            command: right.text(),
            without: right.without,
            front: right.who & who::FRONT != 0,
        })
        .collect())
}

async fn ask_all(
    connection: &mut MultiplexedConnection,
    commands: &Pipeline,
) -> Result<Vec<Result<Value, Error>>, Error> {
    let answers = connection.req_packed_commands(commands, 0, commands.len()).await?;
    Ok(answers.into_iter().map(|answer| answer.extract_error().map_err(Error::from)).collect())
}

fn fields(info: &str) -> BTreeMap<String, String> {
    let fields = info.lines().filter_map(|line| line.trim_end().split_once(':'));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// How a person reaches it, and whether it is on this machine.
fn reached(place: &Place) -> (String, bool) {
    let prompt = |host: &str, port: u16, options: &str| {
        let local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let mut prompt = "redis-cli".to_owned();
        if !local {
            prompt += &format!(" -h {host}");
        }
        if port != 6_379 {
            prompt += &format!(" -p {port}");
        }
        (prompt + options, local)
    };
    match place.address() {
        ConnectionAddr::Tcp(host, port) => prompt(host, *port, ""),
        ConnectionAddr::TcpTls { host, port, .. } => prompt(host, *port, &place.tls_options()),
        ConnectionAddr::Unix(path) => (format!("redis-cli -s {}", path.display()), true),
        _ => ("redis-cli".into(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_how_to_reach_it() {
        let prompt = |url: &str| {
            let mut place = Place::of(&Settings::new(url, "")).expect("a good URL");
            place.tls.ca_file = Some("ca.pem".into());
            reached(&place)
        };
        assert_eq!(prompt("redis://127.0.0.1:6379"), ("redis-cli".into(), true));
        assert_eq!(prompt("redis://u:secret@localhost:7000/2"), ("redis-cli -p 7000".into(), true));
        assert_eq!(prompt("redis://10.0.0.5"), ("redis-cli -h 10.0.0.5".into(), false));
        assert_eq!(prompt("unix:///run/redis.sock"), ("redis-cli -s /run/redis.sock".into(), true));
        let tls = ("redis-cli -h r.test -p 6380 --tls --cacert ca.pem".into(), false);
        assert_eq!(prompt("rediss://r.test:6380"), tls);
    }

    #[test]
    fn fields_of_info_are_found_among_headings() {
        let info = fields("# Server\r\nredis_version:7.0.15\r\n\r\n# Memory\r\nmaxmemory:0\r\n");
        assert_eq!(info["redis_version"], "7.0.15");
        assert_eq!(info.len(), 2);
    }
}
