"""Tempest for Python: workers that answer jobs from Redis, and a client that pushes them.

from tempest import Worker

worker = Worker("default")

@worker.on("url")
def hello(request):
    return f"Hello from {request.path}"

worker.run()
"""

from .client import Client
from .context import Context
from .desk import Report
from .errors import CallFailed, Cancelled, QueueFull, RedisAway, Refused, SetupError, TempestError, WireError
from .http import Headers, Request
from .presence import VERSION as __version__
from .wire import Job, Reply
from .worker import Worker

__all__ = [
    "CallFailed",
    "Cancelled",
    "Client",
    "Context",
    "Headers",
    "Job",
    "QueueFull",
    "RedisAway",
    "Refused",
    "Reply",
    "Report",
    "Request",
    "SetupError",
    "TempestError",
    "WireError",
    "Worker",
    "__version__",
]
