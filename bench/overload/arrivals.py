"""Load from bench-arrivals, and the lines it writes."""

import resource
import subprocess
import tempfile
from typing import NamedTuple


class Asked(NamedTuple):
    """One request: when it was due, sent and answered, in seconds since the beginning; status 0 is no answer; ``code``
    is the word of a refusal or what went wrong, ``-`` for neither."""

    due_s: float
    sent_s: float
    ended_s: float
    status: int
    code: str

    @property
    def took_s(self):
        """From when it was due."""
        return self.ended_s - self.due_s


def closed(program, port, clients, seconds):
    """What became of the requests of so many clients that ask one after the other."""
    return _run(program, port, "--connections", clients, "--seconds", seconds)


def offered(program, port, connections, phases, seed):
    """What became of requests that came at these rates, ``[(per second, seconds)]``, whoever was answered."""
    text = ",".join(f"{rate:.3f}x{seconds}" for rate, seconds in phases)
    return _run(program, port, "--connections", connections, "--phases", text, "--seed", seed)


def _run(program, port, *how):
    with tempfile.NamedTemporaryFile("r") as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [program, "--port", port, "--out", out.name, *how]
        subprocess.run(list(map(str, command)), check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        asked = [parsed(line) for line in out]
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return asked, used_s


def parsed(line):
    """One line of it."""
    due, sent, ended, status, code = line.split()
    return Asked(int(due) / 1e6, int(sent) / 1e6, int(ended) / 1e6, int(status), code)
