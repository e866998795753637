//! The front: it holds the connections, pushes jobs, waits for replies, and fans events out to EventSource clients.
//!
//! It is not responsible for running workers or Redis. [`Front`] is the whole server with a routing table;
//! [`Cluster`] gives its parts as tower services, to be put into an axum application of one's own.

mod access_log;
mod admin;
#[doc(hidden)]
pub mod bench;
mod body;
mod caller;
mod cluster;
mod config;
mod exchange;
mod files;
mod framing;
mod limits;
mod load;
mod metrics;
mod parts;
mod policy;
mod push;
mod recent;
mod refusal;
mod router;
mod seen;
mod server;
mod service;
mod status;
mod stream;
mod sub;
mod trace;
mod translate;
mod wheel;
mod work;

pub use caller::Proxies;
pub use cluster::Cluster;
pub use config::{
    AccessLog, AdminConfig, Certificate, Cors, FrontConfig, HttpConfig, Rate, Route, ServerTiming, TlsConfig,
    Token,
};
pub use push::Push;
pub use refusal::Refusal;
pub use server::{BACKLOG, Front, Handle, Inherited, Reloaded, Report, Spoken, Validity};
pub use status::Status;
pub use sub::Sub;
pub use work::Work;

/// Why a front does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another front running there? Name another address with --listen"
    )]
    Bind {
        /// As it was given.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A socket that was given to the front cannot be listened on.
    #[error("a socket this front was given cannot be listened on: {0}; LISTEN_FDS must be TCP sockets")]
    Inherited(std::io::Error),
    /// The routing table has mistakes, one line each.
    #[error("{}", .0.join("\n"))]
    Routes(Vec<String>),
    /// Certificates that cannot be used, one line each.
    #[error("{}", .0.join("\n"))]
    Certificates(Vec<String>),
    /// Redis is away or refuses.
    #[error(transparent)]
    Bus(#[from] tempest_broker::Error),
}
