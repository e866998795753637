"""The default limits and waits, each named once (SPEC "Limits"). Nothing else in this package hard-codes one."""

DEPTH_MAX = 64
"""Nesting allowed in a frame; the envelope map itself is depth 1."""
INTEGER_MAX = 2**53 - 1
"""Largest integer of an envelope."""
REPLY_BYTES_MAX = 16 * 1024 * 1024
"""A whole reply frame."""
LANE_JOBS_MAX = 10_000
BACKLOG_JOBS_MAX = 10_000_000
"""Jobs waiting in one lane."""
LANE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes waiting in one lane, as Redis estimates them."""
DEAD_JOBS_MAX = 10_000
"""Entries kept in ``dead``."""
DEAD_AGE_MS = 7 * 24 * 3600 * 1000
"""How long the record of a dead job lives."""
RECORD_AGE_MS = 30 * 24 * 3600 * 1000
"""How long a record lives after the last that was heard of its job, while the job lives."""
KEEP_MS = RECORD_AGE_MS
"""The longest that a record and a result are kept after the end of their job."""
TELL_RUNNING_S = 0.010
"""A job that has run for so long says in its record that it runs."""
SHORT_JOB_S = 1.0
"""A job that has run for less than this cannot have been taken away from a worker that had its lease when it began:
recovery looks twice, two seconds apart, and the ack has to arrive."""
LOG_LINES_MAX = 1_000
"""Lines kept of a job's log."""
LOG_LINE_BYTES_MAX = 4096
"""A line of a job's log, or what it tells of its progress."""
GROUP_JOBS_MAX = 10_000
"""Jobs in one group."""
GROUP_RESULTS_BYTES_MAX = 16 * 1024 * 1024
"""Results of all jobs of one group together, in bytes of JSON."""
LIMITED_PAUSE_S = 0.1
"""How long a worker waits that found as many jobs running as a limit allows."""
PUSH_MANY = 128
"""Jobs that one call of a script pushes."""
ATTEMPTS_BACKGROUND = 3
"""Attempts of a job without ``reply_to``."""
ATTEMPTS_WAITED = 1
"""Attempts of a job somebody waits for."""

LEASE_S = 3.0
"""How long a silent worker is believed to live."""
BEAT_S = 1.0
"""How often a worker renews its lease."""
BLOCK_S = 2.0
"""How long one blocking Redis call lasts."""
BLOCK_ANSWER_S = 4.0
"""After this long without an answer a blocking connection is closed and never used again."""
COMMAND_ANSWER_S = 2.0
"""How long an ordinary Redis command, or connecting, may take."""
ABOUT_S = 10.0
"""Lifetime of a mailbox's ``about`` key without a beat."""
ID_MEMORY_S = 60.0
"""How long a worker remembers ids it finished, or that were cancelled."""
CANCELLED_IDS_MAX = 10_000
"""How many cancelled ids a worker remembers."""
CANCEL_DEPTH_MAX = 1_000
"""Cancelling by ``LREM`` is only tried in a lane shorter than this."""
CLOCK_S = 60.0
"""How often Redis time is asked for anew."""
PING_S = 10.0
"""How often the subscription to the control channel is probed."""
RUN_MAX_S = 900.0
"""How long a handler may run."""
GRACE_S = 30.0
"""How long a drain waits for running handlers."""
REFUSED_REPLIES_MAX = 1_000
"""Refused replies kept to be sent again."""
REFUSED_REPLY_S = 60.0
"""How long a refused reply of a job without a deadline is tried again."""
LOW_FIRST_EVERY = 16
"""Every so many claims the lanes are looked at from the low end."""
LOOK_MAX = 16
"""How many jobs one claim brings at most."""
AHEAD_RUN_S = 0.002
"""A worker claims ahead only while its handlers take less than this, in the median."""
AHEAD_WAIT_S = 0.010
"""How long a job that was claimed ahead waits for its start before it is given back."""
AHEAD_RUNS = 16
"""How many of the last runs the median is taken from."""
SETTLE_BYTES = 1024 * 1024
"""Replies that are kept back for the next write are at most this much."""


def backoff_cap_ms(base_ms: int, cap_ms: int, n: int) -> int:
    """Gives the upper bound, in milliseconds, of the wait after the ``n``-th failure (from 1).

    It is ``min(cap, base * 2^(n-1))``; the wait itself is drawn evenly from zero to it (SPEC "Back-off").
    """
    doublings = min(max(n, 1) - 1, 64)
    return min(cap_ms, base_ms << doublings)


RECONNECT_BASE_MS, RECONNECT_CAP_MS = 50, 1_000
"""How processes return to a Redis that went away."""
RETRY_BASE_MS, RETRY_CAP_MS = 1_000, 3_600_000
"""How failed background jobs are tried again."""
RESTART_BASE_MS, RESTART_CAP_MS = 100, 10_000
"""How processes that die soon after their start are started again."""
RESTART_STEADY_S = 10.0
"""A process that lived so long is started again at once."""
