"""From an application to a handler of a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..context import Context
from ..http import Request, Response
from .environ import Environs
from .gather import Gathering

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("tempest")

Handle = Callable[[Request, Context], Response]

_UNWANTED = Response(503, [], b"")
"""Stands for an answer that is not sent."""


def handler(
    app: WSGIApplication, *, multithread: bool = True, multiprocess: bool = True, script_name: str = ""
) -> Handle:
    """Makes a handler of a WSGI application: ``worker.on("url")(handler(app))``.

    ``multithread`` and ``multiprocess`` are what the application reads in ``wsgi.multithread`` and
    ``wsgi.multiprocess``; ``script_name`` is where it is mounted: empty, or a path without a ``/`` at its end. Its
    environ has the job's :class:`tempest.Context` as ``tempest.context``. An exception of the application fails the
    job: the client gets a 500 without a word of it, the log the traceback.
    """
    environs = Environs(multithread=multithread, multiprocess=multiprocess, script_name=script_name)

    def handle(request: Request, context: Context) -> Response:
        environ = environs.of(request, context)
        gathering = Gathering()
        body = app(environ, gathering.start_response)
        if type(body) is list and len(body) == 1:
            gathering.write(body[0])
        elif not _gather(body, gathering, context):
            return _UNWANTED
        return gathering.response(request.method)

    return handle


def _gather(body: Iterable[bytes], gathering: Gathering, context: Context) -> bool:
    """Takes all of a body and closes it. One that nobody waits for any more is closed where it stands: then it gives
    False."""
    is_whole = False
    try:
        for chunk in body:
            gathering.write(chunk)
            if gathering.is_full:
                break
            if context.cancelled():
                return False
        is_whole = True
    finally:
        _close(body, is_whole)
    return True


def _close(body: Iterable[bytes], is_whole: bool) -> None:
    """An exception of ``close`` does not take the place of the first one, nor of an answer that is complete."""
    close = getattr(body, "close", None)
    if close is None:
        return
    try:
        close()
    except Exception:
        log.exception("closing the %s failed", "answer, which is sent," if is_whole else "broken answer")
