"""The environ of a request (PEP 3333 "environ Variables"). Its constant part is made once, and copied for each."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit
from wsgiref.util import FileWrapper

from ..context import Context
from ..http import Request
from ..presence import VERSION

_REMEMBERED_MAX = 1_000
"""How many names of header fields, and how many hosts, are kept translated: clients choose both."""


class Environs:
    """Makes environs of requests."""

    def __init__(self, *, multithread: bool, multiprocess: bool, script_name: str) -> None:
        """``script_name`` is where the application is mounted: empty, or a path that begins with ``/`` and does not
        end with one. It is compared with the path as sent, as gunicorn does."""
        self._script_name = script_name
        self._keys: dict[str, str] = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
        self._servers: dict[tuple[str, str], tuple[str, str]] = {}
        self._constant: dict[str, Any] = {
            "SCRIPT_NAME": script_name,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": f"tempest/{VERSION}",
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            "wsgi.input_terminated": True,
        }

    def of(self, request: Request, context: Context) -> dict[str, Any]:
        """The environ of a request. Raises ``ValueError`` if its path is not below ``script_name``."""
        url, host, scheme = request.url, request.host, request.scheme or "http"
        path, _, query = url.partition("?") if url[0] == "/" else _absolute(url)
        environ = self._constant.copy()
        environ["REQUEST_METHOD"] = request.method
        environ["RAW_URI"] = environ["REQUEST_URI"] = url
        environ["PATH_INFO"] = unquote_to_bytes(path).decode("latin-1") if "%" in path else path
        environ["QUERY_STRING"] = query
        environ["REMOTE_ADDR"] = request.remote
        environ["SERVER_NAME"], environ["SERVER_PORT"] = self._servers.get((scheme, host)) or self._server(scheme, host)
        environ["wsgi.url_scheme"] = scheme
        environ["wsgi.input"] = BytesIO(request.body)
        environ["tempest.context"] = context
        keys = self._keys
        for name, value in request.headers.pairs:
            key = keys.get(name) or self._key(name)
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        if host and "HTTP_HOST" not in environ:  # HTTP/2 needs no such field
            environ["HTTP_HOST"] = host
        if self._script_name:
            environ["PATH_INFO"] = self._below(path)
        return environ

    def _below(self, path: str) -> str:
        rest = path.removeprefix(self._script_name)
        if rest == path or (rest and rest[0] != "/"):
            raise ValueError(
                f"the path {path!r:.200} is not below {self._script_name}, where the application is mounted"
            )
        return unquote_to_bytes(rest).decode("latin-1")

    def _key(self, name: str) -> str:
        key = "HTTP_" + name.upper().replace("-", "_")
        if len(self._keys) >= _REMEMBERED_MAX:
            return key
        return self._keys.setdefault(name, key)

    def _server(self, scheme: str, host: str) -> tuple[str, str]:
        """Name and port of a host. Neither may be empty (PEP 3333)."""
        name, colon, port = host.rpartition(":")
        if not colon or not port.isdigit():
            name, port = (name if colon and not port else host), "443" if scheme == "https" else "80"
        server = (name or "localhost", port)
        if len(self._servers) < _REMEMBERED_MAX:
            self._servers[scheme, host] = server
        return server


def _absolute(url: str) -> tuple[str, str, str]:
    """Path and query of a target that does not begin with its path: ``http://host/path?query``, ``*``."""
    parts = urlsplit(url)
    return parts.path or "/", "?", parts.query
