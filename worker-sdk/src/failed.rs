//! How a handler fails.

use tempest_protocol::{Code, Failure};

/// Why a handler failed, as the caller is told. Any error does as well: it becomes a `handler_error` with its text.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failed {
    code: String,
    message: String,
}

impl Failed {
    /// A failure with a code word (one of [`Code`] or the application's own) and one line for callers and logs. HTTP
    /// clients see neither: they get a fixed text.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    pub(crate) fn coded(code: Code, message: impl Into<String>) -> Self {
        Self::new(code.as_str(), message)
    }

    /// A `Failed` as it is; any other error as `handler_error`.
    pub(crate) fn of(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<Self>() {
            Ok(failed) => *failed,
            Err(error) => Self::coded(Code::HandlerError, error.to_string()),
        }
    }

    /// Whether it fails the same way however often it is tried.
    pub(crate) fn is_final(&self) -> bool {
        let Ok(code) = self.code.parse() else { return false };
        let is_bad = matches!(code, Code::BadJob | Code::BadHttp | Code::BadBody | Code::BadReply);
        is_bad || matches!(code, Code::NoHandler | Code::TooLarge | Code::Expired)
    }

    /// The code word.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The line for callers and logs.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<Failed> for Failure {
    fn from(failed: Failed) -> Self {
        Self { code: failed.code, message: failed.message }
    }
}

impl From<tempest_protocol::Error> for Failed {
    fn from(error: tempest_protocol::Error) -> Self {
        Self::coded(error.code(), error.detail())
    }
}
