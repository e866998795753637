//! The Lua that runs inside Redis (SPEC "Scripts"): each says above itself what it takes and gives. None looks into a job.

/// Lets a claimed job of a key run, or sets it aside.
pub const ADMIT: &str = include_str!("../scripts/admit.lua");
/// Says in the record of a claimed job that it runs.
pub const BEGIN: &str = include_str!("../scripts/begin.lua");
/// Moves an entry of `later` that is no job to `dead`.
pub const BURY: &str = include_str!("../scripts/bury.lua");
/// Ends a group: pushes the job that comes when all are done.
pub const COMPLETE: &str = include_str!("../scripts/complete.lua");
/// Counts a job of a group as done.
pub const COUNT: &str = include_str!("../scripts/count.lua");
/// Removes jobs from where they lie, and all that is known of them.
pub const DISCARD: &str = include_str!("../scripts/discard.lua");
/// Fires a schedule.
pub const FIRE: &str = include_str!("../scripts/fire.lua");
/// Writes how far a job is, or a line into its log.
pub const NOTE: &str = include_str!("../scripts/note.lua");
/// Moves jobs that are due to the end of their lane.
pub const PROMOTE: &str = include_str!("../scripts/promote.lua");
/// Pushes background jobs, each once.
pub const PUSH: &str = include_str!("../scripts/push.lua");
/// Pushes one job unless another one holds its unique key.
pub const PUSH_UNIQUE: &str = include_str!("../scripts/push_unique.lua");
/// Takes a job away from a worker that is gone.
pub const RECOVER: &str = include_str!("../scripts/recover.lua");
/// Returns a job that was set aside to its lane.
pub const RELEASE: &str = include_str!("../scripts/release.lua");
/// Moves a job out of `dead` or `later` to its lane.
pub const REVIVE: &str = include_str!("../scripts/revive.lua");
/// Writes or removes a schedule.
pub const SCHEDULE: &str = include_str!("../scripts/schedule.lua");
/// Ends a claimed background job: done, put off or given up.
pub const SETTLE: &str = include_str!("../scripts/settle.lua");
/// Frees the places of slots whose run list is empty.
pub const SWEEP: &str = include_str!("../scripts/sweep.lua");
/// Claims jobs of a queue that has limits.
pub const TAKE: &str = include_str!("../scripts/take.lua");
