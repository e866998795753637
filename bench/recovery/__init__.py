"""How long a job waits whose worker was killed: from `kill -9` to its next start in another process.

ears     who says that a job began, and when that was heard
fleets   what is measured: a private Redis, its workers, and how they get jobs
kills    the kills of a round: one after the other, or several jobs at a time
command  options, rounds, the table
"""
