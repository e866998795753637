"""What is to be run, checked before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import settings
from ..errors import SetupError, WireError
from ..limits import GRACE_S, RUN_MAX_S
from ..link import Place
from ..names import Keys, check_name
from ..worker import Worker, ready
from .gateway import handler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PROCESSES_MAX = 1_000
"""How many processes one command starts at most."""


@dataclass(frozen=True)
class Plan:
    """An application and how it is served. None means: as the environment says, else the default."""

    load: Callable[[], WSGIApplication]
    """Gives the application; called in a process that was forked for it, or in each worker."""
    queues: Sequence[str] = ()
    processes: int = 1
    threads: int | None = None
    url: str | None = None
    prefix: str | None = None
    topic_prefix: str | None = None
    lanes: Sequence[str] | None = None
    action: str = "url"
    script_name: str = ""
    run_max_s: float = RUN_MAX_S
    grace_s: float = GRACE_S
    preload: bool = True
    reload: bool = False

    def check(self) -> None:
        """Looks at every setting, and whether Redis is there. Raises :class:`SetupError`."""
        if not 1 <= self.processes <= PROCESSES_MAX:
            raise SetupError(f"processes is a number of 1 to {PROCESSES_MAX}, not {self.processes}")
        if self.script_name and (self.script_name[0] != "/" or self.script_name[-1] == "/"):
            raise SetupError(f"a script name begins with / and does not end with it, not {self.script_name!r}")
        try:
            check_name("action", self.action)
        except WireError as error:
            raise SetupError(f"action: {error.detail}") from None
        settings.queues(self.queues)
        settings.lanes(self.lanes)
        settings.concurrency(self.threads)
        Keys(settings.prefix(self.prefix))
        ready(Place(settings.redis_url(self.url))).close()

    def worker(self, app: WSGIApplication) -> Worker:
        """The worker of one process. Call it after the last fork."""
        threads = settings.concurrency(self.threads)
        worker = Worker(
            *self.queues,
            url=self.url,
            prefix=self.prefix,
            topic_prefix=self.topic_prefix,
            lanes=self.lanes,
            concurrency=threads,
            run_max_s=self.run_max_s,
            grace_s=self.grace_s,
        )
        several = self.processes > 1
        handle = handler(app, multithread=threads > 1, multiprocess=several, script_name=self.script_name)
        worker.on(self.action, http=True)(handle)
        return worker
