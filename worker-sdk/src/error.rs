//! Why a worker cannot run.

/// Why a worker did not start. Once it runs, trouble with Redis is waited out and handlers' failures are replies.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in how it was set up: names, environment variables. One line, all of them.
    #[error("{}", .0.join("; "))]
    Setup(Vec<String>),
    /// Redis cannot be reached or cannot serve; one line that says what to do.
    #[error(transparent)]
    Broker(#[from] tempest_broker::Error),
}
