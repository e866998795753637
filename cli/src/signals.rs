//! The first signal stops in order, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// What `SIGINT`, `SIGTERM` and `SIGHUP` have said so far.
#[derive(Clone)]
pub(crate) struct Signals {
    /// Raised by the first.
    pub(crate) stop: CancellationToken,
    /// Raised by the second.
    pub(crate) now: CancellationToken,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let mut heard = Vec::new();
        for kind in kinds {
            heard.push(
                signal(kind).map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?,
            );
        }
        let signals = Self { stop: CancellationToken::new(), now: CancellationToken::new() };
        for signal in heard {
            tokio::spawn(listen(signal, signals.clone()));
        }
        Ok(signals)
    }

    /// Runs something until it ends by itself or the second signal comes.
    pub(crate) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            result = work => result,
            () = self.now.cancelled() => Err(Failure::interrupted()),
        }
    }
}

async fn listen(mut signal: Signal, signals: Signals) {
    while signal.recv().await.is_some() {
        if signals.stop.is_cancelled() {
            signals.now.cancel();
        }
        signals.stop.cancel();
    }
}
