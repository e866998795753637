"""A WSGI application, served by a program of one's own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..limits import GRACE_S, RUN_MAX_S
from .crew import Crew
from .plan import Plan

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def serve(
    app: WSGIApplication,
    *queues: str,
    processes: int = 1,
    threads: int | None = None,
    url: str | None = None,
    prefix: str | None = None,
    topic_prefix: str | None = None,
    lanes: Sequence[str] | None = None,
    action: str = "url",
    script_name: str = "",
    run_max_s: float = RUN_MAX_S,
    grace_s: float = GRACE_S,
) -> int:
    """Serves an application in processes of its own until SIGTERM or SIGINT, and gives an exit code.

    Call it in the main thread, before the program starts others: it forks. What is not given is as the environment
    says, as for :class:`tempest.Worker`; ``threads`` is its ``concurrency``, ``script_name`` where the application is
    mounted. Raises :class:`tempest.SetupError` for a wrong setting, or when there is no Redis.
    """
    set_up_log()
    plan = Plan(
        lambda: app,
        queues=queues,
        processes=processes,
        threads=threads,
        url=url,
        prefix=prefix,
        topic_prefix=topic_prefix,
        lanes=lanes,
        action=action,
        script_name=script_name,
        run_max_s=run_max_s,
        grace_s=grace_s,
    )
    plan.check()
    return Crew(plan).run()


def set_up_log() -> None:
    """The log goes to standard error, a line a message, unless the program has decided otherwise."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
