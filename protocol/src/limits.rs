//! The default limits, named once (SPEC "Limits"). Programs may configure others; nothing else hard-codes a number.

use std::time::Duration;

/// Nesting allowed in a frame; the envelope map itself is depth 1.
pub const DEPTH_MAX: usize = 64;
/// Largest integer of an envelope: 2^53 - 1, exact in every language.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Body of an HTTP request, in bytes.
pub const REQUEST_BODY_BYTES_MAX: usize = 1 << 20;
/// A whole reply frame, in bytes.
pub const REPLY_BYTES_MAX: usize = 16 << 20;
/// Jobs waiting in one lane.
pub const LANE_JOBS_MAX: u64 = 10_000;
/// Jobs in a lane, or in `later`, up to which background jobs are pushed.
pub const BACKLOG_JOBS_MAX: u64 = 10_000_000;
/// Bytes waiting in one lane.
pub const LANE_BYTES_MAX: u64 = 64 << 20;
/// How long an HTTP client waits before it gets a 504.
pub const HTTP_DEADLINE: Duration = Duration::from_secs(30);
/// How long a silent worker is believed to live.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often a worker renews its lease.
pub const BEAT: Duration = Duration::from_secs(1);
/// How long a silent worker is believed to live that rests and keeps its lease itself.
pub const LEASE_IDLE: Duration = Duration::from_millis(7_500);
/// How often such a worker renews its lease: sooner than [`LEASE`], so that it may start at once what it claims.
pub const BEAT_IDLE: Duration = Duration::from_millis(2_500);
/// How long one blocking Redis call lasts.
pub const BLOCK: Duration = Duration::from_secs(2);
/// How long a claim lasts that can be woken, after one that found nothing.
pub const BLOCK_IDLE: Duration = Duration::from_secs(10);
/// After this long without an answer a blocking connection is closed and never used again.
pub const BLOCK_ANSWER: Duration = Duration::from_secs(4);
/// How long an ordinary Redis command may take.
pub const COMMAND_ANSWER: Duration = Duration::from_secs(2);
/// Lifetime of a mailbox's `about` key without a beat.
pub const ABOUT: Duration = Duration::from_secs(10);
/// How long an owner must be gone before its mailbox, or a worker's registration, is removed.
pub const GONE: Duration = Duration::from_secs(60);
/// Two looks at a missing lease must be this far apart before a worker counts as dead.
pub const LOOKS_APART: Duration = Duration::from_secs(2);
/// A connection must have been up this long before a missing lease means anything.
pub const LINK_SETTLED: Duration = Duration::from_secs(5);
/// How long a job may lie in a queue without any known worker before the front takes it back.
pub const NO_WORKER: Duration = Duration::from_millis(250);
/// How long a queue counts as served after somebody without a lease took a job from it.
pub const SERVED: Duration = Duration::from_secs(60);
/// How often the topic connection is probed.
pub const PROBE: Duration = Duration::from_secs(5);
/// How long a worker remembers ids it finished, or that were cancelled.
pub const ID_MEMORY: Duration = Duration::from_secs(60);
/// How many cancelled ids a worker remembers.
pub const CANCELLED_IDS_MAX: usize = 10_000;
/// How long a handler may run.
pub const RUN_MAX: Duration = Duration::from_secs(15 * 60);
/// Cancelling by `LREM` is only tried in a lane shorter than this.
pub const CANCEL_DEPTH_MAX: u64 = 1_000;
/// Entries kept in `dead`.
pub const DEAD_JOBS_MAX: usize = 10_000;
/// Age of the oldest entry kept in `dead`.
pub const DEAD_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a record of a background job lives after the last that was heard of the job, while it lives.
pub const RECORD_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest that a record and a result are kept after the end of their job.
pub const KEEP_MAX: Duration = RECORD_AGE_MAX;
/// A job that has run for so long says in its record that it runs.
pub const TELL_RUNNING: Duration = Duration::from_millis(10);
/// A job that has run for less than this cannot have been taken away from a worker that had its lease when it began:
/// recovery looks twice, [`LOOKS_APART`], and the ack has to arrive.
pub const SHORT_JOB: Duration = Duration::from_secs(1);
/// Lines kept of a job's log.
pub const LOG_LINES_MAX: usize = 1_000;
/// Bytes of such a line, and of the progress a job tells.
pub const LOG_LINE_BYTES_MAX: usize = 4 << 10;
/// Jobs in one group.
pub const GROUP_JOBS_MAX: usize = 10_000;
/// Results of all jobs of one group together, in bytes of JSON.
pub const GROUP_RESULTS_BYTES_MAX: usize = 16 << 20;
/// Time between two firings of a schedule.
pub const EVERY_MIN: Duration = Duration::from_millis(100);
/// A firing of a schedule that is later than this was missed.
pub const FIRING_LATE: Duration = Duration::from_secs(60);
/// Missed firings of a schedule that are made up for.
pub const MISSED_FIRINGS_MAX: usize = 1_000;
/// How long a worker waits that found as many jobs running as a limit allows.
pub const LIMITED_PAUSE: Duration = Duration::from_millis(100);
/// Attempts of a job without `reply_to`.
pub const ATTEMPTS_BACKGROUND: u64 = 3;
/// Attempts of a job somebody waits for.
pub const ATTEMPTS_WAITED: u64 = 1;
/// Attempts the front gives to safe and idempotent methods.
pub const ATTEMPTS_SAFE: u64 = 2;
/// Share of Redis' `maxmemory` above which the front sheds, in percent.
pub const MEMORY_PERCENT_MAX: u64 = 80;
