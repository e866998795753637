"""What the three applications share: the contract of ../README.md as far as it knows no framework."""

import hashlib
import os
import time
from pathlib import Path

NOTES = Path(__file__).with_name("notes.txt")
TOLD = ("accept", "authorization", "content-type", "cookie", "user-agent")
PATTERN = bytes(number % 251 for number in range(251 * 40))


def tell(environ, body):
    """The request as the application got it."""
    names = {name[5:].lower().replace("_", "-"): name for name in environ if name.startswith("HTTP_")}
    names["content-type"] = "CONTENT_TYPE"
    names.pop("x-request-id", None)
    headers = {name: environ.get(key, "") for name, key in names.items() if name.startswith("x-") or name in TOLD}
    return {
        "method": environ["REQUEST_METHOD"],
        "path": environ.get("contract.path", environ["PATH_INFO"]),
        "query": environ["QUERY_STRING"],
        "headers": {name: value for name, value in headers.items() if value or name.startswith("x-")},
        "body_bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }


def pattern(length):
    """So many bytes, of every value below 251."""
    return (PATTERN * (length // len(PATTERN) + 1))[:length]


def uploaded(name, filename, content_type, data):
    """A file of an upload."""
    return [name, filename, content_type, len(data), hashlib.sha256(data).hexdigest()]


def mark(name, word):
    """Writes down what happened, where the test looks for it."""
    if name:
        with (Path(os.environ["GATEWAY_MARKS"]) / name).open("a") as file:
            file.write(f"{word}\n")


def slow(ms, name):
    """Takes its time, and tells when it is over."""
    time.sleep(ms / 1000)
    mark(name, "done")


def breaking():
    """A piece, and then an error."""
    yield b"beginning\n"
    time.sleep(0.05)
    raise RuntimeError("a secret of the house")


def drip(name):
    """Pieces for ten seconds, unless it is closed before."""
    try:
        for number in range(100):
            yield b"drop %d\n" % number
            time.sleep(0.1)
        mark(name, "exhausted")
    finally:
        mark(name, "closed")
