"""Reads the table of HTTP cases, sends what it says byte by byte, and judges what comes back.

Knows no language and no gateway: a test of one starts the two servers and calls :func:`judge` for each case.
"""

import contextlib
import http.client
import http.cookies
import json
import re
import socket
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

FILE = Path(__file__).with_name("cases.toml")
PATIENCE_S = 30
PIECE_PAUSE_S = 0.02

_EXPECTED = {"status", "told", "contains", "lacks", "fields", "repeated", "json", "body_is", "mirrored", "code"}
_OF_SIDES = _EXPECTED | {"is_cut", "marked"}
_SENT = {"method", "target", "headers", "headers_many", "body", "chunks"}
_OF_CASES = {"name", "apps", "keep_cookies", "mask", "deviates", "differs", "native", "tempest", "request"}
_KEYS = _EXPECTED | _SENT | _OF_CASES | {"leaves_after_ms"}


@dataclass
class Side:
    """One of the two servers: its port, and the folder where its application makes marks."""

    name: str
    port: int
    marks: Path


@dataclass
class Answer:
    """What came back. ``is_cut``: the connection ended before the reply did."""

    status: int = 0
    fields: list = field(default_factory=list)
    body: bytes = b""
    is_cut: bool = False

    def all(self, name):
        """The values of a field, in order."""
        return [value for each, value in self.fields if each == name]


def cases(app):
    """The cases for an application: ``bare``, or the name of a framework."""
    table = tomllib.loads(FILE.read_text())
    for case in table["case"]:
        unknown = set(case) - _KEYS
        if unknown or (case.get("deviates") or "connection") not in table["deviation"]:
            raise ValueError(f"case {case['name']!r}: unknown {unknown or case['deviates']}")
    return [case for case in table["case"] if app in case.get("apps", [app])]


def deviations():
    """What differs, by its key."""
    return tomllib.loads(FILE.read_text())["deviation"]


# --- sending ---------------------------------------------------------------------------------------------------------


def filled(text, host, mark):
    """A text of the table as bytes: ``{host}``, ``{mark}``, ``{x*1000}`` and ``{bytes*1000}`` are filled in."""
    text = text.replace("{host}", host).replace("{mark}", mark)

    def repeated(match):
        word, count = match[1], int(match[2])
        alphabet = "".join(map(chr, range(256))) if word == "bytes" else word
        return (alphabet * (count // len(alphabet) + 1))[: count if word == "bytes" else count * len(word)]

    return re.sub(r"\{(\w+)\*(\d+)\}", repeated, text).encode("latin-1")


def body_of(request, host, mark):
    """The body of a request, without its framing."""
    return b"".join(filled(each, host, mark) for each in request.get("chunks", [request.get("body", "")]))


def pieces(request, host, mark, cookies):
    """The bytes of a request, in the pieces in which they are sent."""
    lines = [f"{request.get('method', 'GET')} ".encode() + filled(request["target"], host, mark) + b" HTTP/1.1"]
    fields = [["Host", host], *request.get("headers", [])]
    fields += [[f"X-{number}", f"field {number}"] for number in range(request.get("headers_many", 0))]
    if cookies:
        fields.append(["Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())])
    if "chunks" in request:
        fields.append(["Transfer-Encoding", "chunked"])
    elif "body" in request:
        fields.append(["Content-Length", str(len(body_of(request, host, mark)))])
    lines += [name.encode() + b": " + filled(value, host, mark) for name, value in fields]
    yield b"\r\n".join(lines) + b"\r\n\r\n"
    if "chunks" in request:
        for each in (filled(text, host, mark) for text in request["chunks"]):
            yield b"%x\r\n%b\r\n" % (len(each), each)
        yield b"0\r\n\r\n"
    elif "body" in request:
        yield body_of(request, host, mark)


def ask(side, request, host, mark, cookies):
    """Sends a request on a connection of its own and reads the reply."""
    with socket.create_connection(("127.0.0.1", side.port), timeout=PATIENCE_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):  # who does not want the rest may say so before it came
            for number, each in enumerate(pieces(request, host, mark, cookies)):
                if number > 1:
                    time.sleep(PIECE_PAUSE_S)
                sock.sendall(each)
        answer = read(sock, request.get("method", "GET"))
    for value in answer.all("set-cookie"):
        for name, morsel in http.cookies.SimpleCookie(value).items():
            cookies[name] = morsel.value
    return answer


def read(sock, method):
    """Reads one reply."""
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
    except (http.client.HTTPException, ConnectionError):
        return Answer(is_cut=True)
    fields = [(name.lower(), value) for name, value in response.getheaders()]
    try:
        return Answer(response.status, fields, response.read())
    except http.client.IncompleteRead as error:
        return Answer(response.status, fields, error.partial, is_cut=True)
    except ConnectionError:
        return Answer(response.status, fields, is_cut=True)


def leave(side, request, host, mark, after_ms):
    """Sends a request and hangs up after a while."""
    with socket.create_connection(("127.0.0.1", side.port), timeout=PATIENCE_S) as sock:
        sock.sendall(b"".join(pieces(request, host, mark, {})))
        time.sleep(after_ms / 1000)


# --- judging ---------------------------------------------------------------------------------------------------------


def judge(case, host, native, tempest):
    """Runs a case on both sides and gives what is wrong, a line each."""
    both = {side.name: _asked(case, host, side) for side in (native, tempest)}
    wrong = []
    for side in (native, tempest):
        answers, mark = both[side.name]
        told = case.get(side.name, {})
        for request, answer in zip(_requests(case), answers, strict=True):
            expected = {**{key: request[key] for key in _EXPECTED if key in request}, **told}
            wrong += [f"{side.name}: {each}" for each in unmet(expected, answer, request, host, mark)]
        if "marked" in told and not _is_marked(side, mark, told["marked"]):
            wrong.append(f"{side.name}: the application never marked {told['marked']!r}")
    answers = zip(both[native.name][0], both[tempest.name][0], strict=True)
    if "deviates" not in case or "differs" in case:
        return wrong + [each for pair in answers for each in differences(case, *pair)]
    if not any(_all_differences(*pair) for pair in answers):
        wrong.append(f"deviates no more: {case['deviates']}")
    return wrong


def _requests(case):
    """The requests of a case that are answered."""
    return [] if "leaves_after_ms" in case else case.get("request") or [case]


def _asked(case, host, side):
    mark, cookies = uuid.uuid4().hex, {}
    answers = []
    if "leaves_after_ms" in case:
        leave(side, case, host, mark, case["leaves_after_ms"])
    for request in _requests(case):
        answers.append(ask(side, request, host, mark, cookies if case.get("keep_cookies") else {}))
    return answers, mark


def _is_marked(side, mark, word):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        path = side.marks / mark
        if path.exists() and word in path.read_text().split():
            return True
        time.sleep(0.02)
    return False


def unmet(expected, answer, request, host, mark):
    """What an answer lacks of what a case expects."""
    status = expected.get("status", answer.status)
    if answer.status not in (status if isinstance(status, list) else [status]):
        yield f"status {answer.status}, not {status}: {answer.body[:300]!r}"
        return
    if answer.is_cut != expected.get("is_cut", False):
        yield "the reply is cut off" if answer.is_cut else "the reply is not cut off"
    text = answer.body.decode("latin-1")
    if "contains" in expected and filled(expected["contains"], host, mark).decode("latin-1") not in text:
        yield f"{expected['contains']!r} is not in {text[:300]!r}"
    if "lacks" in expected and expected["lacks"] in text:
        yield f"{expected['lacks']!r} is in {text[:300]!r}"
    if "body_is" in expected and text != expected["body_is"]:
        yield f"the body is {text[:300]!r}"
    if "mirrored" in expected and answer.body != body_of(request, host, mark):
        yield f"the body of {len(answer.body)} bytes is not the one that was sent"
    if "code" in expected and expected["code"] not in text:
        yield f"no code {expected['code']} in {text[:300]!r}"
    for name, value in expected.get("fields", {}).items():
        if answer.all(name) != [value]:
            yield f"field {name} is {answer.all(name)}"
    for name, count in expected.get("repeated", {}).items():
        if len(answer.all(name)) not in (count, 1 if name != "set-cookie" else count):
            yield f"field {name} stands there {len(answer.all(name))} times"
    yield from _untold(expected, answer)


def _untold(expected, answer):
    if "json" in expected and json.loads(answer.body) != expected["json"]:
        yield f"the body is {answer.body[:300]!r}"
    if "told" not in expected:
        return
    told = json.loads(answer.body)
    for key, value in expected["told"].items():
        found = told[key]
        if isinstance(value, dict):
            found = {name: each for name, each in found.items() if name in value}
        if found != value:
            yield f"the application was told {key} {told[key]!r}, not {value!r}"


def differences(case, native, tempest):
    """What differs between two answers to one request, less what is known to."""
    known = {name for each in deviations().values() for name in each.get("always", [])}
    known |= set(case.get("differs", []))
    masked = case.get("mask", [])
    if not native.all("content-length"):
        known.add("content-length")  # natively in chunks, or said by the end of the connection
    yield from (each for each in _all_differences(native, tempest, masked) if each[0] not in known)


def _all_differences(native, tempest, masked=()):
    found = []
    if native.status != tempest.status:
        found.append(("status", native.status, tempest.status))
    for name in sorted({name for name, _ in native.fields + tempest.fields}):
        ours, theirs = tempest.all(name), native.all(name)
        if name in masked:
            ours, theirs = [_shape(each) for each in ours], [_shape(each) for each in theirs]
        if ours != theirs:
            found.append((name, theirs, ours))
    if native.body != tempest.body:
        found.append(("body", native.body[:300], tempest.body[:300]))
    return found


def _shape(value):
    """A field without what is different each time: the value of a cookie, digits, names of days and months."""
    return re.sub(r"\d+|\b[A-Z][a-z]{2}\b", "#", re.sub(r"=[^;]*", "=", value, count=1))
