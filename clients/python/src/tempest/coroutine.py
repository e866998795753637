"""Runs the coroutine of an ``async`` handler in the thread of its slot. It ends at its next ``await`` when nobody waits
for its job any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

from .context import Context

_own = threading.local()
"""The event loop of each slot; clients that a program keeps for it stay usable from job to job."""


def run(work: Coroutine[Any, Any, Any], context: Context) -> Any:
    """Gives what the coroutine returns, or raises what it raises. It is cancelled, with all tasks it began, when its
    job is cancelled, at its deadline, or when it runs longer than it may: then this raises :class:`tempest.Cancelled`,
    unless it returned something all the same."""
    loop = _loop()
    task = loop.create_task(work)
    context.on_wake(lambda: loop.call_soon_threadsafe(task.cancel))
    left = context.time_left()

    def end_late() -> None:
        context.is_late = True
        task.cancel()

    deadline = None if left is None else loop.call_later(left, end_late)
    try:
        return loop.run_until_complete(task)
    except asyncio.CancelledError:
        context.check()
        raise
    finally:
        if deadline is not None:
            deadline.cancel()
        _end_all(loop)


def _loop() -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop | None = getattr(_own, "loop", None)
    if loop is None or loop.is_closed():
        loop = _own.loop = asyncio.new_event_loop()
    return loop


def _end_all(loop: asyncio.AbstractEventLoop) -> None:
    """Ends what a handler began and left behind: it must not run on, in pieces, while later jobs do."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
