"""Schedules that fire during a run: planted before the first fault, pulled out after the last, and each of their
firings an order of its own.

What they were due for is known to the millisecond: they are pulled out in one transaction with a look at the time they
are due next, and everything before that has been fired, or was left out as their definition says.
"""

import asyncio
import json
import time
from dataclasses import dataclass

from redis.exceptions import RedisError

from chaos.crew import SDK
from chaos.fleet import now_ms
from chaos.load import Ended
from chaos.orders import Order
from stage import ROOT

SCRIPT = (ROOT / "protocol/scripts/schedule.lua").read_text()
SCHEDULES, DUE, FIRED = (f"tempest:{{{SDK}}}:{word}" for word in ("schedules", "due", "fired"))
# What is later than that was missed (protocol/SPEC.md, Limits).
MISSED_MS = 60_000
# How long nobody was there for them when they are planted, so that some firings are missed from the start.
ASLEEP_MS = 75_000
# By how much the clocks of those who fire differ.
CLOCK_MS = 1_000
PATIENCE_S = 60
PAUSE_S = 0.1
ATTEMPTS = 3


@dataclass(frozen=True)
class Schedule:
    """One of them; ``times`` is the part of its definition that says when. All fire at multiples of ``every_ms``."""

    name: str
    times: dict
    every_ms: int
    missed: str
    ms: int
    asleep_ms: int = 0

    @property
    def payload(self):
        """What each of its jobs carries."""
        return f"of-{self.name}"

    def text(self):
        """Its definition."""
        args = {"id": self.name, "payload": self.payload, "ms": self.ms, "fails": 0}
        return json.dumps({**self.times, "action": "work", "args": args, "attempts": ATTEMPTS, "missed": self.missed})


# Those that slept have some 40 firings to make up for.
SCHEDULES_OF_A_RUN = (
    Schedule("every-second", {"every_ms": 1_000}, 1_000, "all", 5),
    Schedule("all-seconds", {"cron": "*/2 * * * * *"}, 2_000, "all", 120, ASLEEP_MS),
    Schedule("once-third", {"every_ms": 3_000}, 3_000, "once", 60, ASLEEP_MS),
)


@dataclass(frozen=True)
class Planted:
    """A schedule and when it was to fire: first, and first not; ``planted_ms`` is when it was written."""

    schedule: Schedule
    planted_ms: int
    first_ms: int
    next_ms: int | None = None

    def dues(self):
        """All it was to fire at, but for those that may be left out."""
        return range(self.first_ms, self.next_ms, self.schedule.every_ms)

    def may_be_missed(self, due_ms):
        """Whether this firing may be left out: nobody was there for it."""
        return self.schedule.missed != "all" and due_ms <= self.planted_ms

    def order(self, due_ms):
        """The job of a firing."""
        schedule = self.schedule
        how = "missed" if due_ms <= self.planted_ms else "scheduled"
        name = f"{schedule.name}.{due_ms}"
        return Order(0.0, name, "job", SDK, schedule.payload, schedule.ms, ATTEMPTS, how=how, due_ms=due_ms)

    def accounts(self):
        """Each firing as an order, and how its push ended."""
        for due_ms in self.dues():
            how = "unknown" if self.may_be_missed(due_ms) else "pushed"
            yield self.order(due_ms), Ended(how, due_ms, due_ms)


def judge(planted, fired):
    """What is wrong with the firings that were missed, a line each. ``fired`` has the ids of all jobs there were. Where
    ``all`` are to be made up for, each is an order that somebody has to do, and the ledger finds what is missing."""
    for one in planted:
        missed = [due_ms for due_ms in one.dues() if one.may_be_missed(due_ms)]
        made_up = [due_ms for due_ms in missed if one.order(due_ms).id in fired]
        long_ago = [due_ms for due_ms in made_up if due_ms < one.planted_ms - MISSED_MS - CLOCK_MS]
        if missed and not made_up:
            yield f"{one.schedule.name}: {len(missed)} firings were missed, and none was made up for"
        if len(long_ago) > 1:
            yield f"{one.schedule.name}: more than one was made up for of those that were missed: {long_ago}"


async def plant(client):
    """Writes the schedules; gives them as planted."""
    planted = []
    for schedule in SCHEDULES_OF_A_RUN:
        at_ms = now_ms()
        wanted_ms = at_ms - schedule.asleep_ms if schedule.asleep_ms else at_ms + schedule.every_ms
        first_ms = wanted_ms // schedule.every_ms * schedule.every_ms
        keys, words = (SCHEDULES, DUE, FIRED), (schedule.name, "", schedule.text(), first_ms, "0")
        if await client.eval(SCRIPT, len(keys), *keys, *words) != 1:
            raise AssertionError(f"schedule {schedule.name} was there already")
        planted.append(Planted(schedule, at_ms, first_ms))
    await client.sadd("tempest:queues", SDK)
    return planted


async def pull_out(client, planted):
    """Removes the schedules when none of them is behind, or patience ends: gives them with when they were due next, and
    complaints."""
    end, complaints = time.monotonic() + PATIENCE_S, []
    while behind := await _behind(client):
        if time.monotonic() > end:
            complaints = [f"schedule {name} does not fire" for name in behind]
            break
        await asyncio.sleep(PAUSE_S)
    return [await _pull(client, one) for one in planted], complaints


async def _behind(client):
    try:
        due = await client.zrange(DUE, "-inf", now_ms(), byscore=True)
    except (RedisError, OSError):
        return ["not known"]
    return [name.decode() for name in due]


async def _pull(client, planted):
    name = planted.schedule.name
    async with client.pipeline(transaction=True) as pipe:
        pipe.zscore(DUE, name)
        pipe.eval(SCRIPT, 3, SCHEDULES, DUE, FIRED, name, planted.schedule.text(), "", "", "0")
        score, removed = await pipe.execute()
    if score is None or removed != 1:
        raise AssertionError(f"schedule {name} was changed by somebody else: due {score}, removed {removed}")
    return Planted(planted.schedule, planted.planted_ms, planted.first_ms, int(score))
