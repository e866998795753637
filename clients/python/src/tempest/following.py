"""The job that comes when another one is done, and the one that ends a group (SPEC "Chains", "Groups"). Made of bytes:
what nobody changes stays as its pusher wrote it."""

from __future__ import annotations

from dataclasses import dataclass

from . import frame, lists
from .errors import WireError
from .fields import Fields
from .names import Keys, check_name
from .wire import Job, decode_job


@dataclass(frozen=True)
class Following:
    """The job that comes next. ``queue``: where it goes; none: to the queue of the one before it."""

    queue: str | None
    data: bytes
    job: Job


def following(job: Job, result: bytes, now_ms: int, keys: Keys) -> Following | None:
    """What comes after a job that is done with a result in the job's own encoding; none: nothing does.

    Raises :class:`WireError`: what comes next is no job.
    """
    then = job.frame.last("then") if job.frame is not None else None
    if job.frame is None or then is None or not then.value:
        return None
    first, *rest = lists.items(job.frame.data[then.start : then.end], job.encoding)
    read = frame.read(first, "args")
    front = {"input": result, "queued_at": frame.write(job.encoding, now_ms)}
    if rest:
        front["then"] = lists.list_of(rest, job.encoding)
    queue = Fields(read.values, "bad_job").text("queue")
    data = frame.remade(read, front, ("queue", "then"))
    return Following(None if queue is None else check_name("queue", queue), data, decode_job(data, keys))


def completing(data: bytes, results: list[bytes | None], now_ms: int, keys: Keys) -> Following:
    """The job ``data`` that ends a group, with the results of its jobs in their order as ``input``: JSON texts, null
    where there is none. Raises :class:`WireError`: it is no job."""
    read = frame.read(data, "args")
    if read.encoding != "json":
        raise WireError("bad_job", "the job that ends a group is in JSON")
    results_list = lists.list_of([each or b"null" for each in results], "json")
    front = {"input": results_list, "queued_at": frame.write("json", now_ms)}
    whole = frame.remade(read, front)
    return Following(None, whole, decode_job(whole, keys))
