"""Claims of queues that are limited: each job is asked for with the script ``take``, and waited for with looks that
move nothing (SPEC "Background jobs", Limits)."""

from __future__ import annotations

from typing import Any

from . import scripts
from .claims import Claimed, Claims
from .errors import Refused
from .limits import BEAT_S, BLOCK_S, LIMITED_PAUSE_S
from .link import Link
from .names import Keys
from .presence import Source
from .queue_limits import QueueLimits
from .scripts import Call

_PAUSED, _REACHED, _REACHED_SWEEP = -1, -2, -3


class Governed:
    """How one slot claims while some of its queues are limited."""

    def __init__(self, keys: Keys, limits: QueueLimits) -> None:
        self._keys = keys
        self._limits = limits

    def claim(self, claims: Claims) -> Claimed | None:
        """Gives one job; none when none may be had for a while. Waits for at most two seconds."""
        waits: list[float] = []
        empty: list[int] = []
        for index in claims.next_order():
            source = claims.sources[index]
            job, wait_s = self._one(claims.main, source)
            if job is not None:
                return source, [job]
            if wait_s is None:
                empty.append(index)
            else:
                waits.append(wait_s)
        patience = min([BLOCK_S, *waits])
        if empty:
            claims.peek(empty, patience)
        else:
            self._limits.wait(patience)
        return None

    def _one(self, link: Link, source: Source) -> tuple[bytes | None, float | None]:
        """A job; or none, and how long to wait: none if the lane is empty."""
        if self._limits.is_paused(source.queue):
            return None, BEAT_S
        if not self._limits.governs(source.queue):
            return link.ask("LMOVE", source.lane_key, source.run_key, "LEFT", "RIGHT"), None
        said, *jobs = self._ask(link, [self._take(source)])
        if said == _REACHED_SWEEP:
            said, *jobs = self._ask(link, [self._sweep(link, source), self._take(source)])
        if jobs:
            return jobs[0], None
        reached = dict.fromkeys((_REACHED, _REACHED_SWEEP), LIMITED_PAUSE_S)
        return None, {0: None, _PAUSED: BEAT_S, **reached}.get(said, said / 1000)

    def _take(self, source: Source) -> Call:
        keys, queue = self._keys, source.queue
        limits = [keys.limits(queue), keys.running(queue), keys.rate(queue), keys.swept(queue)]
        return Call(scripts.TAKE, [source.lane_key, *limits, source.run_key], [source.entry])

    def _sweep(self, link: Link, source: Source) -> Call:
        """Frees the places of slots that have ended their job."""
        running = self._keys.running(source.queue)
        entries = [each.decode() for each in link.ask("SMEMBERS", running)]
        runs = [self._keys.run_of(source.queue, entry) for entry in entries]
        return Call(scripts.SWEEP, [running, *runs], entries)

    @staticmethod
    def _ask(link: Link, calls: list[Call]) -> Any:
        """The answer to the last call."""
        answers = scripts.run(link, calls)
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return answers[-1]
