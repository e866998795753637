"""What a slot has in hand: jobs that were claimed at once, started one after the other, and acked together (SPEC
"Claiming ahead").

A handler that takes longer than was thought must keep back neither what was claimed ahead nor the replies that are
ready. So a hand is shared by two threads: that of its slot, and a :class:`Relief`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from .clock import running_s
from .desk import Claimed, Report
from .errors import TempestError
from .limits import AHEAD_WAIT_S
from .link import Link, Place
from .outbox import Outbox
from .presence import Presence
from .settle import Ack, Settlement, Settling


class Hand:
    """Jobs that wait for their start, the one that runs, and those that are done but whose ack is not confirmed."""

    def __init__(self, presence: Presence, outbox: Outbox, report: Report) -> None:
        self.lock = threading.Lock()
        """Held by whoever sends what is done, until it is confirmed."""
        self.in_doubt = False
        """Something may lie in a run list that is not in hand: look."""
        self._presence = presence
        self._outbox = outbox
        self._report = report
        self._waiting: deque[Claimed] = deque()
        self._running: Claimed | None = None
        self._done: list[Settlement] = []
        self._lapses = 0
        self._due_s: float | None = None
        """When what waits, and what is done, is no longer kept back."""

    @property
    def is_empty(self) -> bool:
        """Tells whether nothing waits, runs, or is to be acked."""
        return not (self._waiting or self._running or self._done)

    def count(self, run_key: str) -> int:
        """How many jobs of a run list are in hand."""
        with self.lock:
            known = [each.source.run_key for each in self._waiting] + [each.run_key for each in self._done]
            known += [self._running.source.run_key] if self._running else []
        return known.count(run_key)

    def take(self, claimed: Sequence[Claimed], lapses: int) -> None:
        """Takes what was claimed, in the order in which it is to be started. ``lapses`` is what
        :attr:`Presence.lapses` was before."""
        with self.lock:
            self._waiting.extend(claimed)
            self._lapses = lapses
            self._due_s = running_s() + AHEAD_WAIT_S

    def next(self, link: Link) -> Claimed | None:
        """Gives the job to start now; none when nothing waits any more, or what waits may belong to others by now, or
        it has waited too long and was given back."""
        with self.lock:
            if not self._waiting:
                return None
            if self._due_s is not None and running_s() > self._due_s:
                self._relieve(link)
                return None
            if not self._presence.holds(self._lapses):
                self._forget()
                return None
            self._running = self._waiting.popleft()
            return self._running

    def put(self, settlement: Settlement) -> bool:
        """Takes the job that ran as done. Tells whether it is to be settled before the next one starts."""
        with self.lock:
            self._running = None
            self._done.append(settlement)
        return settlement.is_urgent

    def drop(self) -> None:
        """Takes back that a job was given to be started: it is not to be, or may be found by a look."""
        with self.lock:
            self._running = None

    def settling(self) -> Settling:
        """How to settle what is done; the lock must be held until that is confirmed."""
        return Settling(self._done)

    def settle(self, link: Link) -> None:
        """Settles what is done. Raises :class:`RedisAway` or :class:`Refused`; then it must be tried again."""
        with self.lock:
            self._settle(link)

    def _settle(self, link: Link) -> None:
        if self._done:
            settling = self.settling()
            settling.confirm(link.ask_all(settling.commands(link)), link, self._outbox)
            for each in [each for each in self._done if not isinstance(each, Ack) and each.is_alone]:
                each.carry_out(link)
                self._done.remove(each)

    def keep(self, count: int, link: Link) -> None:
        """Gives back all jobs that wait but the first ``count``. Raises :class:`RedisAway`."""
        with self.lock:
            self._give_back(len(self._waiting) - count, link)

    def _give_back(self, count: int, link: Link) -> None:
        """Returns the newest jobs that wait to the head of their lane, in their order."""
        newest = [self._waiting.pop() for _ in range(count)]
        if not newest:
            return
        try:
            sources = [each.source for each in newest]
            answers = link.ask_all([("LMOVE", s.run_key, s.lane_key, "RIGHT", "LEFT") for s in sources])
        except TempestError:
            self.in_doubt = True
            raise
        self._report.count("given_back", sum(isinstance(answer, bytes) for answer in answers))
        if answers != [each.data for each in newest]:
            self.in_doubt = True

    def forget(self) -> None:
        """Forgets what waits: a look finds what of it is still in the run list."""
        with self.lock:
            self._forget()

    def _forget(self) -> None:
        self._waiting.clear()
        self.in_doubt = True

    def is_due_in(self) -> float | None:
        """Seconds until what is in hand is no longer kept back; none if nothing is."""
        with self.lock:
            if self._due_s is None or not (self._waiting or self._done):
                return None
            return self._due_s - running_s()

    def relieve(self, link: Link) -> None:
        """Settles what is done and gives back what waits. Raises :class:`RedisAway` or :class:`Refused`."""
        with self.lock:
            if self._due_s is not None and running_s() > self._due_s:
                self._relieve(link)

    def _relieve(self, link: Link) -> None:
        self._due_s = None
        if not self._presence.holds(self._lapses):
            self._forget()
            return
        self._settle(link)
        self._give_back(len(self._waiting), link)


class Relief(threading.Thread):
    """Relieves a hand that is overdue because its slot is still in a handler."""

    def __init__(self, place: Place, hand: Hand) -> None:
        super().__init__(name="tempest-relief", daemon=True)
        self._place = place
        self._hand = hand
        self._link: Link | None = None
        self._wanted = threading.Event()

    def watch(self) -> None:
        """Looks after what is in hand now. Cheap enough to be called with every claim."""
        if not self.is_alive():
            self.start()
        if not self._wanted.is_set():
            self._wanted.set()

    def run(self) -> None:
        """Relieves for ever."""
        while True:
            self._wanted.wait()
            self._wanted.clear()
            while (due_in := self._hand.is_due_in()) is not None:
                if due_in > 0:
                    time.sleep(due_in)
                else:
                    self._relieve()

    def _relieve(self) -> None:
        try:
            if self._link is None or self._link.broken:
                self._link = self._place.open()
            self._hand.relieve(self._link)
        except TempestError:
            time.sleep(AHEAD_WAIT_S)  # the slot meets with the same trouble, says so, and looks
