"""A process and its parent: how it is started, asked to end, and heard of.

The parent holds one end of two pipes. When it lets go of the first, or dies, the child drains: no signal is needed, and
one that a terminal or a supervisor sends to the whole group does no harm. Through the second the child tells a word of
one byte.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable

from ..errors import SetupError
from .ears import KEPT, deafen

log = logging.getLogger("tempest")

READY, CHANGED, FAILED = b"r", b"c", b"f"
"""What a child tells: it serves; a file of the application changed; the application cannot be loaded."""
UNLOADABLE = 3
"""The exit code of a child that could not load the application."""

_held: set[int] = set()
"""Ends of pipes that this process holds as a parent. A child of it must not, or a sibling would never see an end."""


class Line:
    """A child's side: ``life`` can be read when it shall end; ``tell`` says a word to its parent."""

    def __init__(self, life: int, told: int) -> None:
        self.life = life
        self._told = told

    def tell(self, word: bytes) -> None:
        """Tells a word. A parent that is no more does not hear it."""
        with contextlib.suppress(OSError):
            os.write(self._told, word)


class Child:
    """The parent's side."""

    def __init__(self, pid: int, life: int, told: int) -> None:
        self.pid = pid
        self.told = told
        """Can be read when the child tells something; closed by :meth:`hear` at its end."""
        self.born_s = time.monotonic()
        self.status: int | None = None
        """The exit code, or a signal's number below zero; none while it lives."""
        self._life: int | None = life

    @staticmethod
    def fork(work: Callable[[Line], int]) -> Child:
        """Starts a process that does ``work`` and ends with the code that it gives."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        life_read, life_write = os.pipe()
        told_read, told_write = os.pipe()
        _held.update((life_write, told_read))
        # Until the child has forgotten the handlers of its parent no signal may reach it.
        signal.pthread_sigmask(signal.SIG_BLOCK, KEPT)
        pid = os.fork()
        if pid == 0:
            _live(work, Line(life_read, told_write))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT)
        os.close(life_read)
        os.close(told_write)
        os.set_blocking(told_read, False)
        return Child(pid, life_write, told_read)

    def hear(self) -> bytes:
        """The words it told since; none if it told nothing."""
        try:
            return os.read(self.told, 64)
        except BlockingIOError:
            return b""

    def end(self) -> None:
        """Asks it to drain and end."""
        if self._life is not None:
            _let_go(self._life)
            self._life = None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal, unless it is gone."""
        if self.status is None:
            os.kill(self.pid, number)

    def is_gone(self) -> bool:
        """Tells whether it has ended, without waiting for it."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
                self.end()
                _let_go(self.told)
        return self.status is not None

    def how(self) -> str:
        """How it ended, in words."""
        if self.status is not None and self.status < 0:
            return f"was ended by {signal.Signals(-self.status).name}"
        return f"ended with code {self.status}"


def _let_go(end: int) -> None:
    _held.discard(end)
    os.close(end)


def _live(work: Callable[[Line], int], line: Line) -> None:
    """The whole life of a child: it never returns into the parent's code."""
    code = 1
    try:
        deafen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT)
        for end in _held:
            os.close(end)
        _held.clear()
        code = work(line)
    except SetupError as error:
        log.error("%s", error.detail)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        log.exception("process %d fails", os.getpid())
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        os._exit(code)
