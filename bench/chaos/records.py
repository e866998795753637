"""What Redis still says of background jobs when all is over, and whether it is so.

Only of the queue of the SDKs: a worker of tier L1 leaves the record of its job as it was.
"""

import json
from dataclasses import dataclass, field

from chaos.crew import SDK

OVER = {"done", "dead"}


@dataclass(frozen=True)
class Left:
    """States of the records and the results, both by id; the unique keys that somebody holds; and the groups that are
    there still."""

    states: dict = field(default_factory=dict)
    results: dict = field(default_factory=dict)
    held: tuple = ()
    groups: tuple = ()


async def read(client):
    """All that is left."""
    head = f"tempest:{{{SDK}}}:job:"
    keys = [key.decode() async for key in client.scan_iter(f"{head}*", count=1_000)]
    names = [key.removeprefix(head) for key in keys]
    states, results = {}, {}
    for key, name in zip(keys, names, strict=True):
        if name.endswith(":result"):
            results[name.removesuffix(":result")] = _result(await client.lrange(key, 0, -1))
        elif not name.endswith(":log"):
            states[name] = (await client.hget(key, "state") or b"").decode()
    held = [key.decode() async for key in client.scan_iter(f"tempest:{{{SDK}}}:unique:*", count=1_000)]
    of_groups = [key.decode() async for key in client.scan_iter(f"tempest:{{{SDK}}}:group:*", count=1_000)]
    groups = sorted({key.split(":")[3] for key in of_groups})
    return Left(states, results, tuple(sorted(key.rsplit(":", 1)[1] for key in held)), tuple(groups))


def _result(replies):
    """What one reply says: the result, or the code of its error; anything else in words."""
    try:
        [reply] = map(json.loads, replies)
        return reply["result"] if "result" in reply else {"code": reply["error"]["code"]}
    except (ValueError, KeyError, TypeError) as error:
        return f"no reply: {error}"


def judge(cases, known):
    """Whatever is wrong with what is left, a line each. ``cases`` are those of the orders, by id."""
    left = known.left
    for name, state in left.states.items():
        if name in known.waiting:
            continue
        case = cases.get(name)
        if state not in OVER:
            yield f"{name}: its record says {state or 'nothing'}, and nobody has it"
        elif state == "dead" and name not in known.dead:
            yield f"{name}: its record says dead, and it is not in dead"
        elif state == "done" and not (case and case.order.keep_ms):
            yield f"{name}: nothing of it is kept, and its record is there"
    for key in left.held:
        yield f"{key}: this unique key is held, and nobody holds it"
    for case in cases.values() if not known.forgetful_ms else ():
        if case.is_done and case.order.members and case.order.members[0].group in left.groups:
            yield f"{case.order.id}: it has ended its group, which is there still"
        if case.order.keep_ms and case.order.queue == SDK and (case.is_done or case.dead):
            yield from _judge_kept(case, left)


def _judge_kept(case, left):
    order, state = case.order, left.states.get(case.order.id)
    if state != ("dead" if case.dead else "done"):
        yield f"{order.id}: what came of it is kept, and its record says {state or 'nothing: there is none'}"
    # Who died with its worker has said nothing.
    wanted = {"code": "handler_error"} if case.dead else result(order)
    if not (case.dead and case.dead[0].code == "worker_lost") and left.results.get(order.id) != wanted:
        yield f"{order.id}: its result is {left.results.get(order.id)!r}"


def result(order):
    """What comes out of an order: its id, and what came out of the one before it, or of those of its group."""
    before = order.after or "+".join(member.id for member in order.members)
    return f"{order.id} after {before}" if before else order.id
