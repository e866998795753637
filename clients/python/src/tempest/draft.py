"""A job that is not pushed yet: what to do, and how it is to be treated."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

from .background import HOLDS, Background
from .frame import Encoding
from .limits import KEEP_MS, RECORD_AGE_MS
from .names import check_lane, check_name, new_id
from .wire import Job

When = datetime.datetime | float
"""A time with its zone, or seconds since 1970."""


@dataclass(frozen=True)
class Draft:
    """A background job to be. Push it with :meth:`tempest.Client.push_many`, :meth:`tempest.Client.group`, or as
    ``then`` of another one; :meth:`tempest.Client.push` takes the same words.

    Times are in seconds. Raises ``ValueError`` for words that exclude each other, :class:`WireError` ``bad_name``.
    """

    action: str
    args: Any = None
    _: KW_ONLY
    queue: str | None = None
    """Where it goes; none: to the queue it is pushed to, or to that of the job before it."""
    id: str | None = None
    """Its id; none: a new one. What is pushed twice with one id runs once, as long as there is a record of it."""
    lane: str = "normal"
    attempts: int = 0
    """How often it may be started; 0: 3."""
    encoding: Encoding = "json"
    in_s: float | None = None
    """It runs so long after it was pushed."""
    at: When | None = None
    """It runs at this time, by the clock of Redis."""
    ttl_s: float | None = None
    """So long after it was pushed, or was due, it is not started any more: it goes to ``dead`` as ``expired``."""
    keep_s: float = 0
    """How long its record and result are kept after its end, at most 30 days."""
    unique: str | None = None
    """No other job with this key is pushed to its queue while this one holds it."""
    unique_while: str = "running"
    """How long it does: ``queued`` (until it starts), ``running`` (until it is done or dead), ``time``
    (``unique_s``)."""
    unique_s: float | None = None
    """How long it does at most; 30 days if nothing is said."""
    key: str | None = None
    """Jobs of a queue with the same key run only so many at a time as its limits say, one if they say nothing."""
    then: Draft | Sequence[Draft] = ()
    """What comes one after the other when it is done. Each gets the result of the one before as ``context.input``."""

    def __post_init__(self) -> None:
        check_name("action", self.action)
        check_lane(self.lane)
        for kind, name in (("queue", self.queue), ("id", self.id), ("key", self.unique), ("key", self.key)):
            if name is not None:
                check_name(kind, name)
        if self.in_s is not None and self.at is not None:
            raise ValueError("a job runs in_s seconds from now or at a time, not both")
        if isinstance(self.at, datetime.datetime) and self.at.tzinfo is None:
            raise ValueError(f"{self.at} has no time zone: which moment it means is not known")
        self._check_unique()
        object.__setattr__(self, "then", (self.then,) if isinstance(self.then, Draft) else tuple(self.then))

    def _check_unique(self) -> None:
        if self.unique_while not in HOLDS:
            raise ValueError(f"unique_while is queued, running or time, not {self.unique_while!r}")
        if self.unique_while == "time" and self.unique_s is None:
            raise ValueError("a key that is held for a time needs unique_s")

    @property
    def unique_ms(self) -> int:
        """How long it holds its unique key at most."""
        return RECORD_AGE_MS if self.unique_s is None else max(1, int(self.unique_s * 1000))

    def due_ms(self, now_ms: int) -> int | None:
        """When it runs, in milliseconds of Redis time; none: now."""
        if self.at is not None:
            at_s = self.at.timestamp() if isinstance(self.at, datetime.datetime) else self.at
            return int(at_s * 1000)
        return None if self.in_s is None else now_ms + int(self.in_s * 1000)

    def job(self, now_ms: int, *, traceparent: str | None = None, group: str | None = None) -> Job:
        """The job as it is pushed now."""
        begins = self.due_ms(now_ms) or now_ms
        return Job(
            action=self.action,
            args=self.args,
            id=self.id or new_id(),
            attempts=self.attempts,
            deadline=0 if self.ttl_s is None else begins + int(self.ttl_s * 1000),
            lane=self.lane,
            queued_at=now_ms,
            traceparent=traceparent,
            background=self._background(group),
            encoding=self.encoding,
        )

    def _background(self, group: str | None) -> Background | None:
        if not (self.keep_s or self.unique or self.key or self.then or group):
            return None
        return Background(
            keep=min(KEEP_MS, int(self.keep_s * 1000)),
            unique=self.unique,
            unique_while=self.unique_while if self.unique else "running",
            key=self.key,
            group=group,
            then=[each.as_next() for each in self._then] or None,
        )

    @property
    def _then(self) -> tuple[Draft, ...]:
        assert isinstance(self.then, tuple)
        return self.then

    def as_next(self) -> dict[str, Any]:
        """The map that stands for it in the ``then`` of the job before it. Raises ``ValueError`` for what only a job
        can have that is pushed now."""
        if self.in_s is not None or self.at is not None or self.ttl_s is not None:
            raise ValueError(f"{self.action} comes when the one before it is done: it has no time of its own")
        if self.unique is not None or self._then:
            raise ValueError(f"{self.action} comes after another job: it has neither unique nor then of its own")
        fields = self.job(0).fields()
        del fields["queued_at"]
        return {**fields, "queue": self.queue} if self.queue is not None else fields


def chain(*drafts: Draft) -> Draft:
    """One draft of several: the first, with the others as its ``then``. Raises ``ValueError`` for none at all."""
    if not drafts:
        raise ValueError("a chain has at least one job")
    return replace(drafts[0], then=drafts[1:])
