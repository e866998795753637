"""What a worker remembers of jobs: those it runs, those it finished, those that were cancelled (SPEC "Cancel")."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from .clock import running_s
from .limits import CANCELLED_IDS_MAX, ID_MEMORY_S

TOLD_JOBS_MAX = 16
"""Jobs in hand that the lease tells."""

if TYPE_CHECKING:
    from .context import Context
    from .wire import Job


class _Recent:
    """A set that forgets after a minute, and the oldest when it is full."""

    def __init__(self) -> None:
        self._members: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, member: Hashable) -> None:
        now = running_s()
        self._members.pop(member, None)
        self._members[member] = now
        while self._members:
            oldest, since = next(iter(self._members.items()))
            if len(self._members) <= CANCELLED_IDS_MAX and now - since < ID_MEMORY_S:
                return
            del self._members[oldest]

    def __contains__(self, member: Hashable) -> bool:
        since = self._members.get(member)
        return since is not None and running_s() - since < ID_MEMORY_S


class Memory:
    """Shared by all slots of a worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = _Recent()
        self._finished = _Recent()
        self._running: set[Context] = set()
        self.started = threading.Event()
        """Set whenever a job starts."""

    def cancel(self, job_id: str) -> None:
        """Marks a job as cancelled: one that runs is told, one that is claimed within a minute is not started."""
        with self._lock:
            self._cancelled.add(job_id)
            for context in self._running:
                if context.id == job_id:
                    context.cancel()

    def may_start(self, job: Job) -> bool:
        """Tells whether a job is to be started: within the last minute it was neither cancelled, nor was this attempt
        of it finished here. One that was pushed again under the same id is another job."""
        if job.id is None:
            return True
        with self._lock:
            return job.id not in self._cancelled and _start(job) not in self._finished

    def is_cancelled(self, job_id: str | None) -> bool:
        """Tells whether a job was cancelled within the last minute."""
        with self._lock:
            return job_id in self._cancelled

    def start(self, context: Context) -> None:
        """Notes that a job runs. One that was cancelled since it was claimed is told at once."""
        if not self.started.is_set():
            self.started.set()
        with self._lock:
            self._running.add(context)
            if context.id in self._cancelled:
                context.cancel()

    def finish(self, context: Context) -> bool:
        """Notes that a job runs no more. Tells whether it was cancelled meanwhile."""
        with self._lock:
            self._running.discard(context)
            return context.job.id is not None and context.was_told

    def remember(self, job: Job) -> None:
        """Notes that nothing is left to do for an attempt but its ack, so that a copy of it is not run again within a
        minute. Not for one that goes to ``later`` or ``dead``, or that leaves more behind: if its frame is there again
        Redis has forgotten that, and who only acks it loses the job or what comes after it (SPEC, rule 11)."""
        if job.id is not None:
            with self._lock:
                self._finished.add(_start(job))

    def in_hand(self) -> list[dict[str, object]]:
        """The jobs that run longest, as the lease tells them."""
        return [context.in_hand() for context in sorted(self.running(), key=lambda it: it.started_s)[:TOLD_JOBS_MAX]]

    def running(self) -> list[Context]:
        """The jobs that run now."""
        with self._lock:
            return list(self._running)


def _start(job: Job) -> tuple[str | None, int, int | None]:
    return job.id, job.attempt, job.queued_at
