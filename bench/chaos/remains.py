"""What is left in Redis when the faults are over: jobs that wait to be done, and those that were given up."""

import asyncio
import json
import time
from dataclasses import dataclass

import msgpack
from redis.exceptions import RedisError

from chaos.orders import QUEUES

DRAIN_S = 150
PAUSE_S = 0.2


@dataclass(frozen=True)
class Dead:
    """An entry of ``dead``."""

    id: str
    code: str
    message: str
    attempt: int
    payload: str
    died_ms: int = 0


async def drained(client, patience_s=DRAIN_S):
    """Waits until no job waits, runs or is to come; gives the ids of those that still do when patience ends."""
    end = time.monotonic() + patience_s
    while True:
        try:
            left = await waiting(client)
        except (RedisError, OSError):
            left = None
        if left == [] or time.monotonic() > end:
            return left
        await asyncio.sleep(PAUSE_S)


async def waiting(client):
    """The ids of jobs in lanes, run lists and ``later``."""
    frames = []
    for queue in QUEUES:
        key = f"tempest:{{{queue}}}"
        for lane in (key, f"{key}:high", f"{key}:low"):
            frames += await client.lrange(lane, 0, -1)
        for run in await client.keys(f"{key}:run:*"):
            frames += await client.lrange(run, 0, -1)
        frames += await client.zrange(f"{key}:later", 0, -1)
    return [_id(frame) for frame in frames]


async def dead(client):
    """The entries of ``dead`` by id. Those without a readable id are under the empty one."""
    found = {}
    for queue in QUEUES:
        for member in await client.zrange(f"tempest:{{{queue}}}:dead", 0, -1):
            entry = _dead(member)
            found.setdefault(entry.id, []).append(entry)
    return found


def _id(frame):
    """The order's id: that of a background job is its own, that of a request stands in its target."""
    try:
        job = msgpack.unpackb(frame) if frame[:1] > b"\x7f" else json.loads(frame)
        url = (job.get("args") or {}).get("url") if job.get("action") == "url" else None
        return url.partition("?")[0].rsplit("/", 1)[1] if url else job.get("id", "")
    except (ValueError, AttributeError, IndexError):
        return ""


def _dead(member):
    try:
        job = json.loads(member)
        error, args = job["error"], job.get("args") or {}
        words = (str(error["code"]), str(error.get("message", "")))
        numbers = (int(job.get("attempt", 1)), str(args.get("payload", "")), int(job.get("died_at", 0)))
        return Dead(str(job.get("id", "")), *words, *numbers)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Dead("", "unreadable", repr(member[:80]), 0, "")
