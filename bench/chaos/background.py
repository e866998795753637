"""Background jobs of every kind, made of the seed: delayed, unique, pushed twice, chains, and groups.

Those that are looked at by their records and unique keys go to the queue of the SDKs: a worker of tier L1 lets no
unique key go, and leaves the record of its job as it was (protocol/SPEC.md, Background jobs).
"""

import random

from chaos.crew import PLAIN, SDK
from chaos.orders import Order, payload

# How many of each there are for each job that is only pushed. Of unique ones that many are asked for at a time.
DELAYED, TWICE, CHAINS, ROUNDS, GROUPS = 0.2, 0.1, 0.06, 0.1, 0.04
DELAY_MS = (200, 8_000)
# Long enough that all that is kept is there at the end of the longest run.
KEEP_MS = 6 * 3_600_000
KEYS = 5
# Pushes of one key come at once, and some when the first of them waits, runs, or is done.
AT_ONCE_S, LATER_S = 0.02, 1.2
PAYLOAD_CHARACTERS_MAX = 400


def background(seed, seconds, jobs_per_s):
    """All of them, in no order. Nobody asks for anything after ``seconds``."""
    draw = random.Random(f"background {seed}")
    made = []
    kinds = ((DELAYED, _delayed), (TWICE, _twice), (CHAINS, _chain), (ROUNDS, _round), (GROUPS, _group))
    for share, make in kinds:
        count = int(seconds * jobs_per_s * share)
        for number in range(count):
            made += make(draw, seed, round(number * seconds / count, 4), number)
    return made


def _job(draw, seed, at_s, name, **more):
    ms = draw.randint(0, 20) if draw.random() < 0.4 else draw.randint(100, 500)
    made = {"queue": SDK, "payload": payload(draw, seed, name, PAYLOAD_CHARACTERS_MAX), "ms": ms}
    made |= {"attempts": draw.choice((1, 2, 3, 5)), "fails": draw.choice((0, 0, 0, 0, 0, 1))}
    return Order(at_s, name, "job", **{**made, **more})


def _delayed(draw, seed, at_s, number):
    queue, in_ms, keep_ms = draw.choice((SDK, SDK, PLAIN)), draw.randint(*DELAY_MS), draw.choice((0, KEEP_MS))
    plain = {"queue": PLAIN, "fails": 0} if queue == PLAIN else {}
    yield _job(draw, seed, at_s, f"delayed{number}", how="delayed", in_ms=in_ms, keep_ms=keep_ms, **plain)


def _twice(draw, seed, at_s, number):
    """What is kept is known as long, so that a second push finds it whenever it comes."""
    yield _job(draw, seed, at_s, f"twice{number}", how="twice", pushes=draw.choice((2, 3)), keep_ms=KEEP_MS)


def _chain(draw, seed, at_s, number):
    """Two jobs; the second is pushed by whoever has done the first."""
    second = _job(draw, seed, at_s, f"chain{number}.2", how="next", keep_ms=KEEP_MS, after=f"chain{number}.1")
    yield _job(draw, seed, at_s, f"chain{number}.1", how="chain", keep_ms=draw.choice((0, KEEP_MS)), then=second)
    yield second


def _round(draw, seed, at_s, number):
    """Several that want the same key, most of them at once."""
    key, while_ = f"key{draw.randrange(KEYS)}", draw.choice(("running", "running", "running", "queued"))
    # A key is held in one way, or neither rule could be told from the other.
    key = f"{while_}/{key}"
    count, later = draw.choice((2, 3)), draw.choice((0, 1, 2))
    times = [draw.uniform(0, AT_ONCE_S) for _ in range(count)] + [draw.uniform(0.1, LATER_S) for _ in range(later)]
    for place, after_s in enumerate(times):
        in_ms = draw.choice((0, 0, 0, draw.randint(200, 1_500)))
        kept = {"keep_ms": draw.choice((0, KEEP_MS)), "in_ms": in_ms}
        name = f"unique{number}.{place}"
        yield _job(draw, seed, at_s + round(after_s, 4), name, how="unique", unique=key, unique_while=while_, **kept)


def _group(draw, seed, at_s, number):
    """Several, and one more that is pushed by whoever has done the last of them. They may be started more than once, or
    most groups would wait for one that is dead."""
    name = f"group{number}"
    kept = {"keep_ms": KEEP_MS, "group": name, "how": "member"}
    members = tuple(
        _job(draw, seed, at_s, f"{name}.{place}", attempts=draw.choice((2, 3, 5)), **kept)
        for place in range(draw.randint(2, 6))
    )
    yield _job(draw, seed, at_s, f"{name}.end", how="end", keep_ms=KEEP_MS, members=members)
    yield from members
