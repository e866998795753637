"""Who says that a job began, and when that was heard.

Workers send a datagram as the first act of a handler. The time is taken here, by one clock, so that it holds the way of
that datagram too: some tens of microseconds on loopback.
"""

import socket
import time
from typing import NamedTuple

READY = "ready"


class Start(NamedTuple):
    """A handler began."""

    id: str
    attempt: int
    pid: int
    at_ns: int


class Ears:
    """A port of this machine."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def hear(self, until_ns):
        """The next start, or None when it is that late (by the monotonic clock) and none has come."""
        self._socket.settimeout(max(0, until_ns - time.monotonic_ns()) / 1e9)
        try:
            text = self._socket.recv(256)
        except (TimeoutError, BlockingIOError):
            return None
        at_ns = time.monotonic_ns()
        name, attempt, pid = text.decode().split()
        return Start(name, int(attempt), int(pid), at_ns)

    def expect(self, count, what, patience_s=30):
        """That many starts; ends the program when they do not come."""
        until_ns = time.monotonic_ns() + int(patience_s * 1e9)
        heard = []
        while len(heard) < count:
            start = self.hear(until_ns)
            if start is None:
                raise RuntimeError(f"{what}: {len(heard)} of {count} within {patience_s} s")
            heard.append(start)
        return heard
