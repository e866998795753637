"""What a handler may know and do besides its job."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from . import scripts
from .beginning import begin
from .bus import Bus
from .clock import Clock, running_s
from .draft import Draft, When
from .errors import Cancelled, Refused
from .frame import Encoding, json_bytes
from .limits import LOG_LINE_BYTES_MAX, LOG_LINES_MAX, RECORD_AGE_MS
from .pushing import Pusher
from .scripts import Call
from .trace import traceparent
from .wire import Job


class Context:
    """The second argument of a handler that takes two."""

    def __init__(
        self, job: Job, queue: str, bus: Bus, clock: Clock, started_s: float | None = None, entry: str = ""
    ) -> None:
        self.job = job
        """The job as it was claimed."""
        self.queue = queue
        """The queue it came from."""
        self.started_s = running_s() if started_s is None else started_s
        self.overran = False
        """It runs longer than it may."""
        self.was_told = False
        """Somebody cancelled it: a client that left, or a person."""
        self.is_late = False
        """Somebody has seen its deadline pass; a clock that is set back changes nothing."""
        self.entry = entry
        """``<worker>.<slot>`` that runs it; empty: none does."""
        self.was_told_of = False
        self.has_log = False
        """Lines were written into its log."""
        """Its record says that it runs."""
        self._bus = bus
        self._clock = clock
        self._wakes: list[Callable[[], object]] = []

    @property
    def id(self) -> str | None:
        """Id of the job; none: nobody waits and nobody can cancel it."""
        return self.job.id

    @property
    def attempt(self) -> int:
        """Which start of the job this is, from 1."""
        return self.job.attempt

    @property
    def deadline(self) -> int:
        """Milliseconds in Redis time after which nobody waits any more; 0: never."""
        return self.job.deadline

    @property
    def traceparent(self) -> str | None:
        """W3C trace context for what is done for the job: of the current span if there is one (the extra ``otel``),
        else what the job came with."""
        return traceparent(self.job)

    def in_hand(self) -> dict[str, object]:
        """The job as its worker's lease tells it (SPEC "Presence")."""
        since = self._clock.stamp_ms() - int((running_s() - self.started_s) * 1000)
        return {"id": self.id, "action": self.job.action, "queue": self.queue, "since": since}

    def time_left(self) -> float | None:
        """Seconds to the deadline, 0 when it has passed; none without a deadline."""
        now = self._clock.now_ms()
        if not self.deadline or now is None:
            return None
        return max(0.0, (self.deadline - now) / 1000)

    def cancelled(self) -> bool:
        """Tells whether to stop: the job was cancelled, its deadline passed, or it runs longer than it may. A long
        handler asks now and then, and returns anything when it is true: nobody hears it, and nothing is tried again."""
        self.is_late = self.is_late or self.time_left() == 0.0
        return self.was_told or self.overran or self.is_late

    def check(self) -> None:
        """Raises :class:`tempest.Cancelled` when :meth:`cancelled` is true. To be called now and then, from anywhere in
        a long handler, and not to be caught."""
        if self.cancelled():
            raise Cancelled()

    def wait(self, seconds: float | None = None) -> bool:
        """Waits so long, or until the job is cancelled: for handlers that would sleep. Gives :meth:`cancelled`."""
        over = threading.Event()
        self.on_wake(over.set)
        times = [each for each in (seconds, self.time_left()) if each is not None]
        over.wait(min(times) if times else None)
        return self.cancelled()

    def on_wake(self, wake: Callable[[], object]) -> None:
        """Has this called, once and from another thread, when the job is cancelled or runs too long; at once if that
        has happened. Not at the deadline, which everybody can foresee."""
        self._wakes.append(wake)
        if self.was_told or self.overran:
            self._wake()

    def cancel(self) -> None:
        """Makes :meth:`cancelled` true because somebody says so."""
        self.was_told = True
        self._wake()

    def overrun(self) -> None:
        """Makes :meth:`cancelled` true because the handler runs longer than it may: its job fails."""
        self.overran = True
        self._wake()

    def _wake(self) -> None:
        while self._wakes:
            try:
                wake = self._wakes.pop()
            except IndexError:  # another thread was quicker
                return
            wake()

    @property
    def has_record(self) -> bool:
        """Tells whether where it is, and how it fares, is written down."""
        return self.job.id is not None and self.job.reply_to is None and self.entry != ""

    def begun(self, *more: object) -> Call:
        """Says in its record that it runs, and more fields and their values."""
        return begin(self._bus.keys, self.queue, self.entry, self.job, self._clock, self.started_s, *more)

    @property
    def worker(self) -> str:
        """Id of the worker that runs it."""
        return self.entry.rpartition(".")[0]

    @property
    def input(self) -> Any:
        """What came out of the job before it in a chain, or the list of what came out of the jobs of a group; else
        none."""
        return None if self.job.background is None else self.job.background.input

    def progress(self, value: Any) -> None:
        """Tells how far the job is, for whoever looks at its record: any value with a form in JSON of at most 4 KiB.
        Does nothing for a job that somebody waits for, or that has no id.

        Raises ``ValueError`` if it is larger, :class:`WireError`, :class:`RedisAway`, :class:`Refused`.
        """
        data = json_bytes(value)
        if len(data) > LOG_LINE_BYTES_MAX:
            raise ValueError(f"progress is at most {LOG_LINE_BYTES_MAX} bytes, not {len(data)}")
        if self.has_record:
            self._run(self.begun("progress", data))
            self.was_told_of = True

    def log(self, line: str) -> None:
        """Writes a line into the log of the job, cut at 4 KiB; the last 1,000 are kept as long as its record. Does
        nothing for a job that somebody waits for, or that has no id.

        Raises :class:`RedisAway`, :class:`Refused`.
        """
        if not self.has_record or self.id is None:
            return
        keys = [self._bus.keys.record(self.queue, self.id), self._bus.keys.log(self.queue, self.id)]
        data = line.encode(errors="replace")[:LOG_LINE_BYTES_MAX]
        write = Call(scripts.NOTE, keys, [data, RECORD_AGE_MS, LOG_LINES_MAX])
        self.has_log = True
        # A job that was pushed without a record gets one; one that does not run here any more gets neither.
        if not self._run(write) and self._run(self.begun()):
            self._run(write)

    def _run(self, call: Call) -> Any:
        answer = self._bus.run([call])[0]
        if isinstance(answer, Refused):
            raise answer
        return answer

    def publish(self, topic: str, payload: Any) -> int:
        """Publishes a live event; see :meth:`tempest.bus.Bus.publish`."""
        return self._bus.publish(topic, payload)

    def push(
        self,
        queue: str,
        action: str,
        args: Any = None,
        *,
        lane: str = "normal",
        attempts: int = 0,
        encoding: Encoding = "json",
        id: str | None = None,
        in_s: float | None = None,
        at: When | None = None,
        ttl_s: float | None = None,
        keep_s: float = 0,
        unique: str | None = None,
        unique_while: str = "running",
        unique_s: float | None = None,
        key: str | None = None,
        then: Draft | Sequence[Draft] = (),
    ) -> str:
        """Pushes a background job and gives its id; see :meth:`tempest.Client.push`."""
        draft = Draft(
            action,
            args,
            lane=lane,
            attempts=attempts,
            encoding=encoding,
            id=id,
            in_s=in_s,
            at=at,
            ttl_s=ttl_s,
            keep_s=keep_s,
            unique=unique,
            unique_while=unique_while,
            unique_s=unique_s,
            key=key,
            then=then,
        )
        return Pusher(self._bus, self._clock).push(queue, draft, self.traceparent)

    def push_many(self, queue: str, drafts: Sequence[Draft]) -> list[str]:
        """Pushes several jobs in one round trip; see :meth:`tempest.Client.push_many`."""
        return Pusher(self._bus, self._clock).push_many(queue, drafts, self.traceparent)
