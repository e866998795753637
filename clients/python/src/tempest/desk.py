"""What is done with a claimed job, from its bytes to its settlement. Knows no connection."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass, field
from typing import Any

from . import typed
from .bus import Bus
from .clock import Clock, running_s
from .context import Context
from .ending import Endings
from .errors import TempestError, WireError
from .frame import json_bytes, write
from .handler import Handler
from .hooks import Hooks
from .http import decode_request, http_reply
from .limits import REPLY_BYTES_MAX, RETRY_BASE_MS, RETRY_CAP_MS, backoff_cap_ms
from .memory import Memory
from .names import Keys
from .presence import Source
from .rarely import Rarely
from .settle import Exchange, Settlement
from .trace import NO_SPAN, Span, is_traced, job_span
from .wire import Job, Reply, dead_bytes, decode_job

log = logging.getLogger("tempest")

_MESSAGES = {
    "handler_error": "the handler failed",
    "timeout": "the handler ran longer than it may",
    "too_large": "the reply is too large",
}
"""The texts a caller gets; the traceback stays in the log."""
_CAUSE_CHARS = 500
"""How much of what a handler raised is told to people, in records and ``dead``."""


class Claimed:
    """A job that lies in a run list of this worker: where, its bytes, and what they say."""

    __slots__ = ("begun_s", "cause", "claimed_at", "data", "error", "has_log", "job", "result", "result_json", "source")

    def __init__(
        self, source: Source, data: bytes, job: Job | None, error: WireError | None, now_ms: int | None
    ) -> None:
        self.source = source
        self.data = data
        self.job = job
        """The job; none: its bytes are no job, :attr:`error` says why."""
        self.error = error
        self.claimed_at = now_ms
        self.begun_s = 0.0
        self.has_log = False
        """Its handler wrote lines into its log."""
        self.cause = ""
        """What its handler raised, for people; empty: nothing, or somebody waits for it."""
        self.result = b""
        """What its handler returned, in the encoding of the job, for the job that comes next."""
        self.result_json = b""
        """The same in JSON, for its group."""

    @property
    def is_alone(self) -> bool:
        """Tells whether nothing else may lie in the run list while this runs, nor this while something else does: it
        may not be started again, or the worker that had it before died (SPEC "Claiming ahead"), or it may have to wait
        for others of its key."""
        job = self.job
        return job is not None and (job.attempt > 1 or job.attempts == 1 or self.key is not None)

    @property
    def key(self) -> str | None:
        """What it has in common with jobs of which only so many run at a time."""
        job = self.job
        return None if job is None or job.background is None else job.background.key

    @property
    def lets_go(self) -> bool:
        """Tells whether it holds a unique key until it is started."""
        said = None if self.job is None or not has_record(self.job) else self.job.background
        return said is not None and said.unique is not None and said.unique_while == "queued"

    @property
    def is_announced(self) -> bool:
        """Tells whether others must know before it starts."""
        return self.job is not None and self.job.background is not None and (self.key is not None or self.lets_go)

    def work_us(self) -> int:
        """How long the handler has worked, in microseconds."""
        return int((running_s() - self.begun_s) * 1_000_000)


def has_record(job: Job) -> bool:
    """Tells whether where a job is, and how it fares, is written down."""
    return job.id is not None and job.reply_to is None


@dataclass
class Report:
    """What a worker did, counted."""

    done: int = 0
    failed: int = 0
    dropped: int = 0
    """Cancelled, late or finished before: acked without running."""
    given_back: int = 0
    left: int = 0
    """Still in run lists when the worker ended: recovery finds them."""
    unsent: int = 0
    """Replies that Redis refused until the end."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def finished(self) -> int:
        """Jobs whose handler was run, in whatever way it ended."""
        return self.done + self.failed

    def count(self, what: str, more: int = 1) -> None:
        """Adds one, or more."""
        with self._lock:
            setattr(self, what, getattr(self, what) + more)

    def __str__(self) -> str:
        said = f"{self.done} done, {self.failed} failed, {self.dropped} dropped, {self.given_back} given back"
        return f"{said}, {self.left} left, {self.unsent} replies unsent"


class Desk:
    """Decodes, runs the handler, and says how to settle. Used by all slots of a worker at once."""

    def __init__(self, keys: Keys, handlers: dict[str, Handler], hooks: Hooks, bus: Bus, clock: Clock) -> None:
        self.memory = Memory()
        self.report = Report()
        self._undecodable = Rarely(log)
        self.clock = clock
        self._keys = keys
        self._handlers = handlers
        self._hooks = hooks
        self._bus = bus
        self._endings = Endings(keys, clock)
        self._traced = is_traced()

    def read(self, source: Source, frames: list[bytes]) -> list[Claimed]:
        """Decodes what was claimed. Never raises."""
        now_ms = self.clock.now_ms()
        claimed = []
        for data in frames:
            job, wrong = None, None
            try:
                job = decode_job(data, self._keys)
            except WireError as error:
                wrong = error
            claimed.append(Claimed(source, data, job, wrong, now_ms))
        return claimed

    def handle(self, claimed: Claimed) -> Settlement:
        """Does a claimed job. Never raises."""
        job = claimed.job
        if job is None:
            return self._no_job(claimed)
        if not self.memory.may_start(job):
            self.report.count("dropped")
            return self._dropped(claimed, job)
        claimed.begun_s = claimed.begun_s or running_s()
        if job.is_expired(self.clock.at_ms(claimed.begun_s)):
            return self._late(claimed, job, "its deadline passed before it was started")
        settlement = self._run(claimed, job)
        if settlement.is_over and not (job.background and job.background.tells_more):
            self.memory.remember(job)
        return settlement

    def _late(self, claimed: Claimed, job: Job, message: str) -> Settlement:
        """Who waited has given up; what nobody waited for is kept for people."""
        self.report.count("dropped")
        return self._endings.ack(claimed, job) if job.reply_to else self._endings.bury(claimed, job, "expired", message)

    def _dropped(self, claimed: Claimed, job: Job) -> Settlement:
        """Nothing is left of a job that was cancelled, or that was finished before."""
        return self._endings.ack(claimed, job)

    def _no_job(self, claimed: Claimed) -> Settlement:
        source, error = claimed.source, claimed.error
        self._undecodable.warn("queue %s: bytes that are no job go to dead: %s", source.queue, error)
        self.report.count("failed")
        now = self.clock.stamp_ms()
        member, dead_key = dead_bytes(claimed.data, str(error), now), self._keys.dead(source.queue)
        return Exchange(source.run_key, claimed.data, dead_key, member, now, True)

    def _run(self, claimed: Claimed, job: Job) -> Settlement:
        handler = self._handlers.get(job.action)
        if handler is None:
            return self._fail(claimed, job, "no_handler", f"no handler for action {job.action}", retry=False)
        source = claimed.source
        context = Context(job, source.queue, self._bus, self.clock, claimed.begun_s, source.entry)
        try:
            request = job.args if handler.is_plain else self._request(job, handler)
        except WireError as error:
            self._hooks.failed(context, error)
            return self._fail(claimed, job, error.code, error.detail, retry=False)
        self.memory.start(context)
        try:
            with job_span(job, claimed.source.queue) if self._traced else NO_SPAN as span:
                reply, code = self._call(claimed, job, handler, request, context, span)
        finally:
            cancelled = self.memory.finish(context)
            claimed.has_log = context.has_log
        if cancelled:
            self.report.count("dropped")
            return self._endings.ack(claimed, job)
        # A handler that was told so may have ended in the very millisecond of its deadline.
        late = context.is_late or bool(job.deadline and job.is_expired(self.clock.now_ms()))
        if code == "cancelled" or (code is not None and late):
            return self._late(claimed, job, "its deadline passed while it ran")
        if code is not None:
            message = claimed.cause if job.reply_to is None and claimed.cause else _MESSAGES[code]
            return self._fail(claimed, job, code, message, retry=code != "too_large")
        return self._done(claimed, job, b"" if late and job.reply_to else reply)

    @staticmethod
    def _request(job: Job, handler: Handler) -> Any:
        """What the handler gets. Raises :class:`WireError` if the arguments are none for it."""
        if handler.http:
            return decode_request(job)
        return job.args if handler.kind is None else typed.made(handler.kind, job.args)

    def _done(self, claimed: Claimed, job: Job, reply: bytes) -> Settlement:
        try:
            settlement = self._endings.done(claimed, job, reply)
        except WireError as error:
            return self._fail(claimed, job, "bad_job", f"what comes next cannot be pushed: {error.detail}", retry=False)
        self.report.count("done")
        return settlement

    def _call(
        self, claimed: Claimed, job: Job, handler: Handler, request: Any, context: Context, span: Span
    ) -> tuple[bytes, str | None]:
        """Runs the handler. Gives the reply, empty if nobody wants it, or the code of a failure."""
        try:
            around = self._hooks.around
            returned = self._around(handler, request, context) if around else handler(request, context)
            reply = self._reply(claimed, job, handler, returned) if self._is_kept(job) else b""
            if job.background is not None:
                self._hand_on(claimed, job, handler, returned)
        except BaseException as error:
            # Also SystemExit: a handler ends its job, never its worker.
            if context.cancelled():
                log.info("action %s, job %s: the handler ended, for nobody waits any more", job.action, job.id)
                return b"", "timeout" if context.overran else "cancelled"
            code = "too_large" if isinstance(error, TempestError) and error.code == "too_large" else "handler_error"
            span.failed(code, error)
            log.exception("action %s, job %s, attempt %d: the handler failed", job.action, job.id, job.attempt)
            claimed.cause = f"{type(error).__name__}: {error}"[:_CAUSE_CHARS]
            self._hooks.failed(context, error)
            return b"", code
        if context.overran:
            span.failed("timeout")
            return b"", "timeout"
        size = max(len(reply), len(claimed.result))
        if size > REPLY_BYTES_MAX:
            span.failed("too_large")
            claimed.cause = f"a result of {size} bytes; {REPLY_BYTES_MAX} are allowed"
            log.error("action %s, job %s: %s", job.action, job.id, claimed.cause)
            return b"", "too_large"
        return reply, None

    def _around(self, handler: Handler, request: Any, context: Context) -> Any:
        return self._hooks.call(context, lambda: handler(request, context))

    @staticmethod
    def _is_kept(job: Job) -> bool:
        """Tells whether somebody waits for the reply, or it is kept for whoever will."""
        if job.reply_to is not None or job.id is None:
            return job.reply_to is not None and job.id is not None
        return job.background is not None and job.background.keep > 0

    @staticmethod
    def _hand_on(claimed: Claimed, job: Job, handler: Handler, returned: Any) -> None:
        """Writes what the next job gets, and what the group keeps: of an HTTP handler null."""
        said, value = job.background, None if handler.http else returned
        if said is not None and said.then:
            claimed.result = write(job.encoding, value)
        if said is not None and said.group is not None:
            claimed.result_json = json_bytes(value)

    def _reply(self, claimed: Claimed, job: Job, handler: Handler, returned: Any) -> bytes:
        if handler.http:
            return self._encode(claimed, http_reply(job, returned))
        return self._encode(claimed, Reply(job.id or "", job.attempt, result=(returned,), encoding=job.encoding))

    @staticmethod
    def _encode(claimed: Claimed, reply: Reply) -> bytes:
        """The frame of a reply, which tells when the job was claimed and how long the work took up to now."""
        reply.claimed_at = claimed.claimed_at
        reply.work_us = claimed.work_us()
        return reply.encode()

    def _fail(self, claimed: Claimed, job: Job, code: str, message: str, *, retry: bool) -> Settlement:
        """Who waits is told; a background job is tried again later, or given up. What somebody waits for never enters
        ``dead``: it carries cookies."""
        self.report.count("failed")
        if job.reply_to is not None:
            if job.id is None or job.is_expired(self.clock.now_ms()):
                return self._endings.ack(claimed, job)
            reply = Reply(job.id, job.attempt, error=(code, message), encoding=job.encoding)
            return self._endings.done(claimed, job, self._encode(claimed, reply))
        if not retry or job.attempt >= job.attempts:
            return self._endings.bury(claimed, job, code, message)
        wait_ms = random.uniform(0, backoff_cap_ms(RETRY_BASE_MS, RETRY_CAP_MS, job.attempt))
        return self._endings.put_off(claimed, job, code, message, self.clock.stamp_ms() + int(wait_ms))
