"""Listens to what is said on the control channels (SPEC "Cancel", "Drain").

A worker heeds ``cancel <id>``, ``drain``, ``drain <worker>`` and ``limits``. ``kill <id> <ms>`` is for whoever keeps
this process, and ignored here as all that is unknown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from .clock import running_s
from .errors import RedisAway, TempestError
from .limits import BLOCK_ANSWER_S, PING_S
from .link import Link, Pauses, Place
from .names import is_name


class Control(threading.Thread):
    """Keeps a subscription of its own, probed by ``PING`` and made anew for ever. Anything unknown is ignored."""

    def __init__(
        self,
        place: Place,
        channels: Sequence[str],
        worker: str,
        on_cancel: Callable[[str], None],
        on_drain: Callable[[], None],
        on_limits: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name="tempest-control", daemon=True)
        self.listening = threading.Event()
        """Set while the subscription is confirmed."""
        self._place = place
        self._channels = channels
        self._worker = worker
        self._on_cancel = on_cancel
        self._on_drain = on_drain
        self._on_limits = on_limits
        self._over = threading.Event()

    def run(self) -> None:
        """Listens until :meth:`stop`."""
        pauses = Pauses()
        while not self._over.is_set():
            try:
                self._listen(self._place.open(BLOCK_ANSWER_S), pauses)
            except TempestError as error:
                self.listening.clear()
                self._place.faults.failed("control", error)
                self._over.wait(pauses.after(error))

    def _listen(self, link: Link, pauses: Pauses) -> None:
        try:
            link.send([("SUBSCRIBE", *self._channels)])
            for _ in self._channels:
                link.read()
            self.listening.set()
            pauses.over()
            self._place.faults.well("control")
            probed, heard = running_s(), running_s()
            while not self._over.is_set():
                if link.has_answer(0.25):
                    self._take(link.read())
                    heard = running_s()
                elif heard < probed and running_s() - probed > BLOCK_ANSWER_S:
                    raise RedisAway("the subscription does not answer")
                elif running_s() - probed > PING_S:
                    link.send([("PING",)])
                    probed = running_s()
        finally:
            link.close()

    def _take(self, message: object) -> None:
        if not (isinstance(message, list) and len(message) == 3 and message[0] == b"message"):
            return
        words = bytes(message[2]).decode("ascii", "replace").split(" ")
        if words[0] == "cancel" and len(words) == 2 and is_name("id", words[1]):
            self._on_cancel(words[1])
        elif words in (["drain"], ["drain", self._worker]):
            self._on_drain()
        elif words == ["limits"]:
            self._on_limits()

    def stop(self) -> None:
        """Stops listening."""
        self._over.set()
        self.join(timeout=BLOCK_ANSWER_S)
