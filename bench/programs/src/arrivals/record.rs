//! How a request ended.

use std::fmt;

/// One request. As a line: when it was due, sent and answered, in microseconds since the beginning; the status; the code
/// of a refusal or what went wrong, `-` for neither.
pub(crate) struct Record {
    pub(crate) due_us: u128,
    pub(crate) sent_us: u128,
    pub(crate) ended_us: u128,
    pub(crate) answer: Answer,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0: no answer.
    pub(crate) status: u16,
    /// The code word in the body of a refusal; `unreached`, `cut` or `hung` where there is no answer.
    pub(crate) code: String,
}

impl Answer {
    /// No answer at all.
    pub(crate) fn none(why: &str) -> Self {
        Self { status: 0, code: why.to_owned() }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due_us, sent_us, ended_us, answer } = self;
        let code = if answer.code.is_empty() { "-" } else { &answer.code };
        write!(formatter, "{due_us} {sent_us} {ended_us} {} {code}", answer.status)
    }
}
