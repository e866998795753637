"""One connection to Redis, and what to do after an error (SPEC "Errors of Redis").

A link never sends anything twice and never connects again by itself: what was under way when it broke is unknown, and
only its owner knows what that means. redis-py's own client would send a ``BLMOVE`` again after a cut. So redis-py makes
the connection (URL, TLS, password), and what goes over it is written and read here, by hiredis.
"""

from __future__ import annotations

import random
import select
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import hiredis
import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.retry import Retry

from . import settings
from .errors import RedisAway, Refused, SetupError, TempestError
from .fault import Faults
from .limits import COMMAND_ANSWER_S, RECONNECT_BASE_MS, RECONNECT_CAP_MS, backoff_cap_ms
from .tls import Files, TlsConnection, Untrusted, told

Command = tuple[Any, ...]

_WORDS: list[tuple[type[Exception], str]] = [
    (exceptions.BusyLoadingError, "LOADING"),
    (exceptions.ReadOnlyError, "READONLY"),
    (exceptions.OutOfMemoryError, "OOM"),
    (exceptions.NoPermissionError, "NOPERM"),
    (exceptions.MasterDownError, "MASTERDOWN"),
    (exceptions.ClusterDownError, "CLUSTERDOWN"),
    (exceptions.TryAgainError, "TRYAGAIN"),
    (exceptions.MovedError, "MOVED"),
    (exceptions.AskError, "ASK"),
    (exceptions.ExecAbortError, "EXECABORT"),
    (exceptions.AuthenticationError, "NOAUTH"),
    (exceptions.AuthenticationWrongNumberOfArgsError, "NOAUTH"),
]


def refusal(error: Exception) -> Refused | None:
    """The refusal that an error of redis-py while it connects stands for; none if it is a broken connection."""
    for kind, word in _WORDS:
        if isinstance(error, kind):
            return Refused(word, str(error))
    return _refused(str(error)) if isinstance(error, exceptions.ResponseError) else None


def _refused(message: str) -> Refused:
    word, _, rest = message.partition(" ")
    return Refused(word, rest) if word.isupper() else Refused("ERR", message)


class Place:
    """Where Redis is. Raises :class:`SetupError` for a URL that is none, and for certificates that cannot be used."""

    def __init__(self, url: str, files: Files | None = None) -> None:
        try:
            self._options = dict(parse_url(url))  # type: ignore[no-untyped-call]
            parts = urlsplit(url)
            self.shown = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
            """The URL without its secrets."""
            self.hint = ""
            """What else may be wrong if nobody answers: empty or a clause."""
        except ValueError as error:
            raise SetupError(f"{url!r} is no Redis URL ({error}): use one like redis://127.0.0.1:6379") from None
        self.faults = Faults()
        """What is wrong with it, as far as this process knows."""
        self._connection = self._options.pop("connection_class", Connection)
        if parts.scheme == "rediss":
            self._use_tls(files or settings.tls_files(), parts.fragment)
        for name in ("max_connections", "timeout"):
            self._options.pop(name, None)

    def _use_tls(self, files: Files, fragment: str) -> None:
        if fragment == "insecure":
            raise SetupError(
                f"{self.shown} would trust whoever answers, so #insecure is not served: name the authority of its "
                "certificate with TEMPEST_REDIS_CA_FILE"
            )
        if not any(name.startswith("ssl_") for name in self._options):  # else it is said in redis-py's own words
            files.check()
            self._connection = TlsConnection
            self._options["files"] = files
            if files.cert is None:
                self.hint = (
                    "if it wants to see a certificate, name one with "
                    "TEMPEST_REDIS_CERT_FILE and TEMPEST_REDIS_KEY_FILE; "
                )

    def open(self, answer_s: float = COMMAND_ANSWER_S) -> Link:
        """Connects. ``answer_s`` is how long an answer may take before the connection counts as broken.

        Raises :class:`RedisAway` or :class:`Refused`.
        """
        options = {
            **self._options,
            "socket_timeout": answer_s,
            "socket_connect_timeout": COMMAND_ANSWER_S,
            "socket_keepalive": True,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
            "decode_responses": False,
            "protocol": 2,
        }
        if not issubclass(self._connection, Connection):
            del options["socket_keepalive"]  # a Unix socket has none
            if issubclass(self._connection, redis.UnixDomainSocketConnection):
                del options["socket_connect_timeout"]
        connection = self._connection(**options)
        # What redis-py says of itself needs a right of its own; how to silence it depends on its version.
        connection.driver_info = connection.lib_name = connection.lib_version = None
        return Link(connection)


def pack(commands: Iterable[Command]) -> bytes:
    """Commands as they stand on the wire."""
    return b"".join(map(hiredis.pack_command, commands))


_READ_BYTES = 65_536
_NOT_YET = object()


class Link:
    """One connection. Once it is broken it stays so: :attr:`broken`."""

    def __init__(self, connection: Any) -> None:
        self.broken = False
        self.known: set[str] = set()
        """Hashes of the scripts whose text was sent here."""
        self._connection = connection
        self._connect()
        self._sock = connection._sock
        self._reader = hiredis.Reader(protocolError=RedisAway, replyError=_refused, notEnoughData=_NOT_YET)

    def _connect(self) -> None:
        try:
            self._connection.connect()
        except (exceptions.RedisError, OSError) as error:
            self.close()
            raise refusal(error) or RedisAway(str(error)) from None

    def send(self, commands: Sequence[Command]) -> None:
        """Sends commands in one write. Raises :class:`RedisAway`."""
        self.send_packed(pack(commands))

    def send_packed(self, data: bytes) -> None:
        """Sends commands that were :func:`pack`ed, in one write. Raises :class:`RedisAway`."""
        if self.broken:
            raise RedisAway("the connection is closed")
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise self._broke(error) from None

    def read(self) -> Any:
        """Reads one answer. Raises :class:`RedisAway` or :class:`Refused`."""
        answer = self.read_or_refusal()
        if isinstance(answer, Refused):
            raise answer
        return answer

    def read_or_refusal(self) -> Any:
        """Reads one answer; gives a refusal back instead of raising it. Raises :class:`RedisAway`."""
        reader = self._reader
        try:
            while (answer := reader.gets()) is _NOT_YET:
                self._receive()
        except RedisAway:
            self.close()
            raise
        return answer

    def _receive(self) -> None:
        if self.broken:
            raise RedisAway("the connection is closed")
        try:
            data = self._sock.recv(_READ_BYTES)
        except OSError as error:
            raise self._broke(error) from None
        if not data:
            raise RedisAway("Redis closed the connection")
        self._reader.feed(data)

    def _broke(self, error: OSError) -> RedisAway:
        self.close()
        # Whether it takes our certificate, Redis says only after the handshake of TLS 1.3.
        if isinstance(error, ssl.SSLEOFError):
            return RedisAway("Redis closed the connection")
        return Untrusted(told(error)) if isinstance(error, ssl.SSLError) else RedisAway(str(error))

    def ask(self, *command: Any) -> Any:
        """Sends one command and gives its answer. Raises :class:`RedisAway` or :class:`Refused`."""
        self.send([command])
        return self.read()

    def ask_all(self, commands: Sequence[Command]) -> list[Any]:
        """Sends commands in one write and gives the answers; a refused one gives its :class:`Refused`."""
        self.send(commands)
        return [self.read_or_refusal() for _ in commands]

    def has_answer(self, wait_s: float = 0.0) -> bool:
        """Tells whether something can be read, or the connection was closed. Raises :class:`RedisAway`."""
        number = self.fileno()
        if self._reader.has_data() or getattr(self._sock, "pending", int)():
            return True
        return bool(select.select([number], [], [], wait_s)[0])

    def fileno(self) -> int:
        """The socket, to wait for several links at once. Raises :class:`RedisAway`."""
        if self.broken:
            raise RedisAway("the connection is closed")
        number: int = self._sock.fileno()
        return number

    def close(self) -> None:
        """Closes it for good."""
        self.broken = True
        self._connection.disconnect()


_RECONNECT = frozenset(
    ("UNBLOCKED", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN"),
)
_OPERATOR = frozenset(("NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE"))


class Pauses:
    """How long to wait after an error, and whether to say it: once, until something else happens."""

    def __init__(self) -> None:
        self._failures = 0
        self._said: str | None = None

    def after(self, error: TempestError) -> float:
        """Gives the pause after an error, in seconds."""
        self._failures += 1
        if isinstance(error, Refused) and error.word not in _RECONNECT:
            return 5.0 if error.word in _OPERATOR else random.uniform(0.1, 1.0)
        return random.uniform(0, backoff_cap_ms(RECONNECT_BASE_MS, RECONNECT_CAP_MS, self._failures)) / 1000

    def is_news(self, error: TempestError) -> bool:
        """Tells whether this error was not the last one said."""
        word = error.word if isinstance(error, Refused) else error.code
        news, self._said = word != self._said, word
        return news

    def over(self) -> bool:
        """Forgets the failures. Tells whether there were any."""
        had = self._failures > 0
        self._failures, self._said = 0, None
        return had


def open_within(place: Place, limit_s: float) -> Link:
    """Connects, trying again for at most ``limit_s``. Raises what the last try raised."""
    pauses, until = Pauses(), time.monotonic() + limit_s
    while True:
        try:
            return place.open()
        except TempestError as error:
            pause = pauses.after(error)
            if time.monotonic() + pause > until:
                raise
            time.sleep(pause)
