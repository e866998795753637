"""A caller: pushes jobs, waits for replies, publishes events."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from typing import Any

from . import settings
from .bus import Bus
from .clock import Clock
from .context import push
from .errors import CallFailed, WireError
from .frame import Encoding
from .http import Request
from .limits import BLOCK_ANSWER_S
from .link import Place, open_within
from .mailbox import Mailbox, Received
from .names import Keys, check_lane, check_name, new_id
from .wire import Job, Reply


class Client:
    """Talks to a cluster. Threads may share one. Use it in a ``with``, or call :meth:`close`.

    ``url``, ``prefix`` and ``topic_prefix`` default to ``TEMPEST_REDIS_URL``, ``TEMPEST_PREFIX`` and
    ``TEMPEST_TOPIC_PREFIX``.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        topic_prefix: str | None = None,
    ) -> None:
        keys = Keys(settings.prefix(prefix))
        self._bus = Bus(Place(settings.redis_url(url)), keys, settings.topic_prefix(topic_prefix))
        self._clock = Clock()
        self._lock = threading.Lock()
        self._mailbox: Mailbox | None = None

    def push(
        self,
        queue: str,
        action: str,
        args: Any = None,
        *,
        lane: str = "normal",
        attempts: int = 0,
        encoding: Encoding = "json",
    ) -> str:
        """Pushes a job nobody waits for, and gives its new id. ``attempts`` is how often it may be started (0: 3).

        Raises :class:`WireError` (``bad_name``, or ``args`` without a form in ``encoding``), :class:`QueueFull`,
        :class:`RedisAway` (whether it was pushed may be unknown), :class:`Refused`.
        """
        return push(self._bus, queue, action, args, lane=lane, attempts=attempts, encoding=encoding)

    def publish(self, topic: str, payload: Any) -> int:
        """Publishes a live event; see :meth:`tempest.bus.Bus.publish`."""
        return self._bus.publish(topic, payload)

    def call(
        self,
        queue: str,
        action: str,
        args: Any = None,
        *,
        timeout_s: float = 30.0,
        lane: str = "normal",
        attempts: int = 0,
        encoding: Encoding = "json",
    ) -> Any:
        """Pushes a job and waits for its ``result``; of an HTTP reply it gives the :class:`Reply`.

        A :class:`Request` as ``args`` makes it an HTTP job. ``attempts`` is how often the job may be started (0: once).
        Raises :class:`CallFailed` with the code of the job's error, or ``timeout`` after ``timeout_s``, the job then
        being cancelled; and what :meth:`push` raises.
        """
        mailbox = self._opened()
        job = Job(
            action=check_name("action", action),
            args=args.encode(encoding) if isinstance(args, Request) else args,
            id=new_id(),
            reply_to=mailbox.key,
            attempts=attempts,
            deadline=self._deadline(timeout_s),
            lane=check_lane(lane),
            encoding=encoding,
        )
        replies = mailbox.expect(str(job.id))
        try:
            depth = self._bus.push(queue, job)
            reply = _gather(replies, timeout_s)
            if reply is None:
                self._bus.cancel(queue, job, depth)
                raise CallFailed("timeout", f"no reply within {timeout_s:g} s")
        finally:
            mailbox.forget(str(job.id))
        return _value(reply)

    def _deadline(self, timeout_s: float) -> int:
        if self._clock.is_stale():
            link = open_within(self._bus.place, BLOCK_ANSWER_S)
            self._clock.learn(link)
            link.close()
        return self._clock.stamp_ms() + int(timeout_s * 1000)

    def _opened(self) -> Mailbox:
        with self._lock:
            if self._mailbox is None:
                self._mailbox = Mailbox(self._bus)
            return self._mailbox

    def close(self) -> None:
        """Closes the connections and removes the mailbox."""
        with self._lock:
            mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            mailbox.close()
        self._bus.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _gather(replies: queue.SimpleQueue[Received], timeout_s: float) -> Reply | None:
    """Waits for the final reply, putting parts together; none if it does not come in time."""
    until = time.monotonic() + timeout_s
    first: Reply | None = None
    parts: dict[int, Reply] = {}
    while True:
        try:
            received = replies.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return None
        if isinstance(received, WireError):
            raise CallFailed("bad_reply", received.detail)
        if received.seq is None or received.error is not None:
            return received
        if first is not None and received.attempt != first.attempt:
            raise CallFailed("worker_lost", "the reply broke off in the middle")
        first = first or received
        parts[received.seq] = received
        last = next((part for part in parts.values() if not part.more), None)
        if last is not None and last.seq is not None and len(parts) == last.seq + 1:
            ordered = [parts[seq] for seq in sorted(parts)]
            return replace(ordered[0], more=False, seq=None, body=b"".join(part.body for part in ordered))


def _value(reply: Reply) -> Any:
    if reply.error is not None:
        raise CallFailed(*reply.error)
    return reply if reply.result is None else reply.result[0]
