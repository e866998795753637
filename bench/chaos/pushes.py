"""How a background job comes into its queue: by RPUSH, or by the scripts of the protocol; and how its push ended.

A push ends as ``pushed``, ``refused`` (Redis said an error, so the job is not there), ``not_unique`` (another one holds
its key, so it is not there either), ``unknown`` (the answer was lost: the job is there or not) or ``withheld`` (its
group could not be written, so nobody pushed it). What the protocol lets repeat is repeated: a job that is kept is known
by its record, however often it is pushed.
"""

import asyncio
import json

from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisLate

from chaos.fleet import now_ms
from stage import ROOT

SCRIPTS = {name: (ROOT / f"protocol/scripts/{name}.lua").read_text() for name in ("push", "push_unique")}
RECORD_AGE_MS = 30 * 86_400_000
# How often a push without an answer is repeated at most, and how long after it.
REPEATS, REPEAT_S = 8, 0.15
# Between the pushes of one id.
AGAIN_S = 0.3


async def push(client, order, from_ms):
    """Pushes a background job as its order says. ``from_ms`` is when; its due time counts from there."""
    if order.how == "plain":
        return await _attempt(client.rpush(order.key, frame(order)))
    give, ended = (_open if order.members else _push_unique if order.unique else _push), []
    for _ in range(order.pushes):
        ended += [await give(client, order, from_ms)]
        for _ in range(REPEATS if order.keep_ms else 0):
            if ended[-1][0] != "unknown":
                break
            await asyncio.sleep(REPEAT_S)
            ended += [await give(client, order, from_ms)]
        await asyncio.sleep(AGAIN_S if order.pushes > 1 else 0)
    return verdict(ended)


def verdict(ended):
    """How the pushes of one id ended. What was pushed stays so; and after one without an answer nobody knows: its job
    may have been done before the next one, and have let its key go."""
    known = [how for how in ended if how[0] == "pushed"] or [how for how in ended if how[0] == "unknown"]
    return known[0] if known else ended[-1]


async def _attempt(asked):
    try:
        answer = await asked
    except (RedisGone, RedisLate, OSError):
        return ("unknown",)
    except ResponseError as error:
        return ("refused", 0, str(error))
    except RedisError as error:
        return ("unknown", 0, str(error))
    if isinstance(answer, bytes):
        return ("not_unique", 0, answer.decode())
    return ("pushed",)


async def _open(client, order, from_ms):
    """Writes the group that an order ends. None of its jobs is pushed yet, so this may be repeated."""
    group = f"tempest:{{{order.queue}}}:group:{order.members[0].group}"
    ids = [member.id for member in order.members]
    async with client.pipeline(transaction=True) as pipe:
        about = {"then": frame(order, from_ms), "jobs": json.dumps(ids), "queued_at": from_ms}
        pipe.hset(group, mapping=about).sadd(f"{group}:pending", *ids)
        pipe.pexpire(group, RECORD_AGE_MS).pexpire(f"{group}:pending", RECORD_AGE_MS)
        return await _attempt(pipe.execute())


async def _push(client, order, from_ms):
    keys = [_place(order), _record(order)]
    words = ["", RECORD_AGE_MS, now_ms(), order.lane, "work", _due(order, from_ms), frame(order, from_ms)]
    return await _attempt(client.eval(SCRIPTS["push"], len(keys), *keys, *words))


async def _push_unique(client, order, from_ms):
    """As the script says: who is named holder, and has no record any more, is gone."""
    how = await _ask_unique(client, order, from_ms, "")
    if how[0] == "not_unique":
        how = await _ask_unique(client, order, from_ms, how[2])
    return how


async def _ask_unique(client, order, from_ms, gone):
    record = _record(order)
    holder = f"tempest:{{{order.queue}}}:job:{gone}" if gone else record
    keys = [_place(order), record, f"tempest:{{{order.queue}}}:unique:{order.unique}", holder]
    head = ["", RECORD_AGE_MS, now_ms(), order.lane, "work", _due(order, from_ms)]
    words = [*head, frame(order, from_ms), order.id, RECORD_AGE_MS, gone]
    return await _attempt(client.eval(SCRIPTS["push_unique"], len(keys), *keys, *words))


def frame(order, queued_at=None):
    """The job of an order: the same bytes each time."""
    job = _said(order) | ({"queued_at": queued_at} if queued_at else {})
    if order.unique:
        job |= {"unique": order.unique, "unique_while": order.unique_while}
    if order.group:
        job["group"] = f"{order.queue}:{order.group}"
    if order.then:
        job["then"] = [_said(order.then) | {"args": _args(order.then)}]
    return json.dumps(job | {"args": _args(order)})


def _said(order):
    lane = {} if order.lane == "normal" else {"lane": order.lane}
    keep = {"keep": order.keep_ms} if order.keep_ms else {}
    return {"id": order.id, "action": "work", "attempts": order.attempts, **lane, **keep}


def _args(order):
    return {"id": order.id, "payload": order.payload, "ms": order.ms, "fails": order.fails}


def _due(order, from_ms):
    return from_ms + order.in_ms if order.in_ms else ""


def _place(order):
    return f"tempest:{{{order.queue}}}:later" if order.in_ms else order.key


def _record(order):
    return f"tempest:{{{order.queue}}}:job:{order.id}"
