"""Log lines about what others do wrong, at a rate nobody can raise: whoever sends garbage must not fill the disk."""

from __future__ import annotations

import logging
import threading
import time

BURST = 10
"""Lines that may come at once; after that, one a second."""


class Rarely:
    """A kind of log line that comes at most ten times at once and then once a second."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._said = 0
        self._since = time.monotonic()
        self._unsaid = 0

    def warn(self, message: str, *arguments: object) -> None:
        """Logs a warning, or counts that it was not logged; the next one tells how many were left out."""
        unsaid = self._admit(time.monotonic())
        if unsaid is None:
            return
        if unsaid:
            message, arguments = message + " (%d more like this)", (*arguments, unsaid)
        self._log.warning(message, *arguments)

    def _admit(self, now: float) -> int | None:
        """How many lines were left out since the last one; none: this one is left out too."""
        with self._lock:
            paced = int(now - self._since)
            if paced > 0:
                self._said, self._since = max(0, self._said - paced), now
            if self._said == BURST:
                self._unsaid += 1
                return None
            self._said += 1
            unsaid, self._unsaid = self._unsaid, 0
            return unsaid
