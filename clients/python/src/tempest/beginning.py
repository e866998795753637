"""Says in the record of a job that it runs, and where (SPEC "Background jobs", Run)."""

from __future__ import annotations

from . import scripts
from .clock import Clock, running_s
from .errors import TempestError
from .limits import RECORD_AGE_MS
from .link import Link
from .names import Keys
from .scripts import Call
from .wire import Job


def begin(keys: Keys, queue: str, entry: str, job: Job, clock: Clock, begun_s: float, *more: object) -> Call:
    """Says it of a job that was claimed by this ``<worker>.<slot>`` and began then, with ``more`` fields and their
    values; lets its unique key go if it holds it until then."""
    record, said = keys.record(queue, str(job.id)), job.background
    lets_go = said is not None and said.unique is not None and said.unique_while == "queued"
    unique_key = keys.unique(queue, str(said.unique)) if said is not None and lets_go else record
    since = clock.stamp_ms() - int((running_s() - begun_s) * 1000)
    fields = ("worker", entry.rpartition(".")[0], "since", since, "attempt", job.attempt, *more)
    data = b"" if job.frame is None else job.frame.data
    head = (data, RECORD_AGE_MS, str(job.id) if lets_go else "")
    return Call(scripts.BEGIN, [keys.run_of(queue, entry), record, unique_key], [*head, *fields])


def begins(link: Link, call: Call) -> bool:
    """Carries out :func:`begin`. Gives whether the job is still this worker's. Raises :class:`TempestError`."""
    answer = scripts.run(link, [call])[0]
    if isinstance(answer, TempestError):
        raise answer
    return bool(answer)
