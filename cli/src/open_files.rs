//! A front needs a file descriptor a connection: the soft limit is raised to the hard one, which only an operator
//! can change.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::debug;

/// Raises the limit of open files as far as this process may.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        debug!(%error, ?current, "the limit of open files stays as it is");
    }
}
