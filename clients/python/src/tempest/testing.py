"""Runs the jobs of a worker in the test of a program, without Redis.

What is pushed inside of the ``with``, by any :class:`tempest.Client` or :class:`tempest.Context` of this process, goes
through the wire encoding, to the handler, and its result back through it::

    with inline(worker):
        client.push("mail", "send", {"to": "Bob"})      # has run when this returns, or raises what the handler raised

    with Harness(worker) as harness:
        client.push("mail", "send", {"to": "Bob"}, in_s=3600)
        harness.skip(3600)                              # the clock jumps, what is due runs, retries too
        assert harness.results[...] == ...

What it does: decoding, typed arguments, hooks, results, failures, retries with their back-off, deadlines, dead jobs,
delays, ids that are pushed once, unique keys, chains, calls, events that are published.

What it does not do: it is no Redis, and no test of one. One job runs at a time, in the thread that asks for it; lanes,
limits, ``key``, groups, records with their progress and log, cancelling, drain, leases and recovery are not there. The
clock is skipped for Redis time alone: a handler that sleeps, sleeps. What other processes push is not seen.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

from . import pushing
from .bus import Bus
from .clock import Clock
from .desk import Claimed, Desk
from .draft import Draft
from .errors import CallFailed, NoSuchJob, NotUnique
from .following import following
from .frame import json_bytes, read
from .hooks import Hooks
from .limits import RECORD_AGE_MS
from .link import Command, Place
from .names import Keys, check_name, new_id
from .presence import Source
from .record import value_of
from .scripts import Call
from .settle import Ack, Ending, Exchange, Settlement
from .wire import Job, decode_job, decode_reply
from .worker import Worker

_NOWHERE = "redis://127.0.0.1:1"
KEPT_S = RECORD_AGE_MS / 1000
"""Every job that a harness takes keeps its result for so long, whatever its pusher said."""


class SkippedClock(Clock):
    """Redis time that stands still until it is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.ms = time.time_ns() // 1_000_000

    def is_stale(self) -> bool:
        """Never."""
        return False

    def at_ms(self, at_s: float) -> int:
        """The same at any time."""
        return self.ms


class _Events(Bus):
    """Takes down what is published; records and logs are not kept."""

    def __init__(self, keys: Keys) -> None:
        super().__init__(Place(_NOWHERE), keys)
        self.events: list[tuple[str, Any]] = []

    def publish(self, topic: str, payload: Any) -> int:
        self.events.append((check_name("topic", topic), payload))
        json_bytes(payload if not isinstance(payload, bytes) else "")
        return 0

    def run(self, calls: Sequence[Call | Command]) -> list[Any]:
        return [None for _ in calls]


class Harness:
    """Holds the jobs of one test and runs them when it is told to. Not for several threads."""

    def __init__(self, *workers: Worker, runs_at_once: bool = False) -> None:
        self.results: dict[str, Any] = {}
        """What the handlers returned, by the ids of their jobs, as a caller gets it."""
        self.dead: list[dict[str, Any]] = []
        """Jobs that were given up, as they stand in ``dead``: ``error`` and the fields of the job."""
        self.errors: list[BaseException] = []
        """What handlers raised, in order."""
        self.clock = SkippedClock()
        self._keys = Keys()
        self._events = _Events(self._keys)
        self._runs_at_once = runs_at_once
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._later: list[tuple[int, int, str, bytes]] = []
        self._numbers = itertools.count()
        self._known: set[tuple[str, str]] = set()
        self._held: dict[tuple[str, str], tuple[str, int]] = {}
        self._desk = self._desk_of(workers)
        self._before: pushing.StandIn | None = None

    def _desk_of(self, workers: Sequence[Worker]) -> Desk:
        hooks = Hooks()
        hooks.on_error.append(lambda _, error: self.errors.append(error))
        handlers = {}
        for worker in workers:
            handlers.update(worker.handlers)
            hooks.around += worker.hooks.around
            hooks.on_error += worker.hooks.on_error
        return Desk(self._keys, handlers, hooks, self._events, self.clock)

    @property
    def events(self) -> list[tuple[str, Any]]:
        """Topics and payloads that were published with :meth:`tempest.Context.publish`, in order."""
        return self._events.events

    @property
    def waiting(self) -> list[Job]:
        """The jobs that wait now."""
        return [decode_job(data, self._keys) for _, data in self._waiting]

    @property
    def later(self) -> list[tuple[float, Job]]:
        """In how many seconds the jobs are due that are delayed or tried again, the next one first."""
        return [((due - self.clock.ms) / 1000, decode_job(data, self._keys)) for due, _, _, data in sorted(self._later)]

    def __enter__(self) -> Harness:
        self._before, pushing.stand_in = pushing.stand_in, self
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pushing.stand_in = self._before

    # --- what callers do ---------------------------------------------------------------------------------------------

    def push(self, queue: str, draft: Draft, traceparent: str | None) -> str:
        """Takes a job, as the script ``push`` does: an id that is known is not taken again. Raises
        :class:`NotUnique`."""
        job = _kept(draft).job(self.clock.ms, traceparent=traceparent)
        job_id = str(job.id)
        if (check_name("queue", queue), job_id) in self._known:
            return job_id
        self._hold(queue, draft, job_id)
        self._known.add((queue, job_id))
        due = draft.due_ms(self.clock.ms)
        if due is None or self._runs_at_once:
            self._waiting.append((queue, job.encode()))
        else:
            self._put_off(due, queue, job.encode())
        if self._runs_at_once:
            self._run_now()
        return job_id

    def call(self, queue: str, job: Job) -> Any:
        """Runs a job that somebody waits for, at once, and gives what comes out. Raises :class:`CallFailed`."""
        whole = replace(job, id=new_id(), reply_to=self._keys.mailbox("testing"), attempts=1)
        settlement = self._handle(queue, whole.encode())[1]
        if not isinstance(settlement, Ack) or not settlement.reply:
            raise CallFailed("timeout", "no reply")
        return value_of(decode_reply(settlement.reply))

    def result(self, queue: str, job_id: str) -> Any:
        """What came out of a job that has run. Raises :class:`CallFailed`, :class:`NoSuchJob`."""
        if job_id in self.results:
            return self.results[job_id]
        error = next((each["error"] for each in self.dead if each.get("id") == job_id), None)
        if error is not None:
            raise CallFailed(error["code"], error["message"])
        if (queue, job_id) in self._known:
            raise CallFailed("timeout", "it is not done yet")
        raise NoSuchJob(queue, job_id)

    # --- time --------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Runs what waits, and what that pushes, until nothing does. Gives how many handlers were run."""
        before = self._desk.report.finished()
        while self._waiting:
            queue, data = self._waiting.popleft()
            self._settle(queue, *self._handle(queue, data))
        return self._desk.report.finished() - before

    def skip(self, seconds: float) -> int:
        """Runs what waits; then moves the clock, and runs what becomes due, each at its time. Gives how many handlers
        were run."""
        until, count = self.clock.ms + int(seconds * 1000), self.run()
        while self._later and self._later[0][0] <= until:
            due, _, queue, data = heapq.heappop(self._later)
            self.clock.ms = max(self.clock.ms, due)
            self._waiting.append((queue, data))
            count += self.run()
        self.clock.ms = until
        return count

    def _run_now(self) -> None:
        """Raises what the handler raised: nobody comes back to it later."""
        seen = len(self.errors)
        self.run()
        if len(self.errors) > seen:
            raise self.errors[seen]

    # --- what becomes of jobs ----------------------------------------------------------------------------------------

    def _handle(self, queue: str, data: bytes) -> tuple[Claimed, Settlement]:
        source = Source(queue, "normal", self._keys.lane(queue, "normal"), f"run-{queue}", "testing.0")
        (claimed,) = self._desk.read(source, [data])
        if claimed.lets_go:
            self._let_go(queue, claimed.job)
        return claimed, self._desk.handle(claimed)

    def _settle(self, queue: str, claimed: Claimed, settlement: Settlement) -> None:
        if isinstance(settlement, Exchange):
            self._move(queue, settlement.member, settlement.score_ms, settlement.is_dead)
        elif isinstance(settlement, Ending):
            _, member, score, reply, *_ = (
                settlement.call.args if isinstance(settlement.call, Call) else (b"", b"", 0, b"")
            )
            if member:
                self._move(queue, member, int(score), settlement.dead_key is not None)
            elif reply and claimed.job is not None:
                self.results[str(claimed.job.id)] = value_of(decode_reply(reply))
        if settlement.is_over or (isinstance(settlement, Ending) and settlement.dead_key is not None):
            self._let_go(queue, claimed.job)
        if settlement.is_over and claimed.job is not None and claimed.result:
            self._go_on(queue, claimed)

    def _move(self, queue: str, member: bytes, score_ms: int, is_dead: bool) -> None:
        if is_dead:
            self.dead.append(dict(read(member, "args").values))
        elif self._runs_at_once:
            return  # the pusher is told of the failure instead
        else:
            self._put_off(score_ms, queue, member)

    def _put_off(self, due_ms: int, queue: str, data: bytes) -> None:
        heapq.heappush(self._later, (due_ms, next(self._numbers), queue, data))

    def _go_on(self, queue: str, claimed: Claimed) -> None:
        if claimed.job is None:
            return
        next_one = following(claimed.job, claimed.result, self.clock.ms, self._keys)
        if next_one is not None:
            self._known.add((next_one.queue or queue, str(next_one.job.id)))
            self._waiting.append((next_one.queue or queue, next_one.data))

    def _hold(self, queue: str, draft: Draft, job_id: str) -> None:
        if draft.unique is None:
            return
        holder, until = self._held.get((queue, draft.unique), ("", 0))
        if until > self.clock.ms and holder != job_id:
            raise NotUnique(draft.unique, holder)
        self._held[queue, draft.unique] = (job_id, self.clock.ms + draft.unique_ms)

    def _let_go(self, queue: str, job: Job | None) -> None:
        said = None if job is None else job.background
        if job is None or said is None or said.unique is None or said.unique_while == "time":
            return
        if self._held.get((queue, said.unique), ("",))[0] == job.id:
            del self._held[queue, said.unique]


def _kept(draft: Draft) -> Draft:
    behind = (draft.then,) if isinstance(draft.then, Draft) else draft.then
    return replace(draft, keep_s=draft.keep_s or KEPT_S, then=tuple(map(_kept, behind)))


def inline(*workers: Worker) -> Harness:
    """A :class:`Harness` for a ``with``, in which every job runs at once when it is pushed, also one that is delayed.
    The push raises what the handler raised; nothing is tried again."""
    return Harness(*workers, runs_at_once=True)
