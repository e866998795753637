"""What is known of a background job: its record, its log, and what came out of it (SPEC "Background jobs")."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .bus import Bus
from .errors import CallFailed, NoSuchJob
from .limits import BLOCK_ANSWER_S, BLOCK_S
from .link import Link
from .names import check_name
from .wire import Reply, decode_reply


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


@dataclass(frozen=True)
class Record:
    """Where a job is and how it fares. Times are milliseconds of Redis time; what is not known is none."""

    id: str
    state: str
    """``waiting``, ``running``, ``later``, ``done`` or ``dead``."""
    action: str | None = None
    lane: str | None = None
    key: str | None = None
    """The key for which it was set aside, now or before."""
    queued_at: int | None = None
    due: int | None = None
    """When it runs (again), of one that is put off."""
    worker: str | None = None
    since: int | None = None
    """Since when that worker runs it."""
    attempt: int | None = None
    code: str | None = None
    message: str | None = None
    """How its last start failed."""
    died_at: int | None = None
    done_at: int | None = None
    work_us: int | None = None
    """How long the handler took."""
    progress: Any = None
    """What the handler told of its progress last."""
    others: Mapping[str, str] = field(default_factory=dict)
    """Fields that this version does not know."""

    @property
    def is_over(self) -> bool:
        """Tells whether it is done or dead."""
        return self.state in ("done", "dead")


def record_of(job_id: str, pairs: list[bytes]) -> Record:
    """Reads a record from its names and values."""
    texts = [each.decode(errors="replace") for each in pairs]
    found = dict(zip(texts[::2], texts[1::2], strict=True))
    known: dict[str, Any] = {name: found.pop(name) for name in _TEXTS if name in found}
    known |= {name: _integer(found.pop(name)) for name in _INTEGERS if name in found}
    if "progress" in found:
        known["progress"] = _json(found.pop("progress"))
    return Record(**{"state": "", **known, "id": job_id, "others": found})


_TEXTS = ("state", "action", "lane", "key", "worker", "code", "message")
_INTEGERS = ("queued_at", "due", "since", "attempt", "died_at", "done_at", "work_us")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class Records:
    """Looks at the jobs of a cluster."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def record(self, queue: str, job_id: str) -> Record | None:
        """The record of a job; none: there is none."""
        pairs = self._bus.ask_again("HGETALL", self._bus.keys.record(*_checked(queue, job_id)))
        return record_of(job_id, pairs) if pairs else None

    def log(self, queue: str, job_id: str) -> list[str]:
        """The lines that it wrote, the oldest first."""
        lines = self._bus.ask_again("LRANGE", self._bus.keys.log(*_checked(queue, job_id)), 0, -1)
        return [line.decode(errors="replace") for line in lines]

    def result(self, queue: str, job_id: str, timeout_s: float) -> Any:
        """What came out of a job that keeps it; see :meth:`tempest.Client.result`."""
        key = self._bus.keys.result(*_checked(queue, job_id))
        found = self._bus.ask_again("LINDEX", key, 0)
        if found is None:
            found = self._wait(queue, job_id, key, timeout_s)
        return value_of(decode_reply(found))

    def _wait(self, queue: str, job_id: str, key: str, timeout_s: float) -> bytes:
        """A blocking look on a connection of its own: the result stays for the next one."""
        until = time.monotonic() + timeout_s
        found = self._final(queue, job_id)
        if found is not None:
            return found
        if timeout_s <= 0:
            raise CallFailed("timeout", "it is not done yet")
        link = self._bus.place.open(BLOCK_ANSWER_S)
        try:
            return self._look(link, key, until, lambda: self._final(queue, job_id))
        finally:
            link.close()

    @staticmethod
    def _look(link: Link, key: str, until: float, final: Callable[[], bytes | None]) -> bytes:
        while (left := until - time.monotonic()) > 0:
            block_s = max(0.01, min(BLOCK_S, left))
            found: bytes | None = link.ask("BLMOVE", key, key, "LEFT", "LEFT", block_s) or final()
            if found is not None:
                return found
        raise CallFailed("timeout", "it was not done in time")

    def _final(self, queue: str, job_id: str) -> bytes | None:
        """None while the job lives. Raises what is to be said of one that has ended and keeps no result."""
        record = self.record(queue, job_id)
        if record is not None and not record.is_over:
            return None
        found: bytes | None = self._bus.ask_again("LINDEX", self._bus.keys.result(queue, job_id), 0)
        if found is None and record is not None and record.state == "dead":
            raise CallFailed(record.code or "handler_error", record.message or "it is dead")
        if found is None:
            raise NoSuchJob(queue, job_id)
        return found


def _checked(queue: str, job_id: str) -> tuple[str, str]:
    return check_name("queue", queue), check_name("id", job_id)


def value_of(reply: Reply) -> Any:
    """The result of a reply; of an HTTP reply the reply itself. Raises :class:`CallFailed` for an error."""
    if reply.error is not None:
        raise CallFailed(*reply.error)
    return reply if reply.result is None else reply.result[0]
