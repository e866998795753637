"""What the workers wrote down: a line for each start, end and planned failure of an order.

``what ms worker pid id attempt payload``, in a file of each process, each line one write at its end. A worker that
was killed in the middle of a write leaves at most one broken line, its last; it is no evidence.
"""

from collections import defaultdict
from dataclasses import dataclass

FIELDS = 7
# As far back as a job can lie that somebody with a few slots is still at.
LAST_LINES = 12
LAST_BYTES = 40_000


@dataclass(frozen=True, order=True)
class Entry:
    """One line. ``ms`` is the wall clock of the machine, which all processes share."""

    ms: int
    what: str
    worker: str
    pid: int
    id: str
    attempt: int
    payload: str


def read(folder):
    """All entries of a run by id, in the order of time."""
    found = defaultdict(list)
    for file in sorted(folder.iterdir()):
        for line in file.read_text(errors="replace").splitlines():
            entry = parse(line)
            if entry:
                found[entry.id].append(entry)
    return {key: sorted(entries) for key, entries in found.items()}


def has_job(file):
    """Whether the worker that writes this file has started something that it has not ended."""
    try:
        with file.open("rb") as written:
            written.seek(max(0, file.stat().st_size - LAST_BYTES))
            lines = written.read().decode(errors="replace").splitlines()
    except OSError:
        return False
    entries = [entry for entry in map(parse, lines[-LAST_LINES:]) if entry]
    ended = {(entry.id, entry.attempt) for entry in entries if entry.what != "start"}
    return any(entry.what == "start" and (entry.id, entry.attempt) not in ended for entry in entries)


def parse(line):
    """The entry of a line; none if it is broken."""
    words = line.split(" ")
    if len(words) != FIELDS or words[0] not in ("start", "end", "fail"):
        return None
    what, ms, worker, pid, order, attempt, payload = words
    try:
        return Entry(int(ms), what, worker, int(pid), order, int(attempt), payload)
    except ValueError:
        return None
