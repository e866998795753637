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
from .draft import Draft, chain
from .errors import (
    CallFailed,
    Cancelled,
    NoSuchJob,
    NotUnique,
    QueueFull,
    RedisAway,
    Refused,
    SetupError,
    TempestError,
    WireError,
)
from .group import Group
from .http import Headers, Request
from .presence import VERSION as __version__
from .record import Record
from .wire import Job, Reply
from .worker import Worker

__all__ = [
    "CallFailed",
    "Cancelled",
    "Client",
    "Context",
    "Draft",
    "Group",
    "Headers",
    "Job",
    "NoSuchJob",
    "NotUnique",
    "QueueFull",
    "Record",
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
    "chain",
]
