"""The program itself: it keeps one crew, and puts another in its place when the application shall be loaded anew.

It never loads the application: a new crew finds every module as it is on disk then.
"""

from __future__ import annotations

import logging
import time
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTERM

from ..limits import RESTART_BASE_MS, RESTART_CAP_MS, RESTART_STEADY_S, backoff_cap_ms
from .child import CHANGED, FAILED, READY, UNLOADABLE, Child, Line
from .crew import Crew
from .ears import Ears
from .plan import Plan

log = logging.getLogger("tempest")


class Lead:
    """Crews come and go; the last one that serves stays until another one does."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._serving: Child | None = None
        self._next: Child | None = None
        self._leaving: list[Child] = []
        self._is_ending = False
        self._code = 0
        self._quick_deaths = 0
        self._start_at_s: float | None = 0.0

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT; a second one ends all at once. Gives an exit code."""
        calls = {SIGTERM: self._signalled, SIGINT: self._signalled, SIGQUIT: self._kill, SIGHUP: self._replace}
        self._ears = Ears(calls)
        while self._crews() or self._start_at_s is not None:
            self._start_due()
            pause_s = 60.0 if self._start_at_s is None else self._start_at_s - time.monotonic()
            self._ears.wait([crew.told for crew in self._crews()], max(0.0, pause_s))
            for crew in self._crews():
                for word in crew.hear():
                    self._heard(crew, bytes([word]))
                if crew.is_gone():
                    self._gone(crew)
        self._ears.close()
        return self._code

    def _crews(self) -> list[Child]:
        return [crew for crew in (self._serving, self._next, *self._leaving) if crew is not None]

    def _start_due(self) -> None:
        if self._start_at_s is not None and self._start_at_s <= time.monotonic():
            self._start_at_s = None
            self._next = Child.fork(lambda line: _crew(self._plan, line))

    def _replace(self) -> None:
        """Starts another crew; one that does not serve yet is given up."""
        if self._is_ending:
            return
        log.info("the application is loaded anew")
        if self._next is not None:
            self._dismiss(self._next)
            self._next = None
        self._start_at_s = time.monotonic()

    def _dismiss(self, crew: Child) -> None:
        crew.end()
        self._leaving.append(crew)

    def _heard(self, crew: Child, word: bytes) -> None:
        if word == READY and crew is self._next:
            if self._serving is not None:
                self._dismiss(self._serving)
            self._serving, self._next = crew, None
        elif word == CHANGED and crew is (self._next or self._serving):
            self._replace()
        elif word == FAILED and crew is self._next:
            stays = "the processes with the old one go on" if self._serving else "nobody serves"
            log.warning("%s until a file is changed", stays)

    def _gone(self, crew: Child) -> None:
        if crew in self._leaving:
            self._leaving.remove(crew)
        elif crew is self._next and crew.status == UNLOADABLE:
            self._next = None
            if self._serving is None:
                self._code, self._is_ending = 1, True
            else:
                log.warning("the processes with the old application go on")
        else:
            self._lost(crew)

    def _lost(self, crew: Child) -> None:
        """A crew ended that should not have; its workers drain by themselves."""
        if crew is self._serving:
            self._serving = None
        else:
            self._next = None
        if self._is_ending:
            return
        if time.monotonic() - crew.born_s >= RESTART_STEADY_S:
            self._quick_deaths = 0
        self._quick_deaths += 1
        pause_ms = backoff_cap_ms(RESTART_BASE_MS, RESTART_CAP_MS, self._quick_deaths)
        log.error("process %d, which keeps the workers, %s: another one starts", crew.pid, crew.how())
        if self._next is None:
            self._start_at_s = time.monotonic() + pause_ms / 1000

    def _signalled(self) -> None:
        if self._is_ending:
            self._kill()
            return
        self._end()

    def _end(self) -> None:
        self._is_ending = True
        self._start_at_s = None
        for crew in self._crews():
            crew.end()

    def _kill(self) -> None:
        self._end()
        for crew in self._crews():
            crew.kill(SIGQUIT)


def _crew(plan: Plan, line: Line) -> int:
    return Crew(plan, line).run()
