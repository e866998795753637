"""How a worker is known to live: its slots stand in ``workers``, its lease is renewed each second (SPEC "Leases").

A beat is one write that repeats everything, so whatever Redis forgot is there again within a second.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .clock import Clock, running_s
from .errors import Refused, TempestError
from .limits import BEAT_S, LEASE_S
from .link import Command, Link, Pauses, Place
from .names import Keys
from .queue_limits import GOVERNING

log = logging.getLogger("tempest")

VERSION = "0.1.0"


@dataclass(frozen=True)
class Source:
    """A lane that a slot claims from, and the run list its claims go to.

    Each lane has a run list of its own, so that what came too late can be given back to where it came from.
    """

    queue: str
    lane: str
    lane_key: str
    run_key: str
    entry: str
    """``<worker>.<slot>``, the name of the run list in ``workers``."""


@dataclass(frozen=True)
class Identity:
    """What a worker says of itself."""

    worker: str
    host: str
    slots: int

    def lease_value(self, draining: bool, jobs: Sequence[Mapping[str, object]] = (), done: int = 0) -> str:
        """The value of the lease."""
        state = "draining" if draining else "running"
        return json.dumps(
            {
                "lang": "python",
                "pid": os.getpid(),
                "host": self.host,
                "version": VERSION,
                "slots": self.slots,
                "state": state,
                "jobs": list(jobs),
                "done": done,
            }
        )


class Presence(threading.Thread):
    """Beats each second, on a connection of its own, until it is stopped."""

    def __init__(self, place: Place, keys: Keys, identity: Identity, sources: Sequence[Source], clock: Clock) -> None:
        super().__init__(name="tempest-beat", daemon=True)
        self.lapses = 0
        """How often more than a lease lay between two confirmed beats. A claim that was sent before this rose must
        not be started: others may hold this worker for dead."""
        self.draining = False
        self.on_held: Callable[[str, int], None] = lambda run_key, held: None
        """Called with the length of each run list, as each beat finds it."""
        self.on_limits: Callable[[str, list[bytes | None]], None] = lambda queue, values: None
        """Called with what limits each queue, as each beat finds it."""
        self.jobs: Callable[[], Sequence[Mapping[str, object]]] = tuple
        """Gives the jobs in hand, as the lease tells them."""
        self.done: Callable[[], int] = int
        """Gives how many jobs were run to an end, in whatever way."""
        self._place = place
        self._keys = keys
        self._identity = identity
        self._sources = sources
        self._queues = sorted({source.queue for source in sources})
        self._clock = clock
        self._lock = threading.Lock()
        self._confirmed_s: float | None = None
        self._over = threading.Event()
        self._due = threading.Event()

    def is_fresh(self) -> bool:
        """Tells whether the last beat that Redis confirmed was sent less than a lease ago."""
        confirmed = self._confirmed_s
        return confirmed is not None and running_s() - confirmed < LEASE_S

    def holds(self, lapses: int) -> bool:
        """Tells whether what was claimed at so many :attr:`lapses` is still this worker's: else it was stopped, or
        Redis was away, for longer than a lease, and others may have taken it."""
        return lapses == self.lapses and self.is_fresh()

    def beat(self, link: Link) -> None:
        """Beats once on this link. Raises :class:`RedisAway` or :class:`Refused`: then nothing is confirmed."""
        sent = running_s()
        write = self._write()
        answers = link.ask_all(write)
        answers, limits = answers[: -len(self._queues)], answers[-len(self._queues) :]
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        self._confirm(sent)
        lengths = answers[len(answers) - len(self._sources) :]
        for source, held in zip(self._sources, lengths, strict=True):
            self.on_held(source.run_key, int(held))
        for queue, values in zip(self._queues, limits, strict=True):
            if isinstance(values, list):  # an account that may not look knows of no limits
                self.on_limits(queue, values)

    def _write(self) -> list[Command]:
        write: list[Command] = [("SADD", self._keys.queues(), *self._queues)]
        about = self._identity.lease_value(self.draining, self.jobs(), self.done())
        for queue in self._queues:
            entries = [source.entry for source in self._sources if source.queue == queue]
            write.append(("SADD", self._keys.workers(queue), *entries))
            lease = self._keys.lease(queue, self._identity.worker)
            write.append(("SET", lease, about, "PX", int(LEASE_S * 1000)))
        write += [("LLEN", source.run_key) for source in self._sources]
        return write + [("HMGET", self._keys.limits(queue), *GOVERNING) for queue in self._queues]

    def _confirm(self, sent: float) -> None:
        with self._lock:
            if self._confirmed_s is None or sent - self._confirmed_s >= LEASE_S:
                self.lapses += 1
            if self._confirmed_s is None or sent > self._confirmed_s:
                self._confirmed_s = sent

    def run(self) -> None:
        """Beats until :meth:`stop`, reconnecting for ever."""
        pauses = Pauses()
        while not self._over.is_set():
            try:
                self._beat_on(self._place.open(), pauses)
            except TempestError as error:
                self._place.faults.failed("beats", error)
                self._over.wait(min(pauses.after(error), BEAT_S))
            except Exception:
                log.exception("beats fail")
                self._over.wait(BEAT_S)

    def _beat_on(self, link: Link, pauses: Pauses) -> None:
        try:
            while not self._over.is_set():
                if self._clock.is_stale():
                    self._clock.learn(link)
                self.beat(link)
                if pauses.over():
                    self._clock.learn(link)
                self._place.faults.well("beats")
                self._due.wait(BEAT_S)
                self._due.clear()
        finally:
            link.close()

    def beat_soon(self) -> None:
        """Makes the next beat due: it tells something new, or learns of it."""
        self._due.set()

    def stop(self) -> None:
        """Stops beating."""
        self._over.set()
        self._due.set()
        self.join(timeout=LEASE_S)

    def leave(self, link: Link) -> int:
        """Takes back the registration, but not of run lists that hold jobs: recovery finds them there. Gives how many
        jobs they hold."""
        left = 0
        for source in self._sources:
            held = int(link.ask("LLEN", source.run_key))
            left += held
            if not held:
                link.ask("SREM", self._keys.workers(source.queue), source.entry)
        for queue in {source.queue for source in self._sources}:
            link.ask("DEL", self._keys.lease(queue, self._identity.worker))
        return left
