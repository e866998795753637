"""Time: a clock that also runs while this process or its machine sleeps, and Redis time without asking each time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .limits import CLOCK_S

if TYPE_CHECKING:
    from .link import Link

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def running_s() -> float:
    """Seconds that never jump back; counts a suspended machine's sleep where the system can."""
    return time.clock_gettime(_BOOT)


class Clock:
    """Tells Redis time, in milliseconds, as an offset to :func:`running_s`."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None
        self._learnt = 0.0

    def learn(self, link: Link) -> None:
        """Asks ``TIME``: its answer is true for half the round trip."""
        asked = running_s()
        seconds, micros = link.ask("TIME")
        now = running_s()
        self._offset_ms = int(seconds) * 1000 + int(micros) / 1000 - (asked + now) * 500
        self._learnt = now

    def is_stale(self) -> bool:
        """Tells whether it is time to :meth:`learn` again."""
        return self._offset_ms is None or running_s() - self._learnt > CLOCK_S

    def now_ms(self) -> int | None:
        """Redis time, or none before the first :meth:`learn`: then nothing is dropped for its deadline."""
        return self.at_ms(running_s())

    def at_ms(self, at_s: float) -> int | None:
        """What :meth:`now_ms` was at a time of :func:`running_s`."""
        return None if self._offset_ms is None else int(at_s * 1000 + self._offset_ms)

    def stamp_ms(self) -> int:
        """Redis time, or this machine's while that is unknown: for what is only written down."""
        now = self.now_ms()
        return time.time_ns() // 1_000_000 if now is None else now
