"""Where one process receives replies (SPEC "Mailboxes").

The reader peeks before it removes: a reply leaves Redis only after it was handed on, so a cut connection loses none. It
may be seen twice; then nobody waits for it any more.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading

from .bus import Bus
from .errors import TempestError, WireError
from .frame import read
from .limits import ABOUT_S, BEAT_S, BLOCK_ANSWER_S, BLOCK_S
from .link import Link, Pauses
from .wire import Reply, decode_reply

log = logging.getLogger("tempest")

Received = Reply | WireError


class Mailbox:
    """An open mailbox: read by one thread, kept known to live by another. Close it when done."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._name = f"python-{secrets.token_hex(8)}"
        self.key = bus.keys.mailbox(self._name)
        """The full key: what jobs carry as ``reply_to``."""
        self._waiting: dict[str, queue.SimpleQueue[Received]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._beat()
        self._threads = [
            threading.Thread(target=self._beats, name="tempest-mailbox-beat", daemon=True),
            threading.Thread(target=self._reads, name="tempest-mailbox", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def expect(self, job_id: str) -> queue.SimpleQueue[Received]:
        """Begins to wait for the replies to a job. Call it before the push, and :meth:`forget` after all."""
        with self._lock:
            return self._waiting.setdefault(job_id, queue.SimpleQueue())

    def forget(self, job_id: str) -> None:
        """Stops waiting for a job."""
        with self._lock:
            self._waiting.pop(job_id, None)

    def _beat(self) -> None:
        about = ("SET", self._bus.keys.about(self._name), "{}", "PX", int(ABOUT_S * 1000))
        self._bus.ask_all(("SADD", self._bus.keys.mailboxes(), self._name), about)

    def _beats(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self._beat()
            except TempestError as error:
                log.debug("a beat of the mailbox failed: %s", error)

    def _reads(self) -> None:
        pauses = Pauses()
        while not self._over.is_set():
            try:
                self._read_on(self._bus.place.open(BLOCK_ANSWER_S), pauses)
            except TempestError as error:
                self._bus.place.faults.failed("mailbox", error)
                self._over.wait(pauses.after(error))

    def _read_on(self, link: Link, pauses: Pauses) -> None:
        try:
            while not self._over.is_set():
                first = link.ask("BLMOVE", self.key, self.key, "LEFT", "LEFT", BLOCK_S)
                pauses.over()
                self._bus.place.faults.well("mailbox")
                while first is not None:
                    self._hand_on(first)
                    answers = link.ask_all([("LTRIM", self.key, 1, -1), ("LINDEX", self.key, 0)])
                    first = answers[1] if isinstance(answers[1], bytes) else None
        finally:
            link.close()

    def _hand_on(self, data: bytes) -> None:
        received: Received
        try:
            received = decode_reply(data)
            job_id = received.id
        except WireError as error:
            received, job_id = error, _id_in(data)
        with self._lock:
            waiter = self._waiting.get(job_id)
        if waiter is not None:
            waiter.put(received)

    def close(self) -> None:
        """Stops reading and removes the mailbox."""
        self._over.set()
        for thread in self._threads:
            thread.join(BLOCK_ANSWER_S)
        keys = self._bus.keys
        self._bus.ask_all(
            ("UNLINK", self.key, keys.about(self._name)),
            ("SREM", keys.mailboxes(), self._name),
        )


def _id_in(data: bytes) -> str:
    """The id of a reply that cannot be read otherwise, so that its caller need not wait for ever."""
    try:
        return str(read(data, "result").values.get("id") or "")
    except WireError:
        return ""
