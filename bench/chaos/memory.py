"""Whether the memory of a process grows: samples of all that live, and a generous test of each.

What is killed often is never old; so each life is judged by itself, and only one that is long enough to say anything:
what it uses at its end beside what it used when it had come up.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from chaos.fleet import FRONT, UP
from measured import resident_bytes

EVERY_S = 0.25
MIB = 1 << 20
# A life with fewer samples has no second quarter to compare with.
SAMPLES_MIN = 40
GROWTH_BYTES_MAX = 32 * MIB
GROWTH_SHARE_MAX = 0.5


@dataclass(frozen=True)
class Life:
    """One process: how it is called, and its resident bytes, four times a second."""

    name: str
    pid: int
    samples: list

    @property
    def is_long(self):
        """Whether it lived long enough to be judged."""
        return len(self.samples) >= SAMPLES_MIN

    @property
    def growth(self):
        """Median of the last quarter minus median of the second, in bytes."""
        quarter = len(self.samples) // 4
        return median(self.samples[-quarter:]) - median(self.samples[quarter : 2 * quarter])

    @property
    def is_flat(self):
        """Whether it grew by less than 32 MiB, or by less than half."""
        begin = median(self.samples[len(self.samples) // 4 : len(self.samples) // 2])
        return self.growth <= max(GROWTH_BYTES_MAX, begin * GROWTH_SHARE_MAX)


class Sampler:
    """Samples what a fleet has. ``lives`` are those that were seen so far."""

    def __init__(self, fleet):
        self.fleet = fleet
        self._samples = {}

    @property
    def lives(self):
        """Every process that was seen."""
        return [Life(name, pid, samples) for (name, pid), samples in self._samples.items()]

    async def run(self):
        """Samples until it is cancelled."""
        while True:
            for name, pid in self._processes():
                with suppress(OSError, RuntimeError):
                    used = resident_bytes(pid)
                    self._samples.setdefault((name, pid), []).append(used)
            await asyncio.sleep(EVERY_S)

    def _processes(self):
        fleet = self.fleet
        fronts = ((name, fleet.programs[name].pid) for name in (UP, FRONT))
        return [("redis", fleet.redis_server.pid), *fronts, *fleet.workers()]


def by_name(lives):
    """Per name: lives, the most bytes of any, how many were judged, and the largest growth among those."""
    found = {}
    for life in lives:
        about = found.setdefault(life.name, {"lives": 0, "judged": 0, "max_mib": 0.0, "growth_mib": 0.0})
        about["lives"] += 1
        about["max_mib"] = max(about["max_mib"], round(max(life.samples) / MIB, 1))
        if life.is_long:
            about["judged"] += 1
            about["growth_mib"] = max(about["growth_mib"], round(life.growth / MIB, 1))
    return found
