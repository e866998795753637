"""A caller: pushes jobs, waits for replies, publishes events."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from . import pushing, settings
from .bus import Bus
from .clock import Clock
from .draft import Draft, When
from .errors import CallFailed, WireError
from .frame import Encoding
from .group import Group, push_group
from .http import Request
from .limits import BACKLOG_JOBS_MAX
from .link import Place
from .mailbox import Mailbox, Received
from .names import Keys, check_lane, check_name, new_id
from .pushing import Pusher
from .record import Record, Records, value_of
from .wire import Job, Reply


class Client:
    """Talks to a cluster. Threads may share one. Use it in a ``with``, or call :meth:`close`.

    ``url``, ``prefix`` and ``topic_prefix`` default to ``TEMPEST_REDIS_URL``, ``TEMPEST_PREFIX`` and
    ``TEMPEST_TOPIC_PREFIX``. ``lane_jobs_max`` is how many jobs may wait in a lane that this client pushes to; 0: any
    number.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        topic_prefix: str | None = None,
        lane_jobs_max: int = BACKLOG_JOBS_MAX,
    ) -> None:
        keys = Keys(settings.prefix(prefix))
        self._bus = Bus(Place(settings.redis_url(url)), keys, settings.topic_prefix(topic_prefix))
        self._clock = Clock()
        self._pusher = Pusher(self._bus, self._clock, lane_jobs_max)
        self._records = Records(self._bus)
        self._lock = threading.Lock()
        self._mailbox: Mailbox | None = None

    @property
    def bus(self) -> Bus:
        """What it asks Redis with, for what it has no method for."""
        return self._bus

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
        """Pushes a background job and gives its id; the words are those of :class:`tempest.Draft`.

        A push whose answer was lost is sent once more: a job with an id is pushed once. Raises :class:`WireError`
        (``bad_name``, or ``args`` without a form in ``encoding``), ``ValueError``, :class:`QueueFull`,
        :class:`NotUnique`, :class:`RedisAway` (whether it was pushed may be unknown), :class:`Refused`.
        """
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
        return self._pusher.push(queue, draft)

    def push_many(self, queue: str, drafts: Sequence[Draft]) -> list[str]:
        """Pushes several jobs in one round trip, in their order, and gives their ids.

        Raises what :meth:`push` raises; ``ValueError`` if one has a unique key or another queue. :class:`QueueFull`
        tells which were pushed.
        """
        return self._pusher.push_many(queue, drafts)

    def group(self, queue: str, drafts: Sequence[Draft], then: Draft) -> Group:
        """Pushes up to 10,000 jobs, and ``then`` when all of them are over: its ``context.input`` is the list of their
        results, in this order, which have at most 16 MiB together; of a job that somebody has removed it is None. A
        dead job keeps ``then`` waiting, 30 days at most, until somebody has it run again or deletes it.

        Raises what :meth:`push_many` raises; then ``then`` never comes, but jobs may have been pushed.
        """
        return push_group(self._pusher, self._bus, queue, drafts, then)

    def job(self, queue: str, id: str) -> Record | None:
        """What is known of a background job; none: it never was, or it has ended and nothing of it is kept.

        Raises :class:`RedisAway`, :class:`Refused`.
        """
        return self._records.record(queue, id)

    def log(self, queue: str, id: str) -> list[str]:
        """The lines that a job wrote with :meth:`tempest.Context.log`: the last 1,000, the oldest first."""
        return self._records.log(queue, id)

    def result(self, queue: str, id: str, timeout_s: float = 0) -> Any:
        """What came out of a job that was pushed with ``keep_s``; waits so long for it. It stays for the next one.

        Raises :class:`CallFailed` with the code of the job's error if it is dead, or ``timeout``; :class:`NoSuchJob`
        if there is no record of it, or it is done and kept nothing; :class:`RedisAway`, :class:`Refused`.
        """
        if pushing.stand_in is not None:
            return pushing.stand_in.result(queue, id)
        return self._records.result(queue, id, timeout_s)

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
        args = args.encode(encoding) if isinstance(args, Request) else args
        job = Job(check_name("action", action), args, lane=check_lane(lane), encoding=encoding)
        if pushing.stand_in is not None:
            return pushing.stand_in.call(queue, job)
        mailbox = self._opened()
        job = replace(
            job, id=new_id(), reply_to=mailbox.key, attempts=attempts or 1, deadline=self._deadline(timeout_s)
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
        return value_of(reply)

    def _deadline(self, timeout_s: float) -> int:
        return self._pusher.now_ms() + int(timeout_s * 1000)

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
