"""Whether the memory of a process grows: samples of all that live, and a test of each that lives long.

The first third of a life is its warm-up. What it uses in the last third is held beside what it used in the second,
each by its median, so that neither a peak nor a collection of garbage decides. Only anonymous pages count: those of the
program's file come in as its code is first run, and are nobody's leak.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from measured import anonymous_bytes, started_ticks

EVERY_S = 0.25
MIB = 1 << 20
# A life that is shorter is all warm-up.
JUDGED_S_MIN = 30.0
SAMPLES_MIN = 30
# The README says why these.
GROWTH_BYTES_MAX = 8 * MIB
GROWTH_SHARE_MAX = 0.25
# What lives as long as the run does so for this share of it at least; the rest is its start and its end.
LASTING_SHARE = 0.9


@dataclass(frozen=True)
class Life:
    """One process: how it is called, and (second, bytes) four times a second."""

    name: str
    pid: int
    samples: list

    @property
    def seconds(self):
        """From its first sample to its last."""
        return self.samples[-1][0] - self.samples[0][0]

    @property
    def is_long(self):
        """Whether it lived long enough to be judged."""
        return self.seconds >= JUDGED_S_MIN and len(self.samples) >= SAMPLES_MIN

    @property
    def warm(self):
        """The median of its second third, in bytes."""
        return self._third(1)

    @property
    def growth(self):
        """Median of the last third minus median of the second, in bytes."""
        return self._third(2) - self.warm

    @property
    def is_flat(self):
        """Whether it grew by no more than the limit."""
        return self.growth <= max(GROWTH_BYTES_MAX, self.warm * GROWTH_SHARE_MAX)

    @property
    def most(self):
        """The most it ever used, in bytes."""
        return max(used for _, used in self.samples)

    def _third(self, place):
        third = len(self.samples) // 3
        return median(used for _, used in self.samples[place * third : (place + 1) * third])


class Sampler:
    """Samples the processes that ``processes()`` names. ``lives`` are those that were seen so far."""

    def __init__(self, processes, every_s=EVERY_S):
        self._processes, self._every_s = processes, every_s
        self._samples = {}
        # By how much the run itself was late at most: what it does to its programs is then late as well.
        self.late_s = 0.0

    @property
    def lives(self):
        """Every process that was seen; Redis after a restart is the same with the same data, and counts as one."""
        return [Life(name, pid, samples) for (name, pid, _), samples in self._samples.items()]

    async def run(self):
        """Samples until it is cancelled."""
        while True:
            for name, pid in self._processes():
                with suppress(OSError, RuntimeError):
                    # In a long run another process gets the number of one that was killed.
                    life = (name, 0, 0) if name == "redis" else (name, pid, started_ticks(pid))
                    sample = (time.monotonic(), anonymous_bytes(pid))
                    self._samples.setdefault(life, []).append(sample)
            begun = time.monotonic()
            await asyncio.sleep(self._every_s)
            self.late_s = max(self.late_s, time.monotonic() - begun - self._every_s)


def mistakes(lives, lasting, seconds):
    """Who grew, and which of those that ``lasting`` names did not live through so many seconds: a line each."""
    for life in lives:
        if life.is_long and not life.is_flat:
            grown, after = life.growth / MIB, life.seconds / 3
            yield f"{life.name} {life.pid} grew by {grown:.1f} MiB in {after:.0f} s, from {life.warm / MIB:.1f}"
    for name in lasting:
        found = [life.seconds for life in lives if life.name == name]
        if len(found) != 1 or found[0] < seconds * LASTING_SHARE:
            yield f"{name} was to live through {seconds:.0f} s, and lived {[round(each) for each in found]}"


def by_name(lives):
    """Per name: lives, the most bytes of any, how many were judged, and of the one that grew most how long it lived,
    what it used when it was warm, and its growth."""
    found = {}
    for life in lives:
        found.setdefault(life.name, []).append(life)
    return {name: _about(lives) for name, lives in found.items()}


def _about(lives):
    about = {"lives": len(lives), "max_mib": _mib(max(life.most for life in lives))}
    judged = [life for life in lives if life.is_long]
    if judged:
        worst = max(judged, key=lambda life: life.growth)
        about |= {"judged": len(judged), "of_s": round(worst.seconds)}
        about |= {"warm_mib": _mib(worst.warm), "growth_mib": _mib(worst.growth)}
    return about


def _mib(size):
    return round(size / MIB, 1)
