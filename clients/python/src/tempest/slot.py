"""One slot: a thread that claims a job, runs its handler, settles it, and claims the next (SPEC "Claim, reply, ack").

A slot claims only while it is free. The ack of a job and the claim of the next go out in one write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from .claims import Claimed, Claims
from .desk import Desk
from .errors import TempestError
from .link import Pauses, Place
from .outbox import Outbox
from .presence import Presence, Source
from .settle import Settlement

log = logging.getLogger("tempest")


class Slot(threading.Thread):
    """Works until the worker drains."""

    def __init__(
        self,
        number: int,
        place: Place,
        sources: Sequence[Source],
        presence: Presence,
        desk: Desk,
        outbox: Outbox,
        draining: threading.Event,
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
        self._unsettled: list[Settlement] = []
        self._look_due = False
        self._held: set[str] = set()
        self._pauses = Pauses()

    def blocked_clients(self) -> list[int]:
        """The connections that wait for a job now, to be unblocked when the worker drains."""
        claims = self._claims
        return [] if claims is None or self._held else claims.client_ids

    def found_in(self, run_key: str, held: int) -> None:
        """Takes the length of a run list: more than is known of is a claim whose answer was lost."""
        if held > (run_key in self._held):
            self._look_due = True

    def run(self) -> None:
        """Serves; after an error connects anew and goes on."""
        while True:
            try:
                self._serve()
                return
            except TempestError as error:
                pause = self._pauses.after(error)
                if self._pauses.is_news(error):
                    log.warning("claims fail, trying again: %s", error.detail)
            except Exception:
                log.exception("claims fail, trying again")
                pause = 1.0
            if self._draining.is_set():
                if not self._unsettled:
                    return
                time.sleep(pause)
            self._draining.wait(pause)

    def _serve(self) -> None:
        claims = Claims(self._place, self._sources, self.may_unblock)
        try:
            self._presence.beat(claims.main)
            self._settle(claims)
            self._claims, look = claims, True
            while not self._draining.is_set():
                look = self._turn(claims, look)
            self._settle(claims)
            for source in self._sources:
                while claims.give_back(source):
                    self._desk.report.count("given_back")
        finally:
            self._claims = None
            claims.close()

    def _turn(self, claims: Claims, look: bool) -> bool:
        """Takes one step. Gives whether the next one must look into the run lists."""
        if not self._presence.is_fresh():
            self._settle(claims)
            self._presence.beat(claims.main)
            look = True
        if look or self._look_due:
            self._settle(claims)
            self._look_due = False
            found = claims.look()
            if found is not None:
                self._do(claims, found)
                return True
        return self._claim(claims)

    def _claim(self, claims: Claims) -> bool:
        lapses = self._presence.lapses
        answers = claims.begin([command for each in self._unsettled for command in each.commands()])
        self._confirm(claims, answers)
        claimed = claims.wait()
        if self._pauses.over():
            log.info("claims are answered again")
        if claimed is None or self._draining.is_set():
            return True
        if lapses != self._presence.lapses or not self._presence.is_fresh():
            # This process was stopped, or Redis was away, for longer than a lease: others may have taken the job.
            return True
        self._do(claims, claimed)
        return False

    def _do(self, claims: Claims, claimed: Claimed) -> None:
        source, data = claimed
        self._held.add(source.run_key)
        settlement = self._desk.handle(source, data)
        self._unsettled.append(settlement)
        if not settlement.goes_ahead:
            self._settle(claims)

    def _settle(self, claims: Claims) -> None:
        """Sends what is not confirmed, and reads that it is."""
        commands = [command for each in self._unsettled for command in each.commands()]
        if commands:
            self._confirm(claims, claims.main.ask_all(commands))

    def _confirm(self, claims: Claims, answers: list[object]) -> None:
        while self._unsettled:
            settlement = self._unsettled[0]
            count = len(settlement.commands())
            settlement.confirm(answers[:count], claims.main, self._outbox)
            answers = answers[count:]
            self._unsettled.pop(0)
            self._held.discard(settlement.run_key)
