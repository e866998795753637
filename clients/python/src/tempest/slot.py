"""One slot: a thread that claims jobs, runs them, settles them, and claims the next (SPEC "Claim, reply, ack").

A slot claims only while its hand is empty. The acks of what is done and the next claim go out in one write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from . import keyed
from .ahead import Ahead
from .beginning import begin, begins
from .claims import Claims
from .clock import running_s
from .desk import Claimed, Desk
from .errors import TempestError
from .governed import Governed
from .hand import Hand, Relief
from .link import Link, Pauses, Place
from .names import Keys
from .outbox import Outbox
from .presence import Presence, Source
from .queue_limits import QueueLimits

log = logging.getLogger("tempest")


class Slot(threading.Thread):
    """Works until the worker drains. With ``ahead`` it claims several jobs at once while its handlers are fast."""

    def __init__(
        self,
        number: int,
        place: Place,
        sources: Sequence[Source],
        presence: Presence,
        desk: Desk,
        outbox: Outbox,
        draining: threading.Event,
        ahead: bool,
        keys: Keys,
        limits: QueueLimits,
    ) -> None:
        super().__init__(name=f"tempest-slot-{number}", daemon=True)
        self.may_unblock = True
        self._place = place
        self._sources = sources
        self._presence = presence
        self._desk = desk
        self._outbox = outbox
        self._draining = draining
        self._claims: Claims | None = None
        self._hand = Hand(presence, outbox, desk.report)
        self._ahead = Ahead() if ahead else None
        self._relief = Relief(place, self._hand)
        self._pauses = Pauses()
        self._keys = keys
        self._limits = limits
        self._governed = Governed(keys, limits)
        self._owed: list[tuple[Source, str]] = []
        """Keys that this slot was let in for: others of them wait until it gives them up."""
        self._part = f"claims of slot {number}"

    def blocked_clients(self) -> list[int]:
        """The connections that wait for a job now, to be unblocked when the worker drains."""
        claims = self._claims
        return claims.client_ids if claims is not None and self._hand.is_empty else []

    def found_in(self, run_key: str, held: int) -> None:
        """Takes the length of a run list: more than is known of is a claim whose answer was lost."""
        if held > self._hand.count(run_key):
            self._hand.in_doubt = True

    def run(self) -> None:
        """Serves; after an error connects anew and goes on."""
        while True:
            try:
                self._serve()
                return
            except TempestError as error:
                pause = self._pauses.after(error)
                self._place.faults.failed(self._part, error)
            except Exception:
                log.exception("claims fail, trying again")
                pause = 1.0
            if self._draining.is_set():
                if self._hand.is_empty:
                    return
                time.sleep(pause)
            self._draining.wait(pause)

    def _serve(self) -> None:
        claims = Claims(self._place, self._sources, self.may_unblock)
        try:
            self._presence.beat(claims.main)
            self._hand.forget()
            self._hand.settle(claims.main)
            self._give_up_keys(claims.main)
            self._claims, look = claims, True
            while not self._draining.is_set():
                look = self._turn(claims, look)
            self._hand.settle(claims.main)
            for source in self._sources:
                while claims.give_back(source):
                    self._desk.report.count("given_back")
        finally:
            self._claims = None
            claims.close()

    def _turn(self, claims: Claims, look: bool) -> bool:
        """Takes one step. Gives whether the next one must look into the run lists."""
        if not self._presence.is_fresh():
            self._hand.settle(claims.main)
            self._presence.beat(claims.main)
            look = True
        if look or self._hand.in_doubt:
            self._hand.settle(claims.main)
            self._hand.in_doubt = False
            lapses, found = self._presence.lapses, claims.look()
            if found is not None:
                self._do(claims, *found, lapses)
                return True
        return self._claim_limited(claims) if self._limits.is_any else self._claim(claims)

    def _claim_limited(self, claims: Claims) -> bool:
        lapses = self._presence.lapses
        self._hand.settle(claims.main)
        claimed = self._governed.claim(claims)
        if self._pauses.over():
            self._place.faults.well(self._part)
        if claimed is None or self._draining.is_set():
            return True
        self._do(claims, *claimed, lapses)
        return False

    def _claim(self, claims: Claims) -> bool:
        lapses = self._presence.lapses
        look = 1 if self._ahead is None else self._ahead.look()
        with self._hand.lock:
            settling = self._hand.settling()
            answers = claims.begin(settling.commands(claims.main), look)
            settling.confirm(answers, claims.main, self._outbox)
        claimed = claims.wait()
        if self._pauses.over():
            self._place.faults.well(self._part)
        if claimed is None or self._draining.is_set():
            self._brought(look, 0, False)
            return True
        alone = self._do(claims, *claimed, lapses)
        self._brought(look, len(claimed[1]), alone)
        return False

    def _brought(self, wanted: int, count: int, has_alone: bool) -> None:
        if self._ahead is not None:
            self._ahead.brought(wanted, count, has_alone)

    def _do(self, claims: Claims, source: Source, frames: list[bytes], lapses: int) -> bool:
        """Does what was claimed, in order; what cannot be done now is given back. Gives whether one of the jobs had to
        be alone."""
        claimed = self._desk.read(source, frames)
        together = next((at for at, each in enumerate(claimed) if each.is_alone), len(claimed))
        self._hand.take(claimed, lapses)
        if len(claimed) > 1:
            self._relief.watch()
            self._hand.keep(max(1, together), claims.main)
        while not self._draining.is_set() and (job := self._hand.next(claims.main)) is not None:
            if job.is_announced and not self._may_begin(claims.main, job):
                continue
            begun = running_s()
            is_urgent = self._hand.put(self._desk.handle(job))
            if self._ahead is not None:
                self._ahead.ran(running_s() - begun)
            if is_urgent or job.key is not None:
                self._hand.settle(claims.main)
            self._give_up_keys(claims.main)
        self._hand.keep(0, claims.main)
        return together < len(claimed)

    def _may_begin(self, link: Link, claimed: Claimed) -> bool:
        """Asks whether a job may start that others must know of first: one with a key, or that lets its unique key go.
        Else it has left the run list."""
        may = False
        try:
            may = self._announce(link, claimed)
        finally:
            if not may:
                self._hand.drop()
        if not may:
            self._give_up_keys(link)
        return may

    def _give_up_keys(self, link: Link) -> None:
        """To be called when nothing of this slot that has a key lies in a run list any more."""
        while self._owed:
            source, key = self._owed[-1]
            keyed.release(link, self._keys, source, key)
            self._owed.pop()

    def _announce(self, link: Link, claimed: Claimed) -> bool:
        job, source = claimed.job, claimed.source
        if job is None or not self._desk.memory.may_start(job):
            return True
        if claimed.key is not None:
            if not keyed.admit(link, self._keys, source, claimed.data, job, claimed.key):
                return False
            self._owed.append((source, claimed.key))
        if not claimed.lets_go:
            return True
        claimed.begun_s = running_s()
        return begins(link, begin(self._keys, source.queue, source.entry, job, self._desk.clock, claimed.begun_s))
