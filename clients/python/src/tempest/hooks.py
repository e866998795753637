"""What a program does around each of its handlers, and when one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from .context import Context

log = logging.getLogger("tempest")

Around = Callable[[Context, Callable[[], Any]], Any]
OnError = Callable[[Context, BaseException], object]


class Hooks:
    """The hooks of a worker, in the order in which they were given."""

    def __init__(self) -> None:
        self.around: list[Around] = []
        self.on_error: list[OnError] = []

    def call(self, context: Context, handler: Callable[[], Any], first: int = 0) -> Any:
        """Calls the handler inside of all hooks from ``first`` on: the first one is the outermost."""
        if first == len(self.around):
            return handler()
        return self.around[first](context, lambda: self.call(context, handler, first + 1))

    def failed(self, context: Context, error: BaseException) -> None:
        """Tells that a job failed. What goes wrong in a hook is logged and changes nothing."""
        for hook in self.on_error:
            try:
                hook(context, error)
            except Exception:
                log.exception("a hook for errors fails")
