//! What somebody must do each second for the whole cluster: find deaths, promote what is due, keep `dead` and
//! mailboxes bounded, and see who serves what. Every front and every supervisor runs one; rivals do no harm.
//!
//! Without any keeper nothing is recovered and nothing is promoted.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use redis::{InfoDict, cmd, pipe};
use tempest_protocol::{Mailbox, limits};
use tokio::sync::watch;
use tracing::info;

use crate::{Broker, Error, Patience, Presence, Recoverer, look::QueueLook, rest::Renewals};

mod promoter;
mod schedules;
mod sweep;

/// What a keeper does, and how often.
#[derive(Clone, Copy, Debug)]
pub struct KeeperOptions {
    /// Time between two looks; each is up to a fifth later.
    pub every: Duration,
    /// How long it hesitates before it declares a worker dead.
    pub patience: Patience,
    /// How long a mailbox must be without an owner before it is removed.
    pub mailbox_gone: Duration,
    /// Entries kept in `dead`.
    pub dead_jobs_max: usize,
    /// Jobs in a lane up to which schedules push into it.
    pub backlog_jobs_max: u64,
    /// Time between two sweeps for what no set names, over all keepers of the cluster.
    pub sweep_every: Duration,
    /// How long a mailbox that no set names must have been idle before a sweep removes it.
    pub mailbox_idle: Duration,
}

impl Default for KeeperOptions {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            patience: Patience::default(),
            mailbox_gone: limits::GONE,
            dead_jobs_max: limits::DEAD_JOBS_MAX,
            backlog_jobs_max: limits::BACKLOG_JOBS_MAX,
            sweep_every: Duration::from_secs(3_600),
            mailbox_idle: Duration::from_secs(3_600),
        }
    }
}

/// What is in trouble while jobs that were set aside are not returned.
const ASIDES: &str = "jobs set aside";
/// What is in trouble while nobody looks after the queues.
const PART: &str = "queues";

/// A running keeper. It runs until the broker is closed, also when this is dropped.
#[derive(Clone)]
pub struct Keeper {
    looks: watch::Receiver<u64>,
}

impl Keeper {
    /// Waits until it has looked `count` times in all. Cancel-safe.
    pub async fn looked(&mut self, count: u64) {
        if self.looks.wait_for(|looks| *looks >= count).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a broker has its keeper; all clones share it.
#[derive(Default)]
pub(crate) struct Kept {
    running: AtomicBool,
    looks: watch::Sender<u64>,
}

impl Broker {
    /// Starts this process's keeper, which outlives all troubles of Redis. All clones of a broker have one keeper:
    /// a second call gives the one that runs, whatever its options.
    pub fn keep(&self, options: KeeperOptions) -> Keeper {
        let looks = self.kept().looks.subscribe();
        if !self.kept().running.swap(true, Ordering::AcqRel) {
            self.spawn(promoter::promote(self.clone(), looks.clone()));
            self.spawn(schedules::fire(self.clone(), looks.clone(), options));
            self.spawn(Work::new(self.clone(), options).run());
        }
        Keeper { looks }
    }
}

struct Work {
    broker: Broker,
    options: KeeperOptions,
    recoverer: Recoverer,
    renewals: Renewals,
    /// Mailboxes without an owner, since the first look that found them so.
    ownerless: HashMap<Mailbox, Instant>,
    trimmed: Option<Instant>,
    /// When something last failed: leases that are missing since may be there again soon.
    troubled: Option<Instant>,
}

impl Work {
    fn new(broker: Broker, options: KeeperOptions) -> Self {
        let recoverer = Recoverer::new(broker.clone(), options.patience);
        let (renewals, ownerless) = Default::default();
        Self { broker, options, recoverer, renewals, ownerless, trimmed: None, troubled: None }
    }

    async fn run(mut self) {
        loop {
            self.broker.up().await;
            match self.tick().await {
                Ok(()) => self.broker.stats().faults.well(PART),
                Err(error) => self.fail(&error),
            }
            self.broker.kept().looks.send_modify(|looks| *looks += 1);
            // Never sooner: two looks are then apart enough to tell a death, which a third would delay past 7 s.
            tokio::time::sleep(self.options.every.mul_f64(1.0 + 0.2 * fastrand::f64())).await;
        }
    }

    /// Nothing seen before an error counts any more.
    fn fail(&mut self, error: &Error) {
        self.recoverer.forget();
        self.ownerless.clear();
        self.broker.stats().faults.failed(PART, error);
        self.troubled = Some(Instant::now());
    }

    async fn tick(&mut self) -> Result<(), Error> {
        let queues = self.broker.queues().await?;
        let looks = self.broker.look_at(&queues).await?;
        self.renewals.renew(&self.broker, &looks).await?;
        let memory_full = self.is_memory_full().await;
        // Beats were refused with what failed; until there was time for another, a missing lease means nothing.
        let renewed = self.broker.link().renewed();
        let is_settled =
            [self.troubled, renewed].iter().flatten().all(|since| since.elapsed() > limits::LEASE);
        let mut presence = Presence::of(&looks, memory_full);
        if !is_settled {
            presence.trust(&self.broker.presence());
        }
        self.broker.shown().show(presence);
        self.trim(&looks).await?;
        self.recoverer.prove_writable(&queues).await?;
        self.recoverer.take(&looks).await?;
        self.release(&looks).await;
        self.bury_mailboxes().await?;
        sweep::sweep_if_elected(&self.broker, &self.options).await
    }

    /// Not every account may ask; then Redis' own refusal is the only limit.
    async fn is_memory_full(&self) -> bool {
        let Ok(info) = self.broker.link().ask::<InfoDict>(cmd("INFO").arg("memory")).await else {
            return false;
        };
        let number = |name: &str| info.get::<u64>(name).unwrap_or_default();
        let (used, max) = (number("used_memory"), number("maxmemory"));
        max > 0 && used.saturating_mul(100) > max.saturating_mul(limits::MEMORY_PERCENT_MAX)
    }

    /// Jobs that were set aside and that nobody returns any more.
    /// What is wrong with one queue holds up nothing else.
    async fn release(&self, looks: &[QueueLook]) {
        for look in looks.iter().filter(|look| look.asides > 0) {
            match self.broker.release_forgotten(&look.queue).await {
                Ok(_) => self.broker.stats().faults.well(ASIDES),
                Err(error) => self.broker.stats().faults.failed(ASIDES, &error),
            }
        }
    }

    /// Once a minute for age, at once for number.
    async fn trim(&mut self, looks: &[QueueLook]) -> Result<(), Error> {
        let due = self.trimmed.is_none_or(|at| at.elapsed() >= Duration::from_secs(60));
        for look in looks {
            let many = usize::try_from(look.dead).is_ok_and(|dead| dead > self.options.dead_jobs_max);
            if many || (due && look.dead > 0) {
                self.broker.trim_dead(&look.queue, self.options.dead_jobs_max).await?;
            }
        }
        if due {
            self.trimmed = Some(Instant::now());
        }
        Ok(())
    }

    /// Removes mailboxes whose owner has been gone for long enough.
    async fn bury_mailboxes(&mut self) -> Result<(), Error> {
        let mailboxes = self.broker.mailboxes().await?;
        let gone = self.broker.ownerless(&mailboxes).await?;
        let now = Instant::now();
        self.ownerless.retain(|mailbox, _| gone.contains(mailbox));
        for mailbox in gone {
            let since = *self.ownerless.entry(mailbox.clone()).or_insert(now);
            if now.duration_since(since) >= self.options.mailbox_gone {
                info!(%mailbox, "removing the mailbox of a process that is gone");
                self.broker.remove_mailbox(&mailbox).await?;
                self.ownerless.remove(&mailbox);
            }
        }
        Ok(())
    }
}

impl Broker {
    /// Every mailbox that was opened. Members that are no mailbox names are left out.
    async fn mailboxes(&self) -> Result<Vec<Mailbox>, Error> {
        let names: Vec<String> = self.link().ask(cmd("SMEMBERS").arg(self.keys().mailboxes())).await?;
        Ok(names.iter().filter_map(|name| Mailbox::new(name).ok()).collect())
    }

    /// Those whose `about` is gone.
    async fn ownerless(&self, mailboxes: &[Mailbox]) -> Result<Vec<Mailbox>, Error> {
        if mailboxes.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = pipe();
        for mailbox in mailboxes {
            commands.cmd("EXISTS").arg(self.keys().about(mailbox));
        }
        let mut answers = self.link().ask_all(&commands).await?.into_iter();
        let mut gone = Vec::new();
        for mailbox in mailboxes {
            if !crate::claim::next::<bool>(&mut answers)? {
                gone.push(mailbox.clone());
            }
        }
        Ok(gone)
    }

    async fn remove_mailbox(&self, mailbox: &Mailbox) -> Result<(), Error> {
        let mut commands = pipe();
        commands.cmd("UNLINK").arg(self.keys().mailbox(mailbox));
        commands.cmd("SREM").arg(self.keys().mailboxes()).arg(mailbox.as_str());
        self.link().ask_all(&commands).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }
}
