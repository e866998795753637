"""How a background job ends that has an id: done, put off, or given up, with its record and all that hangs on it, in
one script (SPEC "Background jobs", Run). What is only removed goes without the script, with the ack."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import group, scripts
from .clock import Clock, running_s
from .following import Following, following
from .limits import DEAD_AGE_MS, KEEP_MS, RECORD_AGE_MS
from .link import Link
from .names import Keys
from .onward import push_next
from .scripts import Call
from .settle import Ack, Ending, Exchange, Settlement
from .wire import Job, Reply, dead_member, with_attempt

if TYPE_CHECKING:
    from .desk import Claimed

log = logging.getLogger("tempest")


class Endings:
    """Makes the settlements of claimed jobs."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def done(self, claimed: Claimed, job: Job, reply: bytes) -> Settlement:
        """Of a job whose handler returned. ``reply``: what somebody waits for, or what is kept; empty: nothing.

        Raises :class:`WireError`: what comes next is no job, or its group cannot hold its result.
        """
        said = job.background
        if job.reply_to is not None:
            return Ack(claimed.source.run_key, claimed.data, job.reply_to if reply else None, reply, job.deadline)
        if said is None or said.is_plain:
            return self.ack(claimed, job)
        before = self._before(claimed, job)

        def otherwise(code: str, why: str) -> Ending | Exchange:
            return self.bury(claimed, job, code, why)

        if job.id is None:
            command = ("LREM", claimed.source.run_key, 1, claimed.data)
            return Ending(claimed.source.run_key, claimed.data, command, before=before, otherwise=otherwise)
        now_ms = self._clock.stamp_ms()
        fields = ("state", "done", "done_at", now_ms, "attempt", job.attempt, "work_us", claimed.work_us())
        call = self._settle(claimed, job, fields, lives_ms=min(said.keep, KEEP_MS), reply=reply)
        return Ending(claimed.source.run_key, claimed.data, call, before=before, otherwise=otherwise, size=len(reply))

    def ack(self, claimed: Claimed, job: Job | None) -> Settlement:
        """Of a job of which nothing is left. One that was cancelled leaves its group then."""
        source = claimed.source
        if job is None or job.id is None or job.reply_to is not None:
            return Ack(source.run_key, claimed.data)
        said = job.background
        if said is not None and (said.unique or said.group):
            call, after = self._settle(claimed, job, (), lives_ms=0), self._leaving(job.id, said.group)
            return Ending(source.run_key, claimed.data, call, after=after)
        record, log_key, _ = self._record(source.queue, job.id)
        has_log = claimed.has_log or job.attempt > 1
        gone, begun_s = (record, log_key) if has_log else (record,), claimed.begun_s or running_s()
        return Ack(source.run_key, claimed.data, gone=gone, begun_s=begun_s)

    def put_off(self, claimed: Claimed, job: Job, code: str, message: str, due_ms: int) -> Settlement:
        """Of a job that is tried again."""
        member, set_key = with_attempt(job, job.attempt + 1), self._keys.later(claimed.source.queue)
        if job.id is None:
            return Exchange(claimed.source.run_key, claimed.data, set_key, member, due_ms, False)
        fields = ("state", "later", "due", due_ms, "attempt", job.attempt, "code", code, "message", message)
        call = self._settle(claimed, job, fields, to=(set_key, member, due_ms), lives_ms=RECORD_AGE_MS)
        return Ending(claimed.source.run_key, claimed.data, call, is_over=False)

    def bury(self, claimed: Claimed, job: Job, code: str, message: str) -> Ending | Exchange:
        """Of a job that is given up."""
        log.warning("action %s, job %s goes to dead: %s: %s", job.action, job.id, code, message)
        now_ms, set_key = self._clock.stamp_ms(), self._keys.dead(claimed.source.queue)
        member = dead_member(job, code, message, now_ms)
        if job.id is None:
            return Exchange(claimed.source.run_key, claimed.data, set_key, member, now_ms, True)
        fields = ["state", "dead", "died_at", now_ms, "attempt", job.attempt, "code", code, "message", message]
        fields += ["work_us", claimed.work_us()] if claimed.begun_s else []
        reply = b""
        if job.background is not None and job.background.keep:
            reply = Reply(job.id, job.attempt, error=(code, message), encoding=job.encoding).encode()
        call = self._settle(claimed, job, fields, to=(set_key, member, now_ms), lives_ms=DEAD_AGE_MS, reply=reply)
        return Ending(claimed.source.run_key, claimed.data, call, is_over=False, dead_key=set_key)

    def _record(self, queue: str, job_id: str) -> tuple[str, str, str]:
        record = self._keys.record(queue, job_id)
        return record, f"{record}:log", f"{record}:result"

    def _settle(
        self,
        claimed: Claimed,
        job: Job,
        fields: Any,
        *,
        lives_ms: int,
        to: tuple[str, bytes, int] | None = None,
        reply: bytes = b"",
    ) -> Call:
        """``to``: the set that it goes to, what goes there, and its score."""
        source, job_id = claimed.source, str(job.id)
        record = self._record(source.queue, job_id)
        set_key, member, score = to or (record[0], b"", 0)
        comes_again = to is not None and to[0] == self._keys.later(source.queue)
        unique = None if comes_again else unique_of(job)
        unique_key = record[0] if unique is None else self._keys.unique(source.queue, unique)
        return Call(
            scripts.SETTLE,
            [source.run_key, *record, set_key, unique_key],
            [claimed.data, member, score, reply, lives_ms, "" if unique is None else job_id, *fields],
        )

    def _before(self, claimed: Claimed, job: Job) -> Callable[[Link], None] | None:
        """What comes after the job is in its queue before the job is acked."""
        said, now_ms = job.background, self._clock.stamp_ms()
        next_one = following(job, claimed.result, now_ms, self._keys) if said and said.then else None
        group_name = said.group if said and job.id is not None else None
        if group_name is not None:
            group.check_result(claimed.result_json)
        if next_one is None and group_name is None:
            return None
        return lambda link: self._go_on(link, claimed, next_one, group_name)

    def _go_on(self, link: Link, claimed: Claimed, next_one: Following | None, group_name: str | None) -> None:
        """In this order: what the group cannot hold is dead, and a dead job has its chain with it."""
        job, now_ms = claimed.job, self._clock.stamp_ms()
        if group_name is not None and job is not None:
            group.count(link, self._keys, group_name, str(job.id), claimed.result_json, now_ms)
        if next_one is not None:
            push_next(link, self._keys, next_one.queue or claimed.source.queue, next_one, now_ms)

    def _leaving(self, job_id: str, group_name: str | None) -> Callable[[Link], None] | None:
        """How a job that is gone leaves its group."""
        if group_name is None:
            return None
        return lambda link: group.leave(link, self._keys, group_name, job_id, self._clock.stamp_ms())


def unique_of(job: Job) -> str | None:
    """The key that the job lets go at its end; none: it has none, or one that is held for a time."""
    said = job.background
    return said.unique if said is not None and said.unique_while != "time" else None
