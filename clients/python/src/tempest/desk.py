"""What is done with a claimed job, from its bytes to its settlement. Knows no connection."""

from __future__ import annotations

import inspect
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import coroutine
from .bus import Bus
from .clock import Clock, running_s
from .context import Context
from .errors import TempestError, WireError
from .http import decode_request, http_reply
from .limits import REPLY_BYTES_MAX, RETRY_BASE_MS, RETRY_CAP_MS, backoff_cap_ms
from .memory import Memory
from .names import Keys
from .presence import Source
from .rarely import Rarely
from .settle import Ack, Exchange, Settlement
from .trace import NO_SPAN, Span, is_traced, job_span
from .wire import Job, Reply, dead_bytes, dead_member, decode_job, with_attempt

log = logging.getLogger("tempest")

_MESSAGES = {
    "handler_error": "the handler failed",
    "timeout": "the handler ran longer than it may",
    "too_large": "the reply is too large",
}
"""The texts a caller gets; the traceback stays in the log."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function for an action, plain or ``async``. ``http``: it takes a :class:`Request` and its value becomes an HTTP
    reply."""

    function: Callable[..., Any]
    http: bool
    arguments: int
    is_async: bool

    @staticmethod
    def of(function: Callable[..., Any], http: bool) -> Handler:
        """Looks at how many arguments the function takes. Raises ``TypeError`` if it cannot be a handler."""
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"a handler returns its reply at once, {function!r} is a generator")
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        several = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
        required = [each for each in parameters if each.kind in kinds and each.default is each.empty]
        allowed = [each for each in parameters if each.kind in kinds]
        if len(required) > 2 or any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
            raise TypeError(f"a handler takes the request and perhaps the context, {function!r} wants more")
        is_async = inspect.iscoroutinefunction(function)
        return Handler(function, http, 2 if several else min(2, len(allowed)), is_async)

    def __call__(self, request: Any, context: Context) -> Any:
        given = (request,) if self.arguments == 1 else (request, context)[: self.arguments]
        returned = self.function(*given)
        return coroutine.run(returned, context) if self.is_async else returned


class Claimed:
    """A job that lies in a run list of this worker: where, its bytes, and what they say."""

    __slots__ = ("begun_s", "claimed_at", "data", "error", "job", "source")

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

    @property
    def is_alone(self) -> bool:
        """Tells whether nothing else may lie in the run list while this runs, nor this while something else does: it
        may not be started again, or the worker that had it before died (SPEC "Claiming ahead")."""
        job = self.job
        return job is not None and (job.attempt > 1 or job.attempts == 1)


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

    def __init__(self, keys: Keys, handlers: dict[str, Handler], bus: Bus, clock: Clock) -> None:
        self.memory = Memory()
        self.report = Report()
        self._undecodable = Rarely(log)
        self._keys = keys
        self._handlers = handlers
        self._bus = bus
        self._clock = clock
        self._traced = is_traced()

    def read(self, source: Source, frames: list[bytes]) -> list[Claimed]:
        """Decodes what was claimed. Never raises."""
        now_ms = self._clock.now_ms()
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
        if not self.memory.may_start(job.id, job.attempt):
            self.report.count("dropped")
            return self._ack(claimed)
        claimed.begun_s = running_s()
        if job.is_expired(self._clock.at_ms(claimed.begun_s)):
            return self._late(claimed, job, "its deadline passed before it was started")
        settlement = self._run(claimed, job)
        if isinstance(settlement, Ack):
            self.memory.remember(job.id, job.attempt)
        return settlement

    def _late(self, claimed: Claimed, job: Job, message: str) -> Settlement:
        """Who waited has given up; what nobody waited for is kept for people."""
        self.report.count("dropped")
        return self._ack(claimed) if job.reply_to else self._bury(claimed, job, "expired", message)

    def _no_job(self, claimed: Claimed) -> Settlement:
        source, error = claimed.source, claimed.error
        self._undecodable.warn("queue %s: bytes that are no job go to dead: %s", source.queue, error)
        self.report.count("failed")
        now = self._clock.stamp_ms()
        return self._exchange(claimed, dead_bytes(claimed.data, str(error), now), now, True)

    @staticmethod
    def _ack(claimed: Claimed) -> Ack:
        return Ack(claimed.source.run_key, claimed.data)

    def _run(self, claimed: Claimed, job: Job) -> Settlement:
        handler = self._handlers.get(job.action)
        if handler is None:
            return self._fail(claimed, job, "no_handler", f"no handler for action {job.action}", retry=False)
        try:
            request = decode_request(job) if handler.http else job.args
        except WireError as error:
            return self._fail(claimed, job, error.code, error.detail, retry=False)
        context = Context(job, claimed.source.queue, self._bus, self._clock, claimed.begun_s)
        self.memory.start(context)
        try:
            with job_span(job, claimed.source.queue) if self._traced else NO_SPAN as span:
                reply, code = self._call(claimed, job, handler, request, context, span)
        finally:
            cancelled = self.memory.finish(context)
        if cancelled:
            self.report.count("dropped")
            return self._ack(claimed)
        # A handler that was told so may have ended in the very millisecond of its deadline.
        late = context.is_late or bool(job.deadline and job.is_expired(self._clock.now_ms()))
        if code == "cancelled" or (code is not None and late):
            return self._late(claimed, job, "its deadline passed while it ran")
        if code is not None:
            return self._fail(claimed, job, code, _MESSAGES[code], retry=code != "too_large")
        self.report.count("done")
        if not reply or late:
            return self._ack(claimed)
        return Ack(claimed.source.run_key, claimed.data, job.reply_to, reply, job.deadline)

    def _call(
        self, claimed: Claimed, job: Job, handler: Handler, request: Any, context: Context, span: Span
    ) -> tuple[bytes, str | None]:
        """Runs the handler. Gives the reply, empty if nobody waits, or the code of a failure."""
        try:
            returned = handler(request, context)
            reply = self._reply(claimed, job, handler, returned) if job.reply_to and job.id else b""
        except BaseException as error:
            # Also SystemExit: a handler ends its job, never its worker.
            if context.cancelled():
                log.info("action %s, job %s: the handler ended, for nobody waits any more", job.action, job.id)
                return b"", "timeout" if context.overran else "cancelled"
            code = "too_large" if isinstance(error, TempestError) and error.code == "too_large" else "handler_error"
            span.failed(code, error)
            log.exception("action %s, job %s, attempt %d: the handler failed", job.action, job.id, job.attempt)
            return b"", code
        if context.overran:
            span.failed("timeout")
            return b"", "timeout"
        if len(reply) > REPLY_BYTES_MAX:
            span.failed("too_large")
            log.error("action %s, job %s: a reply of %d bytes is too large", job.action, job.id, len(reply))
            return b"", "too_large"
        return reply, None

    def _reply(self, claimed: Claimed, job: Job, handler: Handler, returned: Any) -> bytes:
        if handler.http:
            return self._encode(claimed, http_reply(job, returned))
        return self._encode(claimed, Reply(job.id or "", job.attempt, result=(returned,), encoding=job.encoding))

    @staticmethod
    def _encode(claimed: Claimed, reply: Reply) -> bytes:
        """The frame of a reply, which tells when the job was claimed and how long the work took up to now."""
        reply.claimed_at = claimed.claimed_at
        reply.work_us = int((running_s() - claimed.begun_s) * 1_000_000)
        return reply.encode()

    def _fail(self, claimed: Claimed, job: Job, code: str, message: str, *, retry: bool) -> Settlement:
        """Who waits is told; a background job is tried again later, or given up. What somebody waits for never enters
        ``dead``: it carries cookies."""
        self.report.count("failed")
        if job.reply_to is not None:
            if job.id is None or job.is_expired(self._clock.now_ms()):
                return self._ack(claimed)
            reply = Reply(job.id, job.attempt, error=(code, message), encoding=job.encoding)
            frame = self._encode(claimed, reply)
            return Ack(claimed.source.run_key, claimed.data, job.reply_to, frame, job.deadline)
        if not retry or job.attempt >= job.attempts:
            return self._bury(claimed, job, code, message)
        wait_ms = random.uniform(0, backoff_cap_ms(RETRY_BASE_MS, RETRY_CAP_MS, job.attempt))
        due_ms = self._clock.stamp_ms() + int(wait_ms)
        return self._exchange(claimed, with_attempt(job, job.attempt + 1), due_ms, False)

    def _bury(self, claimed: Claimed, job: Job, code: str, message: str) -> Settlement:
        log.warning("action %s, job %s goes to dead: %s: %s", job.action, job.id, code, message)
        now = self._clock.stamp_ms()
        return self._exchange(claimed, dead_member(job, code, message, now), now, True)

    def _exchange(self, claimed: Claimed, member: bytes, score_ms: int, is_dead: bool) -> Settlement:
        source = claimed.source
        set_key = self._keys.dead(source.queue) if is_dead else self._keys.later(source.queue)
        return Exchange(source.run_key, claimed.data, set_key, member, score_ms, is_dead)
