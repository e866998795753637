"""Troubles with Redis, told once: a fault hits many connections and commands, but a person reads one line when it
begins, one for each further kind of it, and one when all is well again. Decides nothing else."""

from __future__ import annotations

import logging
import threading

from .clock import running_s
from .errors import Refused, TempestError

log = logging.getLogger("tempest")

_AWAY = "away"
_ORDERS = frozenset(("UNBLOCKED", "MOVED", "ASK", "TRYAGAIN"))
"""Orders to connect anew; no fault by themselves."""
_CALM_S = 2.0
"""How long nothing may have failed before all is well: several threads notice one fault one after the other."""
_FORGOTTEN_S = 8.0
"""A part that has neither failed nor succeeded for this long has nothing to do: its trouble is over."""


class Faults:
    """The faults that this process meets. A part is a name such as ``beats``. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failing: dict[str, float] = {}
        self._words: list[str] = []
        self._begun_s = self._last_s = 0.0

    def failed(self, part: str, error: TempestError) -> None:
        """Takes an error that a part met. It is said if it is news; a connection that breaks while something else is
        wrong is a consequence of that."""
        word = error.word if isinstance(error, Refused) else _AWAY
        if word in _ORDERS:
            return
        now = running_s()
        with self._lock:
            if not self._words:
                self._begun_s = now
            self._last_s = self._failing[part] = now
            is_known = word in self._words or (word == _AWAY and bool(self._words))
            if not is_known:
                self._words.append(word)
        level = logging.DEBUG if is_known else logging.WARNING
        log.log(level, "Redis is in trouble (%s, %s): %s; going on as soon as it serves", word, part, error.detail)

    def well(self, part: str) -> None:
        """Takes that a part succeeded. Parts that do so all the time, like beats, notice the end of a fault."""
        if not self._words:
            return
        now = running_s()
        with self._lock:
            if self._failing.pop(part, None) is not None:
                self._last_s = now
            self._failing = {name: at for name, at in self._failing.items() if now - at < _FORGOTTEN_S}
            if self._failing or now - self._last_s < _CALM_S or not self._words:
                return
            words, self._words = self._words, []
            lasted_s = self._last_s - self._begun_s
        log.info("Redis serves again: %s for %.1f s", ", ".join(words), lasted_s)
