"""Jobs and replies: envelopes, decoding, encoding (SPEC "Jobs", "Replies"). Knows no Redis and no clock."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import frame
from .background import BACKGROUND, Background, background_of
from .errors import WireError
from .fields import Fields, text_of
from .frame import Encoding, Frame
from .limits import ATTEMPTS_BACKGROUND, ATTEMPTS_WAITED, INTEGER_MAX
from .names import LANES, Keys


@dataclass(slots=True)
class Job:
    """One unit of work. ``deadline`` and ``queued_at`` are milliseconds in Redis time; ``deadline`` 0 is none."""

    action: str
    args: Any = None
    id: str | None = None
    reply_to: str | None = None
    attempt: int = 1
    attempts: int = 0
    """How often it may be started; 0 becomes the default: 1 with ``reply_to``, 3 without."""
    deadline: int = 0
    lane: str = "normal"
    queued_at: int | None = None
    traceparent: str | None = None
    session: str | None = None
    background: Background | None = None
    """What only background jobs say; none: nothing of it."""
    encoding: Encoding = "json"
    frame: Frame | None = field(default=None, repr=False, compare=False)
    """The frame it was read from; none if it was made here."""

    def __post_init__(self) -> None:
        if self.attempts == 0:
            self.attempts = self._attempts_default

    @property
    def _attempts_default(self) -> int:
        return ATTEMPTS_WAITED if self.reply_to else ATTEMPTS_BACKGROUND

    def is_expired(self, now_ms: int | None) -> bool:
        """Tells whether its deadline has passed at ``now_ms``; never while Redis time is unknown."""
        return now_ms is not None and 0 < self.deadline < now_ms

    def encode(self) -> bytes:
        """Writes the frame. Raises :class:`WireError` if the arguments have no form in ``encoding``."""
        return frame.write(self.encoding, self.fields())

    def fields(self) -> dict[str, Any]:
        """What is written: the fields in the promised order, defaults left out."""
        fields: dict[str, Any] = {
            "id": self.id,
            "reply_to": self.reply_to,
            "action": self.action,
            "attempt": self.attempt if self.attempt != 1 else None,
            "attempts": self.attempts if self.attempts != self._attempts_default else None,
            "deadline": self.deadline or None,
            "lane": self.lane if self.lane != "normal" else None,
            "queued_at": self.queued_at,
            "traceparent": self.traceparent,
            "session": self.session,
        }
        if self.background is not None:
            fields |= self.background.fields()
        given = {name: value for name, value in fields.items() if value is not None}
        return {**given, "args": self.args}


def decode_job(data: bytes, keys: Keys) -> Job:
    """Reads a job of the cluster ``keys`` stands for.

    Raises :class:`WireError`: ``bad_frame``, ``bad_json``, ``bad_msgpack``, ``too_deep`` or ``bad_job``.
    """
    read = frame.read(data, "args")
    fields = Fields(read.values, "bad_job")
    reply_to = fields.text("reply_to")
    if reply_to is not None and not keys.is_mailbox(reply_to):
        raise WireError("bad_job", f"reply_to {reply_to!r} is no mailbox")
    lane = fields.text("lane")
    if lane is not None and lane not in LANES:
        raise WireError("bad_job", f"lane is high, normal or low, not {lane!r}")
    return Job(
        action=fields.name("action", "action"),
        args=read.values.get("args"),
        id=None if read.values.get("id") is None else fields.name("id", "id"),
        reply_to=reply_to,
        attempt=fields.integer("attempt", 1) or 1,
        attempts=fields.integer("attempts", 1) or 0,
        deadline=fields.integer("deadline") or 0,
        lane=lane or "normal",
        queued_at=fields.integer("queued_at"),
        traceparent=fields.text("traceparent"),
        session=fields.text("session"),
        background=None if BACKGROUND.isdisjoint(read.values) else background_of(fields),
        encoding=read.encoding,
        frame=read,
    )


@dataclass(slots=True)
class Reply:
    """What a worker sends to a mailbox. Exactly one of: HTTP (``status``), a later part (``seq``), ``result``,
    ``error``."""

    id: str
    attempt: int | None = None
    more: bool = False
    seq: int | None = None
    claimed_at: int | None = None
    """When the worker had the job in hand, in milliseconds of Redis time."""
    work_us: int | None = None
    """How long the worker worked, in microseconds of its own clock."""
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Pairs in order, names in lower case, values ISO-8859-1 code points."""
    body: bytes = b""
    result: tuple[Any] | None = None
    """The result in a tuple of one, since ``None`` is a result."""
    error: tuple[str, str] | None = None
    """Code and message."""
    encoding: Encoding = "json"

    def encode(self) -> bytes:
        """Writes the frame, fields in the promised order.

        Raises :class:`WireError` if the result has no form in ``encoding``.
        """
        fields: dict[str, Any] = {"id": self.id}
        if self.attempt is not None:
            fields["attempt"] = self.attempt
        if self.more:
            fields["more"] = True
        if self.seq is not None:
            fields["seq"] = self.seq
        if self.claimed_at is not None:
            fields["claimed_at"] = self.claimed_at
        if self.work_us is not None:
            fields["work_us"] = self.work_us
        if self.status is not None:
            fields |= {"status": self.status, "headers": headers_map(self.headers)}
        fields |= body_field(self.body, self.encoding)
        if self.result is not None:
            fields["result"] = self.result[0]
        if self.error is not None:
            fields["error"] = {"code": self.error[0], "message": self.error[1]}
        return frame.write(self.encoding, fields)


def decode_reply(data: bytes) -> Reply:
    """Reads a reply.

    Raises :class:`WireError`: ``bad_frame``, ``bad_json``, ``bad_msgpack``, ``too_deep``, ``bad_reply``, ``bad_body``.
    """
    read = frame.read(data, "result")
    values = {name: value for name, value in read.values.items() if value is not None}
    fields = Fields(values, "bad_reply")
    body = body_of(values)
    reply = Reply(
        id=fields.name("id", "id"),
        attempt=fields.integer("attempt", least=1),
        more=fields.boolean("more"),
        seq=fields.integer("seq"),
        claimed_at=fields.integer("claimed_at"),
        work_us=fields.integer("work_us"),
        status=fields.integer("status"),
        headers=headers_of(values.get("headers"), "bad_reply") if "status" in values else [],
        body=body or b"",
        result=(read.values["result"],) if "result" in read.values else None,
        error=_error_of(values["error"]) if "error" in values else None,
        encoding=read.encoding,
    )
    _check_reply(reply, body is not None)
    return reply


def _check_reply(reply: Reply, has_body: bool) -> None:
    """Parts count from 0, the first alone has the status, and only HTTP replies have parts."""
    said = [reply.status is not None, reply.result is not None, reply.error is not None]
    if sum(said) > 1 or (has_body and (said[1] or said[2])):
        raise WireError("bad_reply", "it says more than one of status, result and error")
    if reply.status is not None and not 200 <= reply.status <= 599:
        raise WireError("bad_reply", f"status is 200 to 599, not {reply.status}")
    if not any(said) and not reply.seq:
        raise WireError("bad_reply", "it has neither status, result nor error")
    if said[0] and reply.seq:
        raise WireError("bad_reply", "a later part has no status")
    if said[0] and reply.more and reply.seq is None:
        raise WireError("bad_reply", "a part needs its seq")
    if reply.more and (said[1] or said[2]):
        raise WireError("bad_reply", "a result or an error is the last of its parts")


def _error_of(value: Any) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise WireError("bad_reply", "error is no map")
    named = {str(text_of(name)): inner for name, inner in value.items() if inner is not None}
    fields = Fields(named, "bad_reply")
    code = fields.text("code")
    if not code:
        raise WireError("bad_reply", "error needs a code")
    return code, fields.text("message") or ""


# --- bodies and headers --------------------------------------------------------------------------------------------


def body_of(values: dict[str, Any]) -> bytes | None:
    """The body among the fields of a map: ``body``, ``body_base64``, or none.

    Raises :class:`WireError` ``bad_body`` for both, or for one that is broken.
    """
    body, text = values.get("body"), values.get("body_base64")
    if body is not None and text is not None:
        raise WireError("bad_body", "both body and body_base64")
    if isinstance(body, str):
        return body.encode()
    if body is not None and not isinstance(body, bytes):
        raise WireError("bad_body", "body is neither text nor bytes")
    return body if text is None else _base64(text)


def _base64(value: Any) -> bytes:
    """RFC 4648 section 4, padded, no blanks, no loose bits."""
    text = text_of(value)
    if text is None:
        raise WireError("bad_body", "body_base64 is no text")
    try:
        body = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise WireError("bad_body", f"body_base64: {error}") from None
    # The decoder of some Python versions takes padding too much, and bits that are lost.
    if base64.b64encode(body).decode() != text:
        raise WireError("bad_body", "body_base64 is not the base64 of its bytes")
    return body


def body_field(body: bytes, encoding: Encoding) -> dict[str, Any]:
    """The field a body is written in: none when it is empty, base64 in JSON when it is not UTF-8."""
    if not body:
        return {}
    if encoding == "msgpack":
        return {"body": body}
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NO_VALUE = re.compile("[\r\n\0]|[^\0-\xff]")
_NAMES_KEPT = 1024
_names: dict[str, str] = {}
"""Names of header fields that were seen, as they are written: there are few of them, and each comes often."""


def is_token(text: str) -> bool:
    """Tells whether text is a token of RFC 9110 section 5.6.2: a method or the name of a header field."""
    return _TOKEN.fullmatch(text) is not None


def headers_of(value: Any, code: str) -> list[tuple[str, str]]:
    """Reads header fields: a map of texts or lists of texts; an empty list is an empty map (PHP).

    Raises :class:`WireError` of ``code``.
    """
    if value is None or value == []:
        return []
    if not isinstance(value, dict):
        raise WireError(code, "headers are no map")
    pairs = []
    for name, values in value.items():
        if type(name) is str and type(values) is str:
            pairs.append(header(name, values, code))
            continue
        for item in values if isinstance(values, list) else [values]:
            pairs.append(header(text_of(name), text_of(item), code))
    return pairs


def header(name: str | None, value: str | None, code: str) -> tuple[str, str]:
    """Checks one header field and makes its name lower-case.

    Raises :class:`WireError` of ``code`` if the name is no token, or the value no ISO-8859-1 without CR, LF, NUL.
    """
    known = _names.get(name) if name else None
    if known is None:
        known = _lower_name(name, code)
    if value is None or (not (value.isascii() and value.isprintable()) and _NO_VALUE.search(value)):
        raise WireError(code, f"header {name} is no text of ISO-8859-1 without CR, LF and NUL")
    return known, value


def _lower_name(name: str | None, code: str) -> str:
    if name is None or not is_token(name):
        raise WireError(code, f"header name {name!r} is no token")
    if len(_names) >= _NAMES_KEPT:
        _names.clear()
    return _names.setdefault(name, name.lower())


def headers_map(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Header fields as they stand on the wire: a repeated one is a list."""
    fields: dict[str, str | list[str]] = {}
    for name, value in pairs:
        before = fields.get(name)
        if before is None:
            fields[name] = value
        else:
            fields[name] = [*before, value] if isinstance(before, list) else [before, value]
    return fields


# --- after a failure -----------------------------------------------------------------------------------------------


def with_attempt(job: Job, attempt: int) -> bytes:
    """The job's frame with another ``attempt``; every other byte stays. The job must have been read from a frame."""
    if job.frame is None:
        raise ValueError("only a job that was read from a frame has bytes to keep")
    return frame.with_field(job.frame, "attempt", min(attempt, INTEGER_MAX))


def dead_member(job: Job, code: str, message: str, died_at_ms: int) -> bytes:
    """What is kept in ``dead`` of a job that is given up: ``error`` and ``died_at`` before its own bytes."""
    if job.frame is None:
        raise ValueError("only a job that was read from a frame has bytes to keep")
    why = {"error": {"code": code, "message": message}, "died_at": died_at_ms}
    return frame.with_fields_before(job.frame, why)


def dead_bytes(data: bytes, message: str, died_at_ms: int) -> bytes:
    """What is kept in ``dead`` of bytes that are no job (``bad_job``): JSON with ``raw_base64``."""
    why = {"error": {"code": "bad_job", "message": message}, "died_at": died_at_ms}
    return frame.json_bytes({**why, "raw_base64": base64.b64encode(data).decode()})
