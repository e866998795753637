"""Pushes the job that comes when another one is done (SPEC "Chains")."""

from __future__ import annotations

import logging

from . import scripts
from .errors import Refused
from .following import Following
from .limits import RECORD_AGE_MS
from .link import Command, Link
from .names import Keys
from .scripts import Call

log = logging.getLogger("tempest")


def push_next(link: Link, keys: Keys, queue: str, following: Following, now_ms: int) -> None:
    """Once, if the job has an id. There is always room: the job before it has just left. Raises :class:`RedisAway`,
    :class:`Refused`."""
    answers = scripts.run(link, [("SADD", keys.queues(), queue), _push(keys, queue, following, now_ms)])
    if isinstance(answers[1], Refused):
        raise answers[1]
    if isinstance(answers[1], bytes):
        log.warning("job %s does not come: job %s holds its unique key", following.job.id, answers[1].decode())


def _push(keys: Keys, queue: str, following: Following, now_ms: int) -> Call | Command:
    job, data = following.job, following.data
    lane, said = keys.lane(queue, job.lane), job.background
    if job.id is None:
        return ("RPUSH", lane, data)
    record = keys.record(queue, job.id)
    head = ("", RECORD_AGE_MS, now_ms, job.lane, job.action, "", data)
    if said is None or said.unique is None:
        return Call(scripts.PUSH, [lane, record], head)
    holder = f"!{job.id}" if said.unique_while == "time" else job.id
    return Call(
        scripts.PUSH_UNIQUE,
        [lane, record, keys.unique(queue, said.unique), record],
        [*head, holder, RECORD_AGE_MS, ""],
    )
