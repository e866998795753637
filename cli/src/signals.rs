//! What a running process is told by signals: `SIGINT` and `SIGTERM` stop it in order, a second one ends it at once,
//! `SIGHUP` reloads its configuration, `SIGUSR2` starts what takes its place.

use std::{
    io::{IsTerminal, stdin},
    sync::Arc,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// What signals have said so far. Clones hear the same.
#[derive(Clone)]
pub(crate) struct Signals {
    /// Raised by the first that stops.
    pub(crate) stop: CancellationToken,
    /// Raised by the second.
    now: CancellationToken,
    /// Several that come before one is heard count once.
    reload: Arc<Notify>,
    replace: Arc<Notify>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Stop,
    Reload,
    Replace,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let signals = Self {
            stop: CancellationToken::new(),
            now: CancellationToken::new(),
            reload: Arc::default(),
            replace: Arc::default(),
        };
        signals.on(SignalKind::interrupt(), Self::stop)?;
        signals.on(SignalKind::terminate(), Self::stop)?;
        signals.on(SignalKind::user_defined2(), |told| told.replace.notify_one())?;
        let at_terminal = stdin().is_terminal();
        signals.on(SignalKind::hangup(), move |told| {
            // A terminal that was closed says it in this way too, and nobody is left there to stop anything.
            if at_terminal && !stdin().is_terminal() { told.stop() } else { told.reload.notify_one() }
        })
    }

    fn on(&self, kind: SignalKind, act: impl Fn(&Self) + Send + 'static) -> Result<Self, Failure> {
        let cannot = |error| Failure::new(format!("cannot listen to signals: {error}"));
        let mut heard: Signal = signal(kind).map_err(cannot)?;
        let told = self.clone();
        tokio::spawn(async move {
            while heard.recv().await.is_some() {
                act(&told);
            }
        });
        Ok(self.clone())
    }

    fn stop(&self) {
        if self.stop.is_cancelled() {
            self.now.cancel();
        }
        self.stop.cancel();
    }

    /// Waits for the next order. To stop comes before all others. Cancel-safe.
    pub(crate) async fn told(&self) -> Told {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Told::Stop,
            () = self.reload.notified() => Told::Reload,
            () = self.replace.notified() => Told::Replace,
        }
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
