"""The kinds of workers, and what stands between a client and their answer: a private Redis, one front, one worker."""

import http.client
import time
from dataclasses import dataclass

from contenders import SHARED
from measured import cpu_seconds

PATIENCE_S = 30


@dataclass(frozen=True)
class Kind:
    """A worker. ``work``: what a request takes (bench-busy); ``clients``: enough to keep its slots full, too few to be
    refused."""

    about: str
    work: str
    slots: int
    clients: int
    deadlines_ms: tuple[int, ...]


KINDS = {
    "sleep": Kind("16 slots, handlers wait 10 ms: the machine is not full", "sleep:10000", 16, 64, (250, 1_000, 5_000)),
    "burn": Kind("2 slots, handlers compute for 2 ms: both cores are full", "burn:2000", 2, 16, (250, 1_000, 5_000)),
    "hello": Kind("64 slots, handlers do nothing: front, Redis, worker fill it", "none", 64, 256, (250, 1_000)),
}


class Scene:
    """Redis, front and worker of one kind and deadline."""

    def __init__(self, ground, kind, deadline_ms):
        self.port, _, heads, told = ground.front(TEMPEST_TIMEOUT_MS=str(deadline_ms), **SHARED)
        told |= {"TEMPEST_CONCURRENCY": str(kind.slots), "WORK": kind.work}
        self._heads = heads | {"worker": ground.start(ground.built("bench-busy"), log="busy.log", **told)}
        self.begun()

    def begun(self):
        """How many requests the worker has begun to work for, once it serves and nothing waits before this question."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            status, body = ask(self.port, "/counts")
            if status == 200:
                return int(body)
            time.sleep(0.1)
        raise SystemExit(f"the worker does not serve: {status} {body!r}")

    def cpu_s(self):
        """Seconds of a processor that each has used so far."""
        return {name: cpu_seconds(head.pid) for name, head in self._heads.items()}

    def stop(self):
        """Ends all of it."""
        for head in reversed(self._heads.values()):
            head.terminate()
            head.wait(PATIENCE_S)


def ask(port, path):
    """Status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
