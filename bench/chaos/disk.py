"""What a machine that loses power leaves of Redis' append-only file: all but its end, which was written but not synced.

A kill of Redis alone loses none of that, since the system still writes it. So the loss is played: the file is cut back
to the length it had so many seconds before the kill.
"""

import asyncio
import os
import time
from bisect import bisect_right

EVERY_S = 0.02


class Disk:
    """The append-only file of a Redis in this folder, which does not rewrite it."""

    def __init__(self, folder):
        self.folder = folder
        self._times, self._sizes = [], []

    async def watch(self):
        """Remembers how long the file was, until it is cancelled."""
        while True:
            self.note()
            await asyncio.sleep(EVERY_S)

    def begin(self):
        """Redis starts: what the file has now was read from the disk, and cannot be lost again."""
        self._times, self._sizes = [], []
        self.note()

    def lose(self, seconds):
        """Redis has died: takes its last seconds out of the file; gives how many bytes that are."""
        file = self._file()
        if not self._times or file is None:
            return 0
        place = max(0, bisect_right(self._times, time.monotonic() - seconds) - 1)
        lost = file.stat().st_size - self._sizes[place]
        os.truncate(file, self._sizes[place])
        return lost

    def note(self):
        """Remembers how long the file is now."""
        file = self._file()
        if file is not None:
            self._times.append(time.monotonic())
            self._sizes.append(file.stat().st_size)

    def _file(self):
        return next(self.folder.glob("appendonlydir/*.incr.aof"), None)
