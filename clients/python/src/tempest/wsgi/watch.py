"""Tells when a file of the program changes: its modules, and those that a failed import names."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

from .child import CHANGED, Line

PAUSE_S = 0.5
"""How often the files are looked at."""
_COARSE_S = 0.01
"""How far the time of a file may be behind the clock."""

Look = dict[str, tuple[int, int] | None]


class Files:
    """The files of all modules that are loaded now or later, and ``more``."""

    def __init__(self, loaded_s: float, more: Iterable[str] = ()) -> None:
        """``loaded_s`` is the time at which loading began: what was saved since then may have been read before."""
        self._more = set(more)
        look = self._look()
        # A time that is still to come says nothing; it would be new to each process again.
        since_ns, now_ns = int((loaded_s - _COARSE_S) * 1e9), time.time_ns()
        fresh = {path for path, stamp in look.items() if stamp is not None and since_ns < stamp[0] <= now_ns}
        self._seen: Look = {path: None if path in fresh else stamp for path, stamp in look.items()}

    def changed(self) -> list[str]:
        """The files that changed since the last time; a file that is new to this process is not one."""
        look, seen = self._look(), self._seen
        self._seen = seen | look
        return sorted(path for path, stamp in look.items() if path in seen and seen[path] != stamp)

    def settled(self) -> list[str]:
        """The same, but waits until nothing changes any more: an editor may write several files."""
        changed = now = self.changed()
        while now:
            time.sleep(PAUSE_S / 5)
            now = self.changed()
            changed = changed + now
        return changed

    def tell_changes(self, line: Line) -> None:
        """Tells each change to the parent, for ever."""
        while True:
            time.sleep(PAUSE_S)
            if self.settled():
                line.tell(CHANGED)

    def _look(self) -> Look:
        files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
        return {path: _stamp(path) for path in {*filter(None, files), *self._more}}


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def files_of(error: BaseException) -> set[str]:
    """The files that a traceback goes through, and the one that a syntax error is in."""
    files = set()
    if isinstance(error, SyntaxError) and error.filename:
        files.add(error.filename)
    trace = error.__traceback__
    while trace is not None:
        files.add(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return {path for path in files if os.path.isfile(path)}
