"""Where a worker finds its cluster and what it serves: arguments before the environment before the defaults."""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
from collections.abc import Sequence

from .errors import SetupError, WireError
from .names import check_lane, check_name
from .tls import Files

_TAG = re.compile("[a-z0-9]{1,32}")
_lock = threading.Lock()
_started = 0


def redis_url(given: str | None) -> str:
    """The URL of Redis: as given, else ``TEMPEST_REDIS_URL``, else the default port of this machine."""
    return given or os.environ.get("TEMPEST_REDIS_URL") or "redis://127.0.0.1:6379"


def tls_files() -> Files:
    """Certificates for a ``rediss://`` URL: ``TEMPEST_REDIS_CA_FILE``, ``TEMPEST_REDIS_CERT_FILE`` and
    ``TEMPEST_REDIS_KEY_FILE``, each empty or a file in PEM."""
    return Files(*(os.environ.get(f"TEMPEST_REDIS_{name}_FILE") or None for name in ("CA", "CERT", "KEY")))


def prefix(given: str | None) -> str:
    """What all keys begin with: as given, else ``TEMPEST_PREFIX``, else ``tempest``. Raises :class:`SetupError`."""
    return _checked("prefix", given or os.environ.get("TEMPEST_PREFIX") or "tempest", "TEMPEST_PREFIX")


def topic_prefix(given: str | None) -> str:
    """What stands before every topic: as given, else ``TEMPEST_TOPIC_PREFIX``, else nothing."""
    return given if given is not None else os.environ.get("TEMPEST_TOPIC_PREFIX", "")


def queues(given: Sequence[str]) -> list[str]:
    """The queues: as given, else ``TEMPEST_QUEUE`` (a list with commas), else ``default``."""
    names = list(given) or _words("TEMPEST_QUEUE") or ["default"]
    return list(dict.fromkeys(_checked("queue", name, "TEMPEST_QUEUE") for name in names))


def lanes(given: Sequence[str] | None) -> list[str]:
    """The lanes, the first served first: as given, else ``TEMPEST_LANES`` (a list with commas), else ``normal``."""
    try:
        return list(dict.fromkeys(check_lane(lane) for lane in given or _words("TEMPEST_LANES") or ["normal"]))
    except WireError as error:
        raise SetupError(f"TEMPEST_LANES: {error.detail}") from None


def concurrency(given: int | None) -> int:
    """How many jobs run at once: as given, else ``TEMPEST_CONCURRENCY``, else 1."""
    text = os.environ.get("TEMPEST_CONCURRENCY") or "1"
    if given is None and not (text.isascii() and text.isdigit()):
        raise SetupError(f"TEMPEST_CONCURRENCY is a number from 1, not {text!r}")
    number = int(text) if given is None else given
    if not 1 <= number <= 1000:
        raise SetupError(f"concurrency is a number of 1 to 1000, not {number}")
    return number


def host() -> str:
    """This machine's name, in the alphabet of names, cut to 40 characters."""
    return re.sub("[^A-Za-z0-9._-]", "-", socket.gethostname())[:40] or "host"


def new_worker_id() -> str:
    """A worker id ``<host>-<pid>-<tag>``. Call it after the last fork. Several workers of one process differ in a
    number behind the tag, which is that of the supervisor if there is one (``TEMPEST_WORKER_TAG``)."""
    global _started
    tag = os.environ.get("TEMPEST_WORKER_TAG") or secrets.token_hex(6)
    if not _TAG.fullmatch(tag):
        raise SetupError(f"TEMPEST_WORKER_TAG is 1 to 32 of a-z and 0-9, not {tag!r}")
    with _lock:
        _started += 1
        number = f"-{_started}" if _started > 1 else ""
    return f"{host()}-{os.getpid()}-{tag}{number}"


def _words(variable: str) -> list[str]:
    return [word.strip() for word in os.environ.get(variable, "").split(",") if word.strip()]


def _checked(kind: str, name: str, variable: str) -> str:
    try:
        return check_name(kind, name)
    except WireError as error:
        raise SetupError(f"{variable}: {error.detail}") from None
