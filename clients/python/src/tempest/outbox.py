"""Replies that Redis refused (out of memory, not permitted): kept and sent again until nobody waits any more."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from .clock import Clock, running_s
from .errors import Refused, TempestError
from .limits import REFUSED_REPLIES_MAX, REFUSED_REPLY_S, REPLY_BYTES_MAX
from .link import Link, Pauses, Place

log = logging.getLogger("tempest")


@dataclass
class Unsent:
    """A refused reply."""

    reply_to: str
    reply: bytes
    deadline: int
    since_s: float

    def is_late(self, clock: Clock) -> bool:
        """Tells whether nobody waits for it any more."""
        now = clock.now_ms()
        if self.deadline and now is not None:
            return now > self.deadline
        return running_s() - self.since_s > REFUSED_REPLY_S


class Outbox(threading.Thread):
    """Sends refused replies again, each at most a second after the last try."""

    def __init__(self, place: Place, clock: Clock) -> None:
        super().__init__(name="tempest-outbox", daemon=True)
        self._place = place
        self._clock = clock
        self._unsent: deque[Unsent] = deque()
        self._changed = threading.Condition()
        self._over = False

    def put(self, reply_to: str, reply: bytes, deadline: int) -> None:
        """Keeps a refused reply. When too many are kept the oldest one is given up."""
        with self._changed:
            self._unsent.append(Unsent(reply_to, reply, deadline, running_s()))
            while len(self._unsent) > 1 and self._is_full():
                log.error("a refused reply to %s is given up: too many are kept", self._unsent.popleft().reply_to)
            self._changed.notify_all()

    def _is_full(self) -> bool:
        size = sum(len(unsent.reply) for unsent in self._unsent)
        return len(self._unsent) > REFUSED_REPLIES_MAX or size > 4 * REPLY_BYTES_MAX

    def run(self) -> None:
        """Sends until :meth:`stop`."""
        pauses, link = Pauses(), None
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._unsent or self._over)
                if self._over:
                    return
            try:
                if link is None or link.broken:
                    link = self._place.open()
                self._send(link)
                pauses.over()
                self._place.faults.well("replies")
            except TempestError as error:
                self._place.faults.failed("replies", error)
                with self._changed:
                    self._changed.wait_for(lambda: self._over, timeout=min(1.0, pauses.after(error)))

    def _send(self, link: Link) -> None:
        """Sends each kept reply once; keeps those that are refused again."""
        refused: Refused | None = None
        for unsent in list(self._unsent):
            if not unsent.is_late(self._clock):
                answer = link.ask_all([("RPUSH", unsent.reply_to, unsent.reply)])[0]
                if isinstance(answer, Refused):
                    refused = answer
                    continue
            else:
                # Nobody waits any more: whoever did has been told so. Why it was refused was said once.
                log.debug("a refused reply to %s came too late", unsent.reply_to)
            with self._changed:
                if unsent in self._unsent:
                    self._unsent.remove(unsent)
                self._changed.notify_all()
        if refused is not None:
            raise refused

    def stop(self, wait_s: float) -> int:
        """Waits until all replies are sent, at most ``wait_s``; gives how many were not."""
        with self._changed:
            self._changed.wait_for(lambda: not self._unsent, timeout=wait_s)
            self._over = True
            self._changed.notify_all()
            return len(self._unsent)
