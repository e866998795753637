//! What can go wrong on the bus, and what to do about it (SPEC "Errors of Redis").

use std::time::Duration;

use redis::{ErrorKind, RedisError};
use tempest_protocol::{Code, JobId, RECONNECT};

use crate::place;

/// How long the wait is after an error that only an operator can mend.
const OPERATOR: Duration = Duration::from_secs(5);

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A frame or a name is wrong.
    #[error(transparent)]
    Wire(#[from] tempest_protocol::Error),
    /// The connection is down; nothing was sent.
    #[error("Redis is away")]
    Down,
    /// No answer: the connection while the answer was due. Whether Redis did it is unknown.
    #[error("Redis is away: {0}")]
    Away(String),
    /// No connection, because of certificates; one line that says what to do.
    #[error("TLS with Redis fails: {0}")]
    Tls(String),
    /// Redis answered with an error.
    #[error("Redis refuses: {word} {detail}")]
    Refused {
        /// Its first word: `OOM`, `NOPERM`, …
        word: String,
        /// The rest.
        detail: String,
    },
    /// The lane holds as much as it may; the job was not pushed, or was taken back.
    #[error("queue {queue} is full")]
    QueueFull {
        /// The queue.
        queue: String,
    },
    /// Another job holds the unique key; the job was not pushed.
    #[error("job {holder} holds the unique key")]
    NotUnique {
        /// The job that does.
        holder: JobId,
    },
    /// This Redis cannot serve, or cannot be reached at the start; one line that says what to do.
    #[error("{0}")]
    Setup(String),
}

/// What to do after an error (SPEC "Errors of Redis").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Connect anew, beat, look, go on.
    Reconnect,
    /// Wait 0.1 to 1 s and try again on the same connection.
    BackOff,
    /// Say it once and wait 5 s: somebody must change something.
    Operator,
    /// Trying again does not help.
    Final,
}

impl Trouble {
    /// How long to wait before the next try, after so many failures in a row.
    pub fn pause(self, failures: u32) -> Duration {
        match self {
            Self::Reconnect => RECONNECT.bound(failures).mul_f64(fastrand::f64()),
            Self::BackOff | Self::Final => Duration::from_millis(fastrand::u64(100..1_000)),
            Self::Operator => OPERATOR,
        }
    }
}

impl Error {
    /// The code word.
    pub fn code(&self) -> Code {
        match self {
            Self::Wire(error) => error.code(),
            Self::Down | Self::Away(_) | Self::Tls(_) | Self::Refused { .. } | Self::Setup(_) => {
                Code::RedisAway
            }
            Self::QueueFull { .. } => Code::QueueFull,
            Self::NotUnique { .. } => Code::NotUnique,
        }
    }

    /// What to do about it.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Down | Self::Away(_) | Self::Tls(_) => Trouble::Reconnect,
            Self::Refused { word, .. } => match word.as_str() {
                "UNBLOCKED" | "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "MOVED" | "ASK"
                | "TRYAGAIN" => Trouble::Reconnect,
                "OOM" | "MISCONF" | "BUSY" => Trouble::BackOff,
                "NOAUTH" | "WRONGPASS" | "NOPERM" | "WRONGTYPE" => Trouble::Operator,
                _ => Trouble::Final,
            },
            Self::Wire(_) | Self::QueueFull { .. } | Self::NotUnique { .. } | Self::Setup(_) => {
                Trouble::Final
            }
        }
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        if error.kind() == ErrorKind::AuthenticationFailed {
            // The client library keeps its own words for this one.
            return Self::Refused { word: "WRONGPASS".into(), detail: "user and password do not fit".into() };
        }
        if let Some(found) = place::certificate_trouble(&error) {
            return Self::Tls(found);
        }
        // Of several commands in one write, or of a transaction that was given up for them, the first one refused counts.
        let refused = error.clone().into_server_errors();
        match refused.as_deref().and_then(|refused| refused.first()) {
            Some((_, refused)) => Self::Refused {
                word: refused.code().to_owned(),
                detail: refused.details().unwrap_or_default().to_owned(),
            },
            // An answer that was cut off is told in several lines; a log has one for each event.
            None => Self::Away(error.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_cut_off_is_told_in_one_line() {
        let detail = "Unexpected end of input\nUnexpected `123`\n".to_owned();
        let error = Error::from(RedisError::from((ErrorKind::Parse, "Parse error at 0", detail)));
        assert!(matches!(error, Error::Away(_)), "{error:?}");
        assert!(error.to_string().contains("end of input; Unexpected `123`"), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}
