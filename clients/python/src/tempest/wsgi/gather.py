"""What an application answers, gathered into one reply (PEP 3333 "The start_response() Callable")."""

from __future__ import annotations

import logging
import re
from types import TracebackType
from typing import Any

from ..errors import TempestError
from ..http import Response
from ..limits import REPLY_BYTES_MAX

log = logging.getLogger("tempest")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_STATUS = re.compile(r"[2-5][0-9][0-9](?: [ \t\x21-\x7e\x80-\xff]*)?")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[ \t\x21-\x7e\x80-\xff]*")
_OF_ONE_CONNECTION = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    ]
)
_REMEMBERED_MAX = 1_000
"""How many status lines and names of fields are kept checked."""

_statuses: dict[str, int] = {}
_names: dict[str, str] = {}


class Gathering:
    """The answer to one request while the application makes it."""

    __slots__ = ("_chunks", "_headers", "_length", "_size", "_status", "is_full")

    def __init__(self) -> None:
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._length: int | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self.is_full = False
        """The application has given more than its ``Content-Length``; the rest is not wanted."""

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> Any:
        """The callable for the application. Gives its ``write``.

        A second call needs ``exc_info``; it replaces what the first one said unless a part of the body was given: then
        it raises that exception again. Raises ``AssertionError``, ``TypeError``, ``ValueError`` for wrong use.
        """
        if exc_info:
            try:
                if self._chunks and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # or it would keep its own frame alive
        elif self._status:
            raise AssertionError("start_response was called before: a second call needs exc_info")
        self._status = _statuses.get(status) or _status(status)
        self._headers, self._length = _checked(headers)
        return self.write

    def write(self, chunk: bytes) -> None:
        """Takes a piece of the body; an empty one is nothing.

        Raises ``TypeError`` if it is not bytes, ``AssertionError`` before ``start_response``, and
        :class:`TempestError` ``too_large`` when there is more than a reply may hold.
        """
        if not isinstance(chunk, bytes):
            raise TypeError(f"a body is made of bytes, not {type(chunk).__name__}")
        if not chunk:
            return
        if not self._status:
            raise AssertionError("the application gave a body before it called start_response")
        self._size += len(chunk)
        if self._length is not None and self._size > self._length:
            chunk = chunk[: len(chunk) - self._size + self._length]
            self._size, self.is_full = self._length, True
        if self._size > REPLY_BYTES_MAX:
            raise TempestError("too_large", f"the application answers with more than {REPLY_BYTES_MAX} bytes")
        self._chunks.append(chunk)

    def response(self, method: str) -> Response:
        """The whole answer. Raises ``AssertionError`` if ``start_response`` was never called, ``ValueError`` if the
        body is shorter than its ``Content-Length``."""
        if not self._status:
            raise AssertionError("the application did not call start_response")
        if method == "HEAD" or self._status == 204 or self._status == 304:
            return self._bodiless()
        if self._length is not None and self._size < self._length:
            raise ValueError(f"the application said Content-Length {self._length} and gave {self._size} bytes")
        if self.is_full:
            log.warning("the application gave more than its Content-Length of %d: the rest is cut off", self._length)
        chunks = self._chunks
        return Response(self._status, self._headers, chunks[0] if len(chunks) == 1 else b"".join(chunks))

    def _bodiless(self) -> Response:
        """A reply to HEAD tells the length that the body would have had."""
        headers = self._headers
        if self._status == 204:
            headers = [pair for pair in headers if pair[0] != "content-length"]
        elif self._status != 304 and self._length is None and self._size:
            headers = [*headers, ("content-length", str(self._size))]
        return Response(self._status, headers, b"")


def _status(status: str) -> int:
    if not isinstance(status, str):
        raise TypeError(f"a status is text such as '200 OK', not {status!r:.100}")
    if not _STATUS.fullmatch(status):
        raise ValueError(f"a status is a number of 200 to 599, a blank and a reason, not {status!r:.100}")
    number = int(status[:3])
    if len(_statuses) < _REMEMBERED_MAX:
        _statuses[status] = number
    return number


def _checked(headers: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], int | None]:
    """The fields with names in lower case, less those of one connection, and their ``Content-Length``."""
    pairs, length = [], None
    for name, value in headers:
        known = _names.get(name)
        if known is None:
            known = _name(name)
        if not isinstance(value, str):
            raise TypeError(f"the value of header {name} is text, not {type(value).__name__}")
        if not (value.isascii() and value.isprintable()) and not _VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name} is not ISO-8859-1 without controls")
        if not known:
            continue
        value = value.strip(" \t")
        if known == "content-length":
            length = _length(value)
        pairs.append((known, value))
    return pairs, length


def _name(name: str) -> str:
    """A field's name in lower case; empty if it belongs to one connection."""
    if not isinstance(name, str):
        raise TypeError(f"the name of a header is text, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.100} is no name of a header")
    known = name.lower()
    if known in _OF_ONE_CONNECTION:
        known = ""
    if len(_names) < _REMEMBERED_MAX:
        _names[name] = known
    return known


def _length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"Content-Length is a number, not {value!r:.100}")
    return int(value)
