"""What limits the queues of a worker, as its beats and the control channel tell (SPEC "Background jobs", Limits)."""

from __future__ import annotations

import threading
from collections.abc import Sequence

GOVERNING = ("paused", "concurrency", "rate")
"""What of the hash of a queue changes how its jobs are claimed."""


class QueueLimits:
    """Which queues are limited. May be used by several threads."""

    def __init__(self) -> None:
        self.is_any = False
        """Some queue is limited: claims ask first."""
        self._known: dict[str, dict[str, bytes]] = {}
        self._changed = threading.Condition()

    def learn(self, queue: str, values: Sequence[bytes | None]) -> bool:
        """Takes the values of :data:`GOVERNING`. Gives whether something changed."""
        found = {name: value for name, value in zip(GOVERNING, values, strict=True) if value is not None}
        if found.get("paused") not in (None, b"1"):
            del found["paused"]
        with self._changed:
            if self._known.get(queue, {}) == found:
                return False
            self._known[queue] = found
            self.is_any = any(self._known.values())
            self._changed.notify_all()
            return True

    def governs(self, queue: str) -> bool:
        """Tells whether jobs of this queue are claimed with the script ``take``."""
        return bool(self._known.get(queue))

    def is_paused(self, queue: str) -> bool:
        """Tells whether nothing is claimed of this queue."""
        return "paused" in self._known.get(queue, {})

    def wait(self, seconds: float) -> None:
        """Waits so long, or until something changes."""
        with self._changed:
            self._changed.wait(seconds)

    def wake(self) -> None:
        """Ends all waits."""
        with self._changed:
            self._changed.notify_all()
