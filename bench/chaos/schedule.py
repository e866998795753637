"""What goes wrong, and when: a plan made of a seed and nothing else. The same numbers give the same plan.

A plan names roles, never processes: which of the workers that live at that moment is hit follows from ``pick``, a
number from 0 to 1. So a plan repeats exactly what is done, but a fleet does not repeat at which byte it is hit; a
seed that found something finds it again in a few runs rather than in each.
"""

import itertools
import json
import random
from dataclasses import asdict, dataclass

KINDS = ("kill", "redis", "stop", "cut", "delay", "half-open")
# Who speaks to Redis: each ``tempest up`` with its workers, the front beside them, workers nobody supervises, the load.
ROLES = ("up", "spared", "front", "alone", "load")
# What is stopped besides workers: fronts, supervisors, Redis.
STOPPED = ("up", "spared", "front", "redis")
CUT_BYTES_MAX = 4_000
STOP_S = (1.0, 6.0)
# The share of kills and stops that wait for a moment until a worker has a job in hand.
BUSY = 0.7
# Of all kills, every how many hits the supervisor (with the front in it), or the front beside it.
EVERY_SUPERVISOR = 20
EVERY_FRONT = 15


@dataclass(frozen=True)
class Wish:
    """How much is to go wrong. Faults come for ``seconds``; ``links`` is how many connections are hurt."""

    seed: int = 1
    seconds: float = 37.0
    kills: int = 40
    redis_restarts: int = 4
    stops: int = 6
    links: int = 40


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that goes wrong.

    ``target`` is the name of a worker or program, ``supervisor`` or a role of links; ``busy`` prefers a worker that is
    in the middle of a job.
    """

    at_s: float
    kind: str
    target: str
    pick: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    upwards: bool = True
    busy: bool = False

    def chosen(self, candidates):
        """Which of these is hit; none if there is none."""
        return candidates[min(int(self.pick * len(candidates)), len(candidates) - 1)] if candidates else None

    def __str__(self):
        about = {"kill": "in the middle of a job" if self.busy else "", "redis": f"back after {self.seconds:.1f} s"}
        if self.kind == "cut":
            about["cut"] = f"after {self.bytes} bytes {'to' if self.upwards else 'from'} Redis"
        if self.kind in ("stop", "delay", "half-open"):
            about[self.kind] = f"for {self.seconds:.1f} s"
        return f"{self.at_s:8.3f} s  {self.kind:9} {self.target:10} {about.get(self.kind, '')}".rstrip()


def plan(wish, workers, spared=()):
    """The faults of a wish in the order of time. ``workers`` are the names of those that can be killed; those that are
    ``spared`` meet everything else."""
    draw = random.Random(f"faults {wish.seed}")
    faults = [
        *_kills(draw, wish, list(workers)),
        *_each(draw, wish, wish.redis_restarts, _redis),
        *_each(draw, wish, wish.stops, lambda draw, at_s: _stop(draw, at_s, [*workers, *spared, *STOPPED])),
        *_each(draw, wish, wish.links, _link),
    ]
    return sorted(faults)


def as_json(faults):
    """A plan as lines that can be compared."""
    return "\n".join(json.dumps(asdict(fault)) for fault in faults)


def _times(draw, wish, count):
    """Spread over the run, one in each of as many equal parts, so that a longer run is not a calmer one."""
    return [round((part + draw.random()) * wish.seconds / count, 3) for part in range(count)]


def _each(draw, wish, count, fault):
    return [fault(draw, at_s) for at_s in _times(draw, wish, count)]


def _kills(draw, wish, workers):
    draw.shuffle(workers)
    turns = itertools.cycle(workers)
    for number, at_s in enumerate(_times(draw, wish, wish.kills), start=1):
        if number % EVERY_SUPERVISOR == 0:
            target = "supervisor"
        elif number % EVERY_FRONT == 0:
            target = "front"
        else:
            target = next(turns)
        yield Fault(at_s, "kill", target, pick=round(draw.random(), 4), busy=draw.random() < BUSY)


def _redis(draw, at_s):
    return Fault(at_s, "redis", "redis", seconds=round(draw.uniform(0, 0.6), 2))


def _stop(draw, at_s, targets):
    pick, seconds = round(draw.random(), 4), round(draw.uniform(*STOP_S), 2)
    return Fault(at_s, "stop", draw.choice(targets), pick=pick, seconds=seconds, busy=draw.random() < BUSY)


def _link(draw, at_s):
    kind = draw.choices(("cut", "delay", "half-open"), (6, 2, 1))[0]
    common = {"target": draw.choice(ROLES), "pick": round(draw.random(), 4)}
    if kind == "cut":
        # Cubed: half of them cut within the first 500 bytes, in the middle of one command or answer.
        after = int(draw.random() ** 3 * CUT_BYTES_MAX)
        return Fault(at_s, kind, **common, bytes=after, upwards=draw.random() < 0.5)
    seconds = draw.uniform(0.2, 1.5) if kind == "delay" else draw.uniform(3, 8)
    return Fault(at_s, kind, **common, seconds=round(seconds, 2))
