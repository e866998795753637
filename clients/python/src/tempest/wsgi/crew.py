"""A crew: the processes that serve one version of an application, and the process that loads it and keeps them."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
import time
from signal import SIGINT, SIGQUIT, SIGTERM, signal
from typing import TYPE_CHECKING

from ..errors import SetupError
from ..limits import RESTART_BASE_MS, RESTART_CAP_MS, RESTART_STEADY_S, backoff_cap_ms
from .child import CHANGED, FAILED, READY, UNLOADABLE, Child, Line
from .ears import Ears
from .plan import Plan
from .watch import PAUSE_S, Files, files_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("tempest")

_EXTRA_GRACE_S = 5.0
"""How much longer than its grace a worker may take to end, before it is killed."""


class Crew:
    """Loads, starts the workers, starts those anew that die, and ends them all."""

    def __init__(self, plan: Plan, line: Line | None = None) -> None:
        """``line`` leads to the parent that may replace this crew; none: this is the program itself, a second signal
        ends it at once."""
        self._plan = plan
        self._line = line
        self._app: WSGIApplication | None = None
        self._workers: list[Child] = []
        self._unready = plan.processes
        self._quick_deaths = 0
        self._due_s: list[float] = []
        self._drain_until_s: float | None = None
        self._code = 0
        self._loaded_s = time.time()
        self._life = [] if line is None else [line.life]

    def run(self) -> int:
        """Serves until it is told to end. Gives an exit code."""
        # An import may take long, or for ever: until it is over signals do what they do to any process.
        why = self._load() if self._plan.preload else None
        self._ears = Ears({SIGTERM: self._signalled, SIGINT: self._signalled, SIGQUIT: self._kill})
        if why is not None:
            self._wait_for_change(why)
            return UNLOADABLE
        self._due_s = [time.monotonic()] * self._plan.processes
        while self._workers or self._due_s:
            self._start_due()
            self._listen([worker.told for worker in self._workers], self._pause_s())
            self._look_after()
        self._ears.close()
        return self._code

    def _load(self) -> Unloadable | None:
        """Gets the application, or why there is none. What is in memory then is shared by all workers until somebody
        writes into it; the collector shall not."""
        try:
            self._app = loaded(self._plan)
        except Unloadable as why:
            return why
        gc.collect()
        gc.freeze()
        return None

    def _wait_for_change(self, why: Unloadable) -> None:
        """Somebody who edits an application mends what is wrong, and saves it: then its parent starts a new crew."""
        if self._line is None or not self._plan.reload:
            return
        self._line.tell(FAILED)
        files = Files(self._loaded_s, why.files)
        while self._drain_until_s is None:
            if files.settled():
                self._line.tell(CHANGED)
            self._listen([], PAUSE_S)

    def _listen(self, ends: list[int], within_s: float) -> None:
        heard = self._ears.wait([*ends, *self._life], within_s)
        if heard.intersection(self._life):
            self._life = []  # it can be read for ever
            self._drain()

    def _start_due(self) -> None:
        now = time.monotonic()
        for due_s in [each for each in self._due_s if each <= now]:
            self._due_s.remove(due_s)
            self._workers.append(Child.fork(lambda line: work(self._plan, self._app, self._loaded_s, line)))

    def _look_after(self) -> None:
        for worker in list(self._workers):
            for word in worker.hear():
                self._heard(bytes([word]))
            if worker.is_gone():
                self._workers.remove(worker)
                self._gone(worker)
        if self._drain_until_s is not None and time.monotonic() > self._drain_until_s:
            self._kill()

    def _heard(self, word: bytes) -> None:
        if word == READY and self._unready:
            self._unready -= 1
            if not self._unready and self._line is not None:
                self._line.tell(READY)
        elif word == CHANGED and self._line is not None:
            self._line.tell(CHANGED)

    def _gone(self, worker: Child) -> None:
        """Starts another one in its place, the later the more of them died young; unless none can ever serve."""
        if self._drain_until_s is not None:
            return
        if worker.status == UNLOADABLE and self._unready:
            self._code = UNLOADABLE
            self._drain()
            return
        if time.monotonic() - worker.born_s >= RESTART_STEADY_S:
            self._quick_deaths = 0
        pause_ms = backoff_cap_ms(RESTART_BASE_MS, RESTART_CAP_MS, self._quick_deaths) if self._quick_deaths else 0
        self._quick_deaths += 1
        self._due_s.append(time.monotonic() + pause_ms / 1000)
        log.error("worker process %d %s: another one starts in %d ms", worker.pid, worker.how(), pause_ms)

    def _pause_s(self) -> float:
        ends_s = [*self._due_s, *([] if self._drain_until_s is None else [self._drain_until_s])]
        return max(0.0, min([each - time.monotonic() for each in ends_s], default=60.0))

    def _signalled(self) -> None:
        if self._drain_until_s is not None and self._line is None:
            self._kill()
        self._drain()

    def _drain(self) -> None:
        if self._drain_until_s is None:
            self._drain_until_s = time.monotonic() + self._plan.grace_s + _EXTRA_GRACE_S
        self._due_s.clear()
        for worker in self._workers:
            worker.end()

    def _kill(self) -> None:
        self._drain_until_s = time.monotonic()
        self._due_s.clear()
        for worker in self._workers:
            worker.kill()


class Unloadable(Exception):
    """The application cannot be loaded; the log says why. ``files`` are those that may be at fault."""

    def __init__(self, files: set[str]) -> None:
        super().__init__()
        self.files = files


def loaded(plan: Plan) -> WSGIApplication:
    """The application. Raises :class:`Unloadable`."""
    try:
        return plan.load()
    except SetupError as error:
        log.error("%s", error.detail)
        raise Unloadable(set()) from None
    except (Exception, SystemExit) as error:
        log.exception("the application cannot be loaded")
        raise Unloadable(files_of(error)) from None


def work(plan: Plan, app: WSGIApplication | None, loaded_s: float, line: Line) -> int:
    """A worker from its fork to its end, with the application if it is loaded already. Gives an exit code."""
    loaded_s = time.time() if app is None else loaded_s
    try:
        worker = plan.worker(loaded(plan) if app is None else app)
    except Unloadable:
        return UNLOADABLE

    def stop(*_: object) -> None:
        worker.stop()

    def stop_at_end_of_life() -> None:
        with contextlib.suppress(OSError):
            os.read(line.life, 1)
        worker.stop()

    for number in (SIGTERM, SIGINT):
        signal(number, stop)
    threading.Thread(target=stop_at_end_of_life, name="tempest-life", daemon=True).start()
    if plan.reload:
        threading.Thread(target=Files(loaded_s).tell_changes, args=(line,), name="tempest-reload", daemon=True).start()
    report = worker.serve(lambda: line.tell(READY))
    log.info("worker process %d ended: %s", os.getpid(), report)
    return 0
