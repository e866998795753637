"""Jobs with a key: only so many of one key run at a time, what is too much is set aside (SPEC "Background jobs")."""

from __future__ import annotations

from typing import Any

from . import scripts
from .desk import has_record
from .errors import Refused, WireError
from .limits import RECORD_AGE_MS
from .link import Link
from .names import Keys
from .presence import Source
from .scripts import Call
from .wire import Job, decode_job


def admit(link: Link, keys: Keys, source: Source, data: bytes, job: Job, key: str) -> bool:
    """Gives whether a claimed job may run; else it has left the run list, and if it was set aside its record says for
    which key. Raises :class:`RedisAway`, :class:`Refused`."""
    slots = [each.decode() for each in link.ask("SMEMBERS", keys.key(source.queue, key))]
    runs = [keys.run_of(source.queue, slot) for slot in slots]
    record = keys.record(source.queue, str(job.id)) if has_record(job) else source.run_key
    args = [source.entry, data, key, RECORD_AGE_MS, *slots]
    answer = _ask(link, Call(scripts.ADMIT, [source.run_key, *_keys(keys, source, key), record, *runs], args))
    return bool(answer == 1)


def release(link: Link, keys: Keys, source: Source, key: str) -> None:
    """Says that a job of this key has left the run list, and returns one that was set aside to its lane. Raises
    :class:`RedisAway`, :class:`Refused`: then a front or supervisor does it."""
    aside, entry = keys.aside(source.queue, key), source.entry
    first = link.ask("LINDEX", aside, 0)
    while True:
        running, asides, limits = keys.key(source.queue, key), keys.asides(source.queue), keys.limits(source.queue)
        lane = _lane(keys, source, first)
        call = Call(scripts.RELEASE, [running, aside, asides, lane, limits], [entry, first or b"", key])
        if _ask(link, call):
            return
        # One may have been set aside since the look.
        seen, first, entry = first, link.ask("LINDEX", aside, 0), ""
        if first is None or first == seen:
            return


def _keys(keys: Keys, source: Source, key: str) -> list[str]:
    queue = source.queue
    return [keys.key(queue, key), keys.aside(queue, key), keys.asides(queue), keys.limits(queue)]


def _lane(keys: Keys, source: Source, data: bytes | None) -> str:
    """Where a job that was set aside belongs."""
    try:
        return keys.lane(source.queue, decode_job(data or b"", keys).lane)
    except WireError:
        return source.lane_key


def _ask(link: Link, call: Call) -> Any:
    answer = scripts.run(link, [call])[0]
    if isinstance(answer, Refused):
        raise answer
    return answer
