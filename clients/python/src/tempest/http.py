"""HTTP inside jobs: the request a handler gets, and the reply made of what it returns (SPEC "HTTP jobs")."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

from .errors import WireError
from .frame import Encoding, json_bytes
from .wire import Job, Reply, body_field, body_of, header, headers_map, headers_of, is_token


class Pairs(Mapping[str, str]):
    """Names with values, in order; a name may stand there more than once. ``pairs[name]`` is the first value."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def _known(self, name: str) -> str:
        return name

    def all(self, name: str) -> list[str]:
        """Every value of a name, in order; empty if there is none."""
        known = self._known(name)
        return [value for each, value in self.pairs if each == known]

    def __getitem__(self, name: str) -> str:
        for value in self.all(name):
            return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.pairs))

    def __len__(self) -> int:
        return len(dict(self.pairs))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.pairs!r})"


class Headers(Pairs):
    """Header fields: names without regard to case, values byte for code point in ISO-8859-1."""

    def _known(self, name: str) -> str:
        return name.lower()


class Request:
    """An HTTP request as a worker gets it."""

    def __init__(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]] | None = None,
        body: bytes = b"",
        remote: str = "",
        scheme: str = "",
        host: str = "",
    ) -> None:
        self.method = method
        """The method, as sent."""
        self.url = url
        """The raw target; bytes from 0x80 are percent-encoded."""
        self.headers = Headers(headers or [])
        """Header fields."""
        self.body = body
        """The whole body, empty if there is none."""
        self.remote = remote
        """Address of the client, without its port."""
        self.scheme = scheme
        """``http`` or ``https``."""
        self.host = host
        """The ``Host`` of the request."""

    @cached_property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8 (what is none becomes U+FFFD)."""
        return unquote(self.url.partition("?")[0])

    @cached_property
    def query(self) -> Pairs:
        """The parameters behind the ``?``, decoded, empty values kept."""
        return Pairs(parse_qsl(self.url.partition("?")[2], keep_blank_values=True))

    @cached_property
    def cookies(self) -> dict[str, str]:
        """The cookies; of equal names the first one counts."""
        cookies: dict[str, str] = {}
        for pair in "; ".join(self.headers.all("cookie")).split(";"):
            name, equals, value = pair.strip().partition("=")
            if equals:
                cookies.setdefault(name, value.strip('"'))
        return cookies

    @property
    def text(self) -> str:
        """The body as UTF-8. Raises ``UnicodeDecodeError`` if it is none."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON. Raises ``ValueError`` if it is none."""
        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    def encode(self, encoding: Encoding = "json") -> dict[str, Any]:
        """The request as ``args`` of a job."""
        return {
            "method": self.method,
            "url": self.url,
            "headers": headers_map(self.headers.pairs),
            "remote": self.remote,
            "scheme": self.scheme,
            "host": self.host,
            **body_field(self.body, encoding),
        }


def decode_request(job: Job) -> Request:
    """Reads the ``args`` of a job as an HTTP request.

    Raises :class:`WireError` ``bad_http`` or ``bad_body``.
    """
    if not isinstance(job.args, dict):
        raise WireError("bad_http", "args are no map")
    args = job.args
    if any(type(name) is not str for name in args):
        args = {_key(name): value for name, value in args.items()}
    method, url = _text(args, "method"), _text(args, "url")
    if not is_token(method):
        raise WireError("bad_http", f"method {method!r} is no token")
    if not url or not (url.isascii() and url.isprintable()) or " " in url:
        raise WireError("bad_http", f"url {url!r:.200} is not visible ASCII")
    return Request(
        method,
        url,
        headers_of(args.get("headers"), "bad_http"),
        body_of(args) or b"",
        _text(args, "remote"),
        _text(args, "scheme"),
        _text(args, "host"),
    )


def _key(name: Any) -> Any:
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _text(args: dict[Any, Any], name: str) -> str:
    value = args.get(name)
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is not None:
        raise WireError("bad_http", f"{name} is no text")
    return ""


# --- replies -------------------------------------------------------------------------------------------------------

_TEXT = "text/plain; charset=utf-8"


@dataclass
class Response:
    """An HTTP reply whose status and fields are checked already; for gateways, which do that in their own way."""

    status: int
    headers: list[tuple[str, str]]
    """Pairs in order, names in lower case."""
    body: bytes


def http_reply(job: Job, returned: Any) -> Reply:
    """Makes the reply of what a handler returned: ``(status, headers, body)``, text, bytes, a dict or list (JSON), or
    None (204).

    ``headers`` is a mapping of name to text or list of texts, a list of pairs, or None. A body in the tuple is text,
    bytes, a dict or list, or None. Without a ``content-type`` among the headers the body decides. Raises
    :class:`WireError` ``bad_reply`` for anything else.
    """
    if type(returned) is Response:
        status, headers, body = returned.status, returned.headers, returned.body
        return Reply(job.id or "", job.attempt, status=status, headers=headers, body=body, encoding=job.encoding)
    status, headers, content = _parts(returned)
    body, content_type = _body(content)
    pairs = _pairs(headers)
    if content_type and not any(name == "content-type" for name, _ in pairs):
        pairs.insert(0, ("content-type", content_type))
    if type(status) is not int or not 200 <= status <= 599:
        raise WireError("bad_reply", f"status is a number of 200 to 599, not {status!r}")
    return Reply(
        id=job.id or "",
        attempt=job.attempt,
        status=status,
        headers=pairs,
        body=body,
        encoding=job.encoding,
    )


def _parts(returned: Any) -> tuple[Any, Any, Any]:
    if returned is None:
        return 204, None, None
    if not isinstance(returned, tuple):
        return 200, None, returned
    if len(returned) != 3:
        raise WireError("bad_reply", f"a tuple is (status, headers, body), not {len(returned)} values")
    status, headers, body = returned
    return status, headers, body


def _body(content: Any) -> tuple[bytes, str | None]:
    if content is None:
        return b"", None
    if isinstance(content, str):
        return content.encode(errors="strict"), _TEXT
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content), "application/octet-stream"
    if isinstance(content, (dict, list)):
        return json_bytes(content), "application/json"
    raise WireError("bad_reply", f"a body is text, bytes, a dict or a list, not {type(content).__name__}")


def _pairs(headers: Any) -> list[tuple[str, str]]:
    if headers is None:
        return []
    pairs = []
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        if type(name) is str and type(value) is str:
            pairs.append(header(name, value, "bad_reply"))
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            text = str(item) if isinstance(item, (str, int, float)) else None
            pairs.append(header(name if isinstance(name, str) else None, text, "bad_reply"))
    return pairs
