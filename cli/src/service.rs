//! What is told to the service manager that started this process (`sd_notify(3)`), if one did and wants to know.

use sd_notify::{NotifyState, notify};
use tracing::warn;

/// It serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It stops.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// It reads its configuration again; [`ready`] ends that.
pub(crate) fn reloading() {
    // systemd 253 and later compare this time with that of their signal.
    let now = NotifyState::monotonic_usec_now();
    tell(&[Some(NotifyState::Reloading), now.ok()].into_iter().flatten().collect::<Vec<_>>());
}

/// Another process is the service from now on.
pub(crate) fn is_now(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        warn!(%error, "the service manager cannot be told ($NOTIFY_SOCKET)");
    }
}
