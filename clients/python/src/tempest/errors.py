"""What can go wrong, with the code words of the wire (SPEC "Codes")."""

from __future__ import annotations

CODES: dict[str, int] = {
    "bad_json": 500,
    "bad_msgpack": 500,
    "bad_frame": 500,
    "too_deep": 500,
    "bad_job": 500,
    "bad_reply": 502,
    "bad_body": 500,
    "bad_http": 400,
    "bad_name": 500,
    "no_handler": 501,
    "worker_lost": 502,
    "timeout": 504,
    "expired": 500,
    "handler_error": 500,
    "cancelled": 500,
    "too_large": 413,
    "queue_full": 503,
    "no_worker": 503,
    "not_unique": 409,
    "not_found": 404,
    "method_not_allowed": 405,
    "slow_request": 408,
    "length_required": 411,
    "target_too_long": 414,
    "rate_limited": 429,
    "headers_too_large": 431,
    "not_implemented": 501,
    "limit_reached": 503,
    "redis_away": 503,
    "internal": 500,
}
"""Every code word and the HTTP status a front makes of it."""


class TempestError(Exception):
    """Any failure of this package. ``code`` is a code word, ``detail`` says what exactly was wrong."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class WireError(TempestError):
    """A frame or a name is wrong."""


class SetupError(TempestError):
    """This worker cannot start; ``detail`` is one line that says what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__("redis_away", detail)


class QueueFull(TempestError):
    """The lane holds as much as it may; the job was not pushed. ``pushed``: the ids of those that were, of several."""

    def __init__(self, queue: str, pushed: list[str] | None = None) -> None:
        super().__init__("queue_full", f"queue {queue} is full")
        self.pushed = pushed or []


class NotUnique(TempestError):
    """Another job holds the unique key: ``holder`` is its id. Nothing was pushed."""

    def __init__(self, key: str, holder: str) -> None:
        super().__init__("not_unique", f"job {holder} holds the key {key}")
        self.holder = holder


class NoSuchJob(TempestError):
    """There is no record of the job: it never was, or it has ended and nothing of it is kept."""

    def __init__(self, queue: str, job_id: str) -> None:
        super().__init__("not_found", f"queue {queue} knows of no job {job_id}: it never was, or nothing of it is kept")


class RedisAway(TempestError):
    """No answer from Redis. Whether it did what was asked is unknown."""

    def __init__(self, detail: str) -> None:
        super().__init__("redis_away", detail)


class Refused(TempestError):
    """Redis answered with an error. ``word`` is its first word: ``OOM``, ``NOPERM``, …"""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__("redis_away", f"Redis refuses: {word} {detail}")
        self.word = word


class Cancelled(TempestError):
    """Nobody waits for the job that runs any more. Raised by :meth:`tempest.Context.check`; a handler that lets it pass
    ends its job, which is neither failed nor tried again."""

    def __init__(self) -> None:
        super().__init__("cancelled", "nobody waits for this job any more")


class CallFailed(TempestError):
    """A job that was called ended with an error, or did not end in time (``timeout``)."""
