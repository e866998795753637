"""How many jobs the next claim may bring (SPEC "Claiming ahead")."""

from __future__ import annotations

from collections import deque

from .limits import AHEAD_RUN_S, AHEAD_RUNS, AHEAD_WAIT_S, LOOK_MAX


class Ahead:
    """One job, until handlers have shown to be fast. Then a claim that came back full doubles the next one, and any
    other resets it: so that several workers share evenly."""

    def __init__(self) -> None:
        self._look = 1
        self._runs: deque[float] = deque(maxlen=AHEAD_RUNS)

    def ran(self, seconds: float) -> None:
        """Notes how long a job took."""
        self._runs.append(seconds)

    def brought(self, wanted: int, count: int, has_alone: bool) -> None:
        """Notes how many of the wanted jobs a claim brought, and whether one of them must run alone."""
        self._look = min(wanted * 2, LOOK_MAX) if count == wanted and not has_alone else 1

    def look(self) -> int:
        """How many jobs the next claim may bring: as many as are likely to be done in half the time they may wait."""
        if self._look == 1 or len(self._runs) < AHEAD_RUNS:
            return 1
        median = sorted(self._runs)[AHEAD_RUNS // 2]
        if median >= AHEAD_RUN_S:
            return 1
        return max(1, min(self._look, int(AHEAD_WAIT_S / 2 / max(median, 1e-6))))
