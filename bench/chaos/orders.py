"""What is asked: orders of known ids, made of the seed and nothing else."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from chaos.crew import FRONTS, PLAIN, SDK

# Workers of both SDKs serve ``sdk``; Ruby, Node and the shell serve ``plain``.
QUEUES = (SDK, PLAIN)
PAYLOAD_CHARACTERS_MAX = 2_400
# The share of requests whose client does not wait for the answer.
LEAVE = 0.06


@dataclass(frozen=True)
class Order:
    """One request or background job.

    ``kind`` is ``get``, ``post`` or ``job``; ``attempts`` how often it may be started; ``fails`` how many of its first
    attempts fail in the handler (jobs of the SDKs only: others do not try again). The client of a request hangs up
    after ``leaves_ms``; 0 is never.

    ``how`` a background job comes into its queue: ``plain`` by RPUSH; ``delayed``, ``twice``, ``chain`` by the script
    ``push``; ``unique`` by ``push_unique``; ``next`` by who has done the job ``after``, whose ``then`` it is;
    ``member`` by ``push``, when its ``group`` was written, and ``end`` by who has done the last of its ``members``;
    ``scheduled`` by who fires its schedule, ``missed`` by who makes up for a firing that was missed. It is due
    ``in_ms`` after its push, and its result is kept for ``keep_ms``. Of those that are kept a push without an answer
    is repeated, and ``pushes`` times it is pushed in any case.
    """

    at_s: float
    id: str
    kind: str
    queue: str
    payload: str
    ms: int
    attempts: int
    fails: int = 0
    front: int = 0
    lane: str = "normal"
    leaves_ms: int = 0
    how: str = "plain"
    in_ms: int = 0
    keep_ms: int = 0
    pushes: int = 1
    unique: str = ""
    unique_while: str = "running"
    after: str = ""
    then: Order | None = None
    group: str = ""
    members: tuple[Order, ...] = ()
    # Of a firing: when, in milliseconds of Redis time.
    due_ms: int = 0

    @property
    def key(self):
        """The lane it is pushed to."""
        return f"tempest:{{{self.queue}}}" + (f":{self.lane}" if self.lane != "normal" else "")

    @property
    def path(self):
        """The target of an HTTP order; that of a GET carries its payload."""
        carried = f"&payload={self.payload}" if self.kind == "get" else ""
        return f"/{self.queue}/{self.id}?ms={self.ms}{carried}"


def orders(seed, seconds, requests_per_s, jobs_per_s):
    """All orders of a run in the order of time."""
    draw = random.Random(f"orders {seed}")
    made = [_request(draw, seed, at_s, number) for number, at_s in _times(seconds, requests_per_s)]
    made += [_job(draw, seed, at_s, number) for number, at_s in _times(seconds, jobs_per_s)]
    return sorted(made, key=lambda order: order.at_s)


def _times(seconds, per_s):
    return [(number, round(number / per_s, 4)) for number in range(int(seconds * per_s))]


def payload(draw, seed, name, characters_max):
    """Characters that tell one order from another."""
    token = hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
    return (token * (characters_max // len(token) + 1))[: draw.randint(16, characters_max)]


def _ms(draw):
    """Short ones are most, and long ones are many enough that a kill finds somebody in the middle of one."""
    return draw.randint(0, 20) if draw.random() < 0.6 else draw.randint(100, 600)


def _request(draw, seed, at_s, number):
    kind = draw.choice(("get", "post"))
    name = f"{kind}{number}"
    carried = payload(draw, seed, name, 200 if kind == "get" else PAYLOAD_CHARACTERS_MAX)
    attempts = 2 if kind == "get" else 1
    queue, front = draw.choice(QUEUES), draw.randrange(len(FRONTS))
    leaves_ms, ms = (draw.randint(1, 300), draw.randint(100, 1_500)) if draw.random() < LEAVE else (0, _ms(draw))
    return Order(at_s, name, kind, queue, carried, ms, attempts, front=front, leaves_ms=leaves_ms)


def _job(draw, seed, at_s, number):
    name, queue = f"job{number}", draw.choice(QUEUES)
    attempts = draw.choice((1, 2, 3, 5))
    fails = draw.choice((0, 0, 0, 0, 0, 0, 1, 2)) if queue == SDK else 0
    lane = draw.choice(("high", "normal", "normal", "low")) if queue == SDK else "normal"
    carried = payload(draw, seed, name, PAYLOAD_CHARACTERS_MAX)
    return Order(at_s, name, "job", queue, carried, _ms(draw), attempts, fails, lane=lane)
