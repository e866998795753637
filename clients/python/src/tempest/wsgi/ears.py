"""What a process that keeps others waits for: signals, and the ends of pipes."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable, Mapping

KEPT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD)
"""The signals such a process handles; its children begin without these handlers."""


class Ears:
    """Signals become calls, made in the main thread; each also ends a :meth:`wait`."""

    def __init__(self, calls: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Signals of :data:`KEPT` that ``calls`` does not name do nothing. Raises ``ValueError`` outside of the main
        thread."""
        self._read, self._write = os.pipe()
        for end in (self._read, self._write):
            os.set_blocking(end, False)
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _calling(calls.get(number))) for number in KEPT}

    def wait(self, ends: Iterable[int], within_s: float) -> set[int]:
        """Waits for a signal or for one of the ends; gives the ends that can be read."""
        poll = select.poll()
        for end in (self._read, *ends):
            poll.register(end, select.POLLIN)
        heard = {end for end, _ in poll.poll(int(within_s * 1000) + 1)}
        if self._read in heard:
            os.read(self._read, 4096)
        return heard

    def close(self) -> None:
        """Puts back what handled the signals before."""
        signal.set_wakeup_fd(self._wakeup_before)
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._read)
        os.close(self._write)


def deafen() -> None:
    """In a new child: forgets its parent's handlers. It stays unmoved when a terminal hangs up: its parent decides."""
    signal.set_wakeup_fd(-1)
    for number in KEPT:
        signal.signal(number, signal.SIG_IGN if number is signal.SIGHUP else signal.SIG_DFL)


def _calling(call: Callable[[], None] | None) -> Callable[[int, object], None]:
    def handle(_number: int, _frame: object) -> None:
        if call is not None:
            call()

    return handle
