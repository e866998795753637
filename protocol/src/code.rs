//! Code words: the same in Rust, on the wire, in every client and in `docs/errors.md` (SPEC "Codes").

use std::{borrow::Cow, fmt, str::FromStr};

macro_rules! codes {
    ($($name:ident $word:literal $http:literal $doc:literal;)*) => {
        /// A machine-readable error word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $doc] $name,)* }

        impl Code {
            /// Every code, in the order of the SPEC's table.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The word as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$name => $word,)* }
            }

            /// The HTTP status the front answers with.
            pub const fn http_status(self) -> u16 {
                match self { $(Code::$name => $http,)* }
            }

            /// One fixed sentence for a client. It never carries internal text.
            pub const fn sentence(self) -> &'static str {
                match self { $(Code::$name => $doc,)* }
            }
        }
    };
}

codes! {
    BadJson "bad_json" 500 "The frame is not strict UTF-8 JSON.";
    BadMsgpack "bad_msgpack" 500 "The frame is not valid MessagePack.";
    BadFrame "bad_frame" 500 "The first byte tells neither a JSON map nor a MessagePack map.";
    TooDeep "too_deep" 500 "The frame is nested too deeply.";
    BadJob "bad_job" 500 "A field of the job's envelope is missing or wrong.";
    BadReply "bad_reply" 502 "The worker's reply cannot be used.";
    BadBody "bad_body" 500 "The body is given twice, or is not proper base64.";
    BadHttp "bad_http" 400 "The request is not understood.";
    BadName "bad_name" 500 "A name has characters or a length that is not allowed.";
    NoHandler "no_handler" 501 "The worker knows no handler for this action.";
    WorkerLost "worker_lost" 502 "The worker died while it worked on this request.";
    Timeout "timeout" 504 "No answer came before the deadline.";
    Expired "expired" 500 "The deadline had passed before a worker took the job.";
    HandlerError "handler_error" 500 "The handler failed.";
    Cancelled "cancelled" 500 "The job was cancelled.";
    TooLarge "too_large" 413 "The request is larger than is allowed here.";
    QueueFull "queue_full" 503 "The queue is full; try again later.";
    NoWorker "no_worker" 503 "No worker takes this request; try again later.";
    NotFound "not_found" 404 "There is nothing at this address.";
    NotUnique "not_unique" 409 "Another job holds this key.";
    MethodNotAllowed "method_not_allowed" 405 "This address does not take this method.";
    SlowRequest "slow_request" 408 "The request did not arrive in time.";
    LengthRequired "length_required" 411 "The request must say how long its body is.";
    TargetTooLong "target_too_long" 414 "The address is too long.";
    RateLimited "rate_limited" 429 "Too many requests; try again later.";
    HeadersTooLarge "headers_too_large" 431 "The header of the request is too large.";
    NotImplemented "not_implemented" 501 "The request uses something that is not supported here.";
    LimitReached "limit_reached" 503 "Too many connections are open; try again later.";
    RedisAway "redis_away" 503 "The service is not ready; try again later.";
    Internal "internal" 500 "Something went wrong.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = Error;

    /// Reads a code word; an unknown one is `bad_name`.
    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == word)
            .ok_or_else(|| Error::new(Code::BadName, format!("unknown code {word:?}")))
    }
}

/// What was wrong with a frame or a name: a code for machines and a detail for the log, never for an HTTP client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Error {
    code: Code,
    detail: Cow<'static, str>,
}

impl Error {
    /// Makes an error of a code and a detail for the log.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The machine-readable word.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What exactly was wrong, for the log.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}
