"""A function for an action, and how it is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import coroutine, typed
from .context import Context


@dataclass(frozen=True, slots=True)
class Handler:
    """A function for an action, plain or ``async``. ``http``: it takes a :class:`Request` and its value becomes an HTTP
    reply. ``kind``: what its first argument is made into, if it is a class that says what it is made of."""

    function: Callable[..., Any]
    http: bool
    arguments: int
    is_async: bool
    kind: Any = None
    is_plain: bool = False
    """It takes what the job brings as it is."""

    @staticmethod
    def of(function: Callable[..., Any], http: bool) -> Handler:
        """Looks at how many arguments the function takes. Raises ``TypeError`` if it cannot be a handler."""
        if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
            raise TypeError(f"a handler returns its reply at once, {function!r} is a generator")
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        several = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in parameters)
        required = [each for each in parameters if each.kind in kinds and each.default is each.empty]
        allowed = [each for each in parameters if each.kind in kinds]
        if len(required) > 2 or any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
            raise TypeError(f"a handler takes the request and perhaps the context, {function!r} wants more")
        is_async = inspect.iscoroutinefunction(function)
        kind = typed.kind_of(function, allowed[0].name) if allowed and not http else None
        return Handler(
            function, http, 2 if several else min(2, len(allowed)), is_async, kind, kind is None and not http
        )

    def __call__(self, request: Any, context: Context) -> Any:
        given = (request,) if self.arguments == 1 else (request, context)[: self.arguments]
        returned = self.function(*given)
        return coroutine.run(returned, context) if self.is_async else returned
