"""Says in the records of jobs that they run, once they have run for a while: what is shorter is never seen to run."""

from __future__ import annotations

import threading

from . import scripts
from .clock import running_s
from .context import Context
from .errors import TempestError
from .limits import TELL_RUNNING_S
from .link import Link, Place
from .memory import Memory


class Teller(threading.Thread):
    """Looks at what runs every 10 ms while jobs are started, and not at all else. A record that could not be written
    stays as it was: it is for whoever looks, and the slot meets with the same trouble and says so."""

    def __init__(self, place: Place, memory: Memory) -> None:
        super().__init__(name="tempest-teller", daemon=True)
        self._place = place
        self._memory = memory
        self._link: Link | None = None
        self._over = threading.Event()

    def run(self) -> None:
        """Tells until :meth:`stop`."""
        started = self._memory.started
        while not self._over.is_set():
            started.wait()
            self._over.wait(TELL_RUNNING_S)
            started.clear()
            if self._tell():
                started.set()
        if self._link is not None:
            self._link.close()

    def _tell(self) -> bool:
        """Tells of those that have run long enough. Gives whether others have not."""
        is_young = False
        for context in self._memory.running():
            if context.was_told_of or not context.has_record:
                continue
            if running_s() - context.started_s < TELL_RUNNING_S:
                is_young = True
            else:
                context.was_told_of = True
                self._tell_of(context)
        return is_young

    def _tell_of(self, context: Context) -> None:
        try:
            if self._link is None or self._link.broken:
                self._link = self._place.open()
            scripts.run(self._link, [context.begun()])
        except TempestError:
            if self._link is not None:
                self._link.close()

    def stop(self) -> None:
        """Stops telling."""
        self._over.set()
        self._memory.started.set()
        self.join(timeout=1.0)
