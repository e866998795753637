//! The usual reason to end.

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT (Ctrl-C).
///
/// If a signal cannot be listened to it is left to its default effect: it ends the process at once.
pub async fn shutdown_signal() {
    let wait = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => signal.recv().await,
            Err(error) => {
                tracing::warn!(%error, "a signal cannot be listened to");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        _ = wait(SignalKind::terminate()) => {}
        _ = wait(SignalKind::interrupt()) => {}
    }
}
