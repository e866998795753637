"""Runs WSGI applications (PEP 3333) as workers: ``python -m tempest.wsgi module:app``.

In a program of your own: :func:`serve` runs an application in processes, :func:`handler` makes a handler of one for
:meth:`tempest.Worker.on`.
"""

from __future__ import annotations

from .gateway import handler
from .serving import serve

__all__ = ["handler", "serve"]
