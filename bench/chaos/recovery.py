"""How long a job waited whose worker was killed in the middle of it: from the kill to its next start, wherever.

A job that may not be started again has none; neither has one whose worker had acked already but not written so.
"""

from bisect import bisect_right
from statistics import median

# Upper ends in milliseconds, each with its name; the last is open.
BUCKETS = ((10, "< 10 ms"), (100, "< 100 ms"), (1_000, "< 1 s"), (7_000, "< 7 s"), (15_000, "< 15 s"))
LONGER = "longer"


def waits(kills, evidence):
    """Milliseconds by how the worker was killed: ``supervised``, ``supervisor``, ``alone``."""
    held = _held(evidence)
    found, before_ms = {}, {}
    for killed_ms, pid, _, how in sorted(kills):
        for start, end_ms, later in held.get(pid, []):
            # What was begun before the last kill of this number was another process.
            if before_ms.get(pid, 0) < start.ms <= killed_ms and end_ms is None and later:
                found.setdefault(how, []).append(max(0, later[0].ms - killed_ms))
        before_ms[pid] = killed_ms
    return found


def _held(evidence):
    """By pid: each start, when it ended if it did, and the later starts of the same order."""
    held = {}
    for entries in evidence.values():
        for place, start in enumerate(entries):
            if start.what != "start":
                continue
            rest = entries[place + 1 :]
            own = [entry for entry in rest if (entry.pid, entry.attempt) == (start.pid, start.attempt)]
            ends = [entry.ms for entry in own if entry.what != "start"]
            later = [entry for entry in rest if entry.what == "start" and entry.attempt > start.attempt]
            held.setdefault(start.pid, []).append((start, ends[0] if ends else None, later))
    return held


def histogram(milliseconds):
    """How many lie in each bucket, by its name, empty ones too."""
    ends = [end for end, _ in BUCKETS]
    names = [*(name for _, name in BUCKETS), LONGER]
    counts = dict.fromkeys(names, 0)
    for each in milliseconds:
        counts[names[bisect_right(ends, each)]] += 1
    return counts


def summary(milliseconds):
    """Count, median and longest."""
    return {"count": len(milliseconds), "median_ms": median(milliseconds), "max_ms": max(milliseconds)}
