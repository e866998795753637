"""The kills of a round, and how long each job waited.

A worker is killed while it says that it runs a job: it said so itself, with its pid. The time runs from just before
`kill()` to the moment at which another process is heard to have begun the same job.
"""

import os
import random
import signal
import time
from typing import NamedTuple


class Outcome(NamedTuple):
    """What a round found: milliseconds of each job, and how many jobs began again although their worker lived."""

    waited_ms: list
    early: int


def one_by_one(fleet, ears, count, patience_s):
    """A kill, its job's next start, and the next kill when the fleet is whole again."""
    waited_ms, early = [], 0
    for _ in range(count):
        found = at_once(fleet, ears, 1, 0.02, patience_s)
        waited_ms += found.waited_ms
        early += found.early
        fleet.wait()
    return Outcome(waited_ms, early)


def at_once(fleet, ears, count, over_s, patience_s):
    """As many jobs as workers to kill; these are killed within `over_s`, each at a moment of its own."""
    names = fleet.names(count)
    fleet.give(names)
    held = {start.id: start for start in ears.expect(count, "jobs that began")}
    if sorted(held) != sorted(names) or len({start.pid for start in held.values()}) != count:
        raise RuntimeError(f"not each job has begun once, in a process of its own: {list(held.values())}")
    return _Round(held, over_s).run(ears, patience_s)


class _Round:
    """The jobs of a round, when their workers are due, were killed, and when they were heard again."""

    def __init__(self, held, over_s):
        now_ns = time.monotonic_ns()
        self.held, self.killed, self.again, self.early = held, {}, {}, 0
        self.due = sorted((now_ns + int(random.uniform(0, over_s) * 1e9), name) for name in held)

    def run(self, ears, patience_s):
        while self.due:
            due_ns, name = self.due[0]
            if (start := ears.hear(due_ns)) is not None:
                self._note(start)
                continue
            self.due.pop(0)
            if name not in self.again:
                self.killed[name] = time.monotonic_ns()
                os.kill(self.held[name].pid, signal.SIGKILL)
        end_ns = time.monotonic_ns() + int(patience_s * 1e9)
        while len(self.again) < len(self.held):
            start = ears.hear(end_ns)
            if start is None:
                missing = sorted(set(self.held) - set(self.again))
                raise RuntimeError(f"{missing} did not begin again within {patience_s} s")
            self._note(start)
        return Outcome([(self.again[name] - at_ns) / 1e6 for name, at_ns in self.killed.items()], self.early)

    def _note(self, start):
        first = self.held.get(start.id)
        if first is None or start.pid == first.pid or start.attempt <= first.attempt:
            raise RuntimeError(f"{start} is no next start of {first} in another process")
        if start.id in self.again:
            raise RuntimeError(f"{start.id} began a third time")
        self.again[start.id] = start.at_ns
        self.early += start.id not in self.killed
