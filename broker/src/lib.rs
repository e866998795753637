//! The only crate that speaks Redis: push, claim, ack, reply, publish, subscribe, leases, recovery.
//!
//! It is not responsible for HTTP, handlers, or processes. Every operation is one or two writes that a person could
//! type into `redis-cli`; `protocol/SPEC.md` says which. Connections come back by themselves for ever, and what was
//! in flight when one broke is reported as [`Error::Away`], never repeated silently.

pub mod acl;
mod backlog;
mod cancelled;
mod claim;
mod clock;
mod control;
mod discard;
mod end;
mod error;
mod fault;
mod gather;
mod governed;
mod group;
mod inspect;
mod keeper;
mod later;
mod lease;
mod limits;
mod lineup;
mod link;
mod look;
mod mailbox;
mod place;
mod presence;
mod purge;
mod queue;
mod rarely;
mod recent;
mod record;
mod recovery;
mod rest;
mod rights;
mod schedule;
mod script;
mod settings;
mod settle;
mod shelf;
mod sighting;
mod stats;
mod supervision;
mod topic;
mod whereabouts;

use std::sync::Arc;

use tempest_protocol::Keys;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use backlog::{NewJob, Pushed, PushedUnique};
pub use claim::{ClaimId, ClaimLink, Lookout, Odd, RunList};
pub use control::{Control, Controls};
pub use end::{End, Traces};
pub use error::{Error, Trouble};
pub use fault::Faults;
pub use gather::Pushing;
pub use governed::{Admitted, Took};
pub use inspect::{Denied, Inspection};
pub use keeper::{Keeper, KeeperOptions};
pub use lease::{Beats, Lease, Registered};
pub use limits::{LimitChange, QueueLimits};
pub use lineup::{InHand, InLine};
pub use look::Load;
#[doc(hidden)]
pub use mailbox::Dispatch;
pub use mailbox::{Inbox, Waiter};
pub use presence::{Presence, Prospect, QueueState, WorkerState};
pub use purge::{Purge, Purged};
pub use queue::Caps;
pub use rarely::Rarely;
pub use recent::Recent;
pub use record::{Awaited, Record, State};
pub use recovery::{Mode, Patience, Recovered, Recoverer, has_tag};
pub use rest::Rest;
pub use schedule::{
    AppliedSchedules, Definition, LastFiring, Missed, Mistake, NamedSchedule, PutSchedule, Schedule,
    ScheduleState,
};
pub use settings::{Settings, Tls};
pub use settle::{Acked, Settled};
pub use shelf::{Changed, Filter, Shelf, Shelved};
pub use sighting::Sighting;
pub use stats::{Commands, Counter, Deaths, Durations, Measured, Reconnects, RecoveredJobs, Stamp, Stats};
pub use supervision::SupervisorState;
pub use topic::{Live, Outlet, Subscription, Topics};
pub use whereabouts::Whereabouts;

use clock::Clock;
use link::Link;

/// A process's view of the bus. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    keys: Keys,
    link: Link,
    clock: Arc<Clock>,
    tasks: TaskTracker,
    closing: CancellationToken,
    scripts: script::Scripts,
    shown: presence::Shown,
    kept: keeper::Kept,
    cancelled: cancelled::Cancelled,
    sheltered: rest::Sheltered,
    stats: Arc<Stats>,
}

impl Broker {
    /// Connects once and checks that this Redis can serve: version 7 or newer, `noeviction`. Later losses of the
    /// connection are mended in the background for ever.
    ///
    /// Errors: [`Error::Setup`] with one line that says what to do.
    pub async fn connect(settings: Settings) -> Result<Self, Error> {
        let keys = Keys::new(settings.prefix.clone());
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let clock = Arc::new(Clock::default());
        let stats = Arc::<Stats>::default();
        let link = Link::connect(&settings, clock.clone(), stats.clone(), &tasks, &closing).await?;
        let (scripts, shown, kept, cancelled, sheltered) = Default::default();
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                keys,
                link,
                clock,
                tasks,
                closing,
                scripts,
                shown,
                kept,
                cancelled,
                sheltered,
                stats,
            }),
        })
    }

    /// The keys of this cluster.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    /// How this broker was set up.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Milliseconds in Redis time.
    pub fn now_ms(&self) -> u64 {
        self.inner.clock.now_ms()
    }

    /// Whether the command connection is up, and since when.
    pub fn up_since(&self) -> Option<std::time::Instant> {
        self.link().current().map(|up| up.since)
    }

    /// What this process did on the bus so far.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// Waits until the command connection is up. Cancel-safe.
    pub async fn up(&self) {
        self.link().up().await;
    }

    /// Ends all background tasks of this process's broker and waits for them. What they hold in Redis expires by
    /// itself; close inboxes and leases first for a clean leave.
    pub async fn close(&self) {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    pub(crate) fn scripts(&self) -> &script::Scripts {
        &self.inner.scripts
    }

    pub(crate) fn shown(&self) -> &presence::Shown {
        &self.inner.shown
    }

    pub(crate) fn cancelled(&self) -> &cancelled::Cancelled {
        &self.inner.cancelled
    }

    pub(crate) fn sheltered(&self) -> &rest::Sheltered {
        &self.inner.sheltered
    }

    pub(crate) fn kept(&self) -> &keeper::Kept {
        &self.inner.kept
    }

    /// Runs a task until it ends or the broker is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.inner.closing.clone();
        self.inner.tasks.spawn(async move { closing.run_until_cancelled(task).await });
    }
}
