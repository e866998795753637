//! What a route can say whose requests become background jobs, and one that shows what became of them.

use std::time::Duration;

use tempest_protocol::{JobId, Queue, limits};

use super::{FrontConfig, Route, Work};

/// How long the result of a job is kept.
const KEEP: Duration = Duration::from_secs(3600);
/// How long an `Idempotency-Key` is held.
const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);
/// Bytes that may wait in a lane.
const BACKLOG_BYTES_MAX: u64 = 1 << 30;
/// Starts that a route may give a job.
const ATTEMPTS_MAX: u64 = 1_000;

/// How requests become background jobs.
#[derive(Clone, Debug)]
pub(crate) struct Background {
    pub(crate) work: Work,
    pub(crate) keep: Duration,
    /// None: as many as the SPEC says.
    pub(crate) attempts: Option<u64>,
    pub(crate) delay: Option<Duration>,
    /// None: it never expires.
    pub(crate) ttl: Option<Duration>,
    pub(crate) credentials: bool,
    pub(crate) idempotency: Duration,
    pub(crate) backlog_bytes_max: u64,
    /// Where its client looks, with `{id}` for the job's; none: nowhere.
    pub(crate) status: Option<String>,
}

impl Background {
    /// Where the client of a job looks.
    pub(crate) fn status_of(&self, id: &JobId) -> Option<String> {
        Some(self.status.as_ref()?.replace("{id}", id.as_str()))
    }
}

/// What a route needs `background` for.
type Needs<'a> = (&'a str, bool);

impl Route {
    /// Checks what it says of background jobs.
    ///
    /// Errors: every mistake, one line each.
    pub(super) fn check_background(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let given = |options: &[Needs<'_>]| {
            options.iter().find(|(_, given)| *given).map(|(name, _)| (*name).to_owned())
        };
        if self.background && (self.queue.is_none() || self.jobs) {
            wrong.push("background needs a queue".to_owned());
        }
        if let Some(name) = given(&self.only_background()).filter(|_| !self.background) {
            wrong.push(format!("{name} is for routes with background = true"));
        }
        if let Some(name) = given(&self.only_awaited()).filter(|_| self.background) {
            wrong.push(format!("{name} is for routes that wait for a reply"));
        }
        wrong.extend(self.check_times());
        wrong.extend(self.check_status());
        wrong.into_iter().map(|line| format!("route {:?}: {line}", self.path)).collect()
    }

    fn only_background(&self) -> [Needs<'_>; 8] {
        [
            ("keep_ms", self.keep_ms.is_some()),
            ("attempts", self.attempts.is_some()),
            ("delay_ms", self.delay_ms.is_some()),
            ("ttl_ms", self.ttl_ms.is_some()),
            ("status_path", self.status_path.is_some()),
            ("credentials", self.credentials),
            ("idempotency_ms", self.idempotency_ms.is_some()),
            ("backlog_bytes_max", self.backlog_bytes_max.is_some()),
        ]
    }

    fn only_awaited(&self) -> [Needs<'_>; 3] {
        [
            ("coalesce", self.coalesce),
            ("no_worker_wait_ms", self.no_worker_wait_ms.is_some()),
            ("kill_after_ms", self.kill_after_ms.is_some()),
        ]
    }

    fn check_times(&self) -> Vec<String> {
        let most = u64::try_from(limits::KEEP_MAX.as_millis()).unwrap_or(u64::MAX);
        let times = [
            ("keep_ms", self.keep_ms, 0),
            ("delay_ms", self.delay_ms, 0),
            ("ttl_ms", self.ttl_ms, 1),
            ("idempotency_ms", self.idempotency_ms, 1),
        ];
        let wrong = |least: u64, ms: Option<u64>| ms.is_some_and(|ms| ms < least || ms > most);
        let times = times.into_iter().filter(|(_, ms, least)| wrong(*least, *ms));
        let mut lines: Vec<_> =
            times.map(|(name, _, least)| format!("{name} is {least} to {most}, 30 days")).collect();
        if self.attempts.is_some_and(|attempts| !(1..=ATTEMPTS_MAX).contains(&attempts)) {
            lines.push(format!("attempts is 1 to {ATTEMPTS_MAX}"));
        }
        lines
    }

    fn check_status(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.jobs
            && !(self.path.contains("{id}") && (self.queue.is_some() || self.path.contains("{queue}")))
        {
            wrong.push("jobs needs {queue} and {id} in the path, or {id} and a queue".to_owned());
        }
        if let Some(path) = &self.status_path {
            let is_target = path.starts_with('/') && path.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
            if !is_target || !path.contains("{id}") {
                wrong.push("status_path is a path with {id} in it".to_owned());
            }
        }
        wrong
    }

    /// How requests of this route become background jobs.
    pub(crate) fn background(&self, front: &FrontConfig) -> Result<Background, Vec<String>> {
        let work = self.work(front)?;
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        Ok(Background {
            keep: time(self.keep_ms).unwrap_or(KEEP),
            attempts: self.attempts,
            delay: time(self.delay_ms).filter(|delay| !delay.is_zero()),
            ttl: time(self.ttl_ms),
            credentials: self.credentials,
            idempotency: time(self.idempotency_ms).unwrap_or(IDEMPOTENCY),
            backlog_bytes_max: self.backlog_bytes_max.unwrap_or(BACKLOG_BYTES_MAX),
            status: self.status(front, &work.queue),
            work,
        })
    }

    /// Where the status of this route's jobs is served: as it says, else at the first route for that.
    fn status(&self, front: &FrontConfig, queue: &Queue) -> Option<String> {
        let serves = |route: &&Route| {
            let host = route.host.is_none() || route.host == self.host;
            route.jobs && host && route.queue.as_deref().is_none_or(|served| served == queue.as_str())
        };
        let path = || front.routes.iter().find(serves).map(|route| route.path.clone());
        Some(self.status_path.clone().or_else(path)?.replace("{queue}", queue.as_str()))
    }

    /// The queues whose jobs this route shows: its own, else those of all routes that push background jobs.
    pub(crate) fn shown_queues(&self, front: &FrontConfig) -> Vec<Queue> {
        let pushes = front.routes.iter().filter(|route| route.background);
        let names: Vec<_> = match &self.queue {
            Some(queue) => vec![queue],
            None => pushes.filter_map(|route| route.queue.as_ref()).collect(),
        };
        names.into_iter().filter_map(|name| Queue::new(name.as_str()).ok()).collect()
    }
}
