//! What the program is asked for.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;

/// Opens EventSource clients, publishes to them, and prints one line of JSON: what was expected, what was heard, and
/// how long it took from the time each event was due.
///
/// Exit code 1 if an event was lost, came twice or in the wrong order; 2 if the run was not possible.
#[derive(Parser)]
#[command(name = "audience")]
pub(crate) struct Args {
    /// Where events are heard: the address of a server
    #[arg(long, value_name = "ADDRESS", required_unless_present = "echo")]
    pub(crate) subscribe: Option<SocketAddr>,
    /// The path that is subscribed to
    #[arg(long, value_name = "PATH", default_value = "/sub/bench")]
    pub(crate) path: String,
    /// Where they are published: a Redis
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) redis: Option<SocketAddr>,
    /// Where they are published: the address of an HTTP server that takes POST
    #[arg(long, value_name = "ADDRESS", conflicts_with = "redis")]
    pub(crate) post: Option<SocketAddr>,
    /// The channel of Redis, or the path of POST
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub(crate) to: String,
    /// Hear a server of this program's own that writes the same bytes to everybody, so many events in one write:
    /// what the clients can read at most
    #[arg(long, value_name = "EVENTS", conflicts_with_all = ["subscribe", "redis", "post"])]
    pub(crate) echo: Option<u32>,
    /// How many clients
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) clients: u32,
    /// Threads that read
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// After reading what is there, how long a thread sleeps before it looks again, in microseconds: as a network card
    /// does, so that the server is not charged for waking a reader with each event
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 1_000)]
    pub(crate) pause: u64,
    /// Events in a second, evenly spaced
    #[arg(long, default_value_t = 10.0)]
    pub(crate) rate: f64,
    /// Instead of a rate: so many events at once, the next when everybody has heard all of them
    #[arg(long, value_name = "EVENTS", conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) burst: Option<u32>,
    /// For how long events are published, in seconds
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// How long is waited for what is still missing, in seconds without any progress
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub(crate) grace: f64,
    /// Bytes of an event's data
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=65_536))]
    pub(crate) bytes: u32,
    /// Meanwhile asks the server for this path a hundred times a second
    #[arg(long, value_name = "PATH")]
    pub(crate) ask: Option<String>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds, less than a day".into()),
    }
}

impl Args {
    pub(crate) fn publishing(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    pub(crate) fn pause(&self) -> Duration {
        Duration::from_micros(self.pause)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.grace)
    }
}
