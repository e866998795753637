"""Several jobs, and one that comes when all are done (SPEC "Groups"): how a caller makes a group, and how a worker
counts its own job."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import frame, pushing, scripts
from .bus import Bus
from .draft import Draft
from .errors import Refused, WireError
from .following import completing
from .limits import GROUP_JOBS_MAX, GROUP_RESULTS_BYTES_MAX, RECORD_AGE_MS
from .link import Command, Link
from .names import Keys, check_name, new_id
from .pushing import Pusher
from .scripts import Call

log = logging.getLogger("tempest")

_NO_ROOM = -2
"""What the script ``count`` gives when a result does not fit."""


@dataclass(frozen=True)
class Group:
    """A group that was pushed."""

    id: str
    jobs: list[str]
    """The ids of its jobs, in their order."""
    then: str
    """The id of the job that comes when all are done; its ``context.input`` is the list of their results."""
    queue: str
    """Where that one goes."""


def push_group(pusher: Pusher, bus: Bus, queue: str, drafts: Sequence[Draft], then: Draft) -> Group:
    """Writes the group, then pushes its jobs. Raises ``ValueError``, and what :meth:`Pusher.push_many` raises: then
    there is no group."""
    if not 1 <= len(drafts) <= GROUP_JOBS_MAX:
        raise ValueError(f"a group has 1 to {GROUP_JOBS_MAX} jobs, not {len(drafts)}")
    if then.unique is not None or then.in_s is not None or then.at is not None or then.encoding != "json":
        raise ValueError("the job that ends a group is in JSON, has no unique key, and comes when all others are done")
    if pushing.stand_in is not None:
        raise NotImplementedError("groups need a Redis")
    drafts = [replace(draft, id=draft.id or new_id()) for draft in drafts]
    ids = [str(draft.id) for draft in drafts]
    group = Group(new_id(), ids, then.id or new_id(), check_name("queue", then.queue or queue))
    last = replace(then, id=group.then, queue=None).job(pusher.now_ms())
    _write(bus, group, last.encode(), int(last.queued_at or 0))
    try:
        pusher.push_many(queue, drafts, group=f"{group.queue}:{group.id}")
    except BaseException:
        bus.ask_again("UNLINK", bus.keys.group(group.queue, group.id), bus.keys.pending(group.queue, group.id))
        raise
    return group


def _write(bus: Bus, group: Group, then: bytes, now_ms: int) -> None:
    key, pending = bus.keys.group(group.queue, group.id), bus.keys.pending(group.queue, group.id)
    answers = bus.ask_all(
        ("MULTI",),
        ("HSET", key, "then", then, "jobs", json.dumps(group.jobs), "queued_at", now_ms),
        ("SADD", pending, *group.jobs),
        ("PEXPIRE", key, RECORD_AGE_MS),
        ("PEXPIRE", pending, RECORD_AGE_MS),
        ("EXEC",),
    )
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer


def count(link: Link, keys: Keys, group: str, job_id: str, result: bytes, now_ms: int) -> None:
    """Counts a job as done with a result in JSON, and pushes what comes when it was the last one. May be done twice.

    Raises :class:`RedisAway`, :class:`Refused`; :class:`WireError` ``too_large``: with this one the results of the
    group would have more than they may, and it is not counted.
    """
    answer = _NO_ROOM
    if len(result) <= GROUP_RESULTS_BYTES_MAX:
        answer = _run(link, Call(scripts.COUNT, _keys(keys, group), [job_id, result, GROUP_RESULTS_BYTES_MAX]))
    if answer == _NO_ROOM:
        of = f"group {group}, whose results may have {GROUP_RESULTS_BYTES_MAX} together"
        raise WireError("too_large", f"its result of {len(result)} bytes does not fit into {of}")
    if answer == 0:
        _complete(link, keys, group, now_ms)


def leave(link: Link, keys: Keys, group: str, job_id: str, now_ms: int) -> None:
    """Counts a job that was removed as over, with null among the results, and pushes what comes when it was the last
    one. To be done after its removal; may be done twice. Raises :class:`RedisAway`, :class:`Refused`."""
    pending = _keys(keys, group)[1]
    answers = link.ask_all([("SREM", pending, job_id), ("SCARD", pending)])
    for answer in answers:
        if isinstance(answer, Refused):
            raise answer
    if answers[1] == 0:
        _complete(link, keys, group, now_ms)


def check_result(result: bytes) -> None:
    """Raises :class:`WireError` if a result in JSON cannot stand in the job that ends a group."""
    frame.read(b'{"input":[' + result + b"]}", "input")


def _complete(link: Link, keys: Keys, group: str, now_ms: int) -> None:
    """Pushes what ends a group, unless somebody else is quicker."""
    queue, three = group.partition(":")[0], _keys(keys, group)
    then, jobs = link.ask("HMGET", three[0], "then", "jobs")
    if then is None or jobs is None:
        return
    results = link.ask("HMGET", three[2], *json.loads(jobs))
    try:
        last = completing(then, results, now_ms, keys).job
    except WireError as error:
        log.error("group %s: what comes when it is done is no job: %s", group, error)
        return
    data = last.frame.data if last.frame is not None else then
    fields = ["action", last.action, "lane", last.lane, "queued_at", now_ms]
    to = [keys.lane(queue, last.lane), keys.record(queue, str(last.id))]
    _run(link, Call(scripts.COMPLETE, [*three, *to], [data, RECORD_AGE_MS, *fields]))
    link.ask_all([_known(keys, queue)])


def _keys(keys: Keys, group: str) -> list[str]:
    """Where a group ``<queue>:<group>`` lies: itself, those of its jobs that are not done, their results."""
    queue, _, name = group.partition(":")
    return [keys.group(queue, name), keys.pending(queue, name), keys.results(queue, name)]


def _known(keys: Keys, queue: str) -> Command:
    return ("SADD", keys.queues(), queue)


def _run(link: Link, call: Call) -> Any:
    answer = scripts.run(link, [call])[0]
    if isinstance(answer, Refused):
        raise answer
    return answer
