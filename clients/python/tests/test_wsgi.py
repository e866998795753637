"""The WSGI gateway's handler: every promise of PEP 3333 that needs no process. What HTTP clients see is judged in
acceptance/gateways, as a program it is judged in acceptance/wsgi."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

from conftest import Server
from tempest import Context, Job, Request, SetupError, TempestError, Worker
from tempest.bus import Bus
from tempest.clock import Clock
from tempest.http import Response
from tempest.limits import REPLY_BYTES_MAX
from tempest.link import Place
from tempest.names import Keys
from tempest.wsgi import handler
from tempest.wsgi.load import load
from tempest.wsgi.plan import Plan
from tempest.wsgi.watch import Files, files_of

App = Callable[..., Any]
TEXT = [("Content-Type", "text/plain")]


def context() -> Context:
    return Context(Job("url"), "default", Bus(Place("redis://127.0.0.1:1"), Keys("tempest")), Clock())


def get(url: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> Request:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request(method, url, pairs, body, "1.2.3.4", "http", "shop.test")


def run(app: App, request: Request | None = None, **options: Any) -> Response:
    return handler(app, **options)(request or get(), context())


def telling(tell: Callable[[dict[str, Any]], str]) -> App:
    """An application that answers with something of its environ."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [tell(environ).encode()]

    return app


def environ(request: Request, **options: Any) -> dict[str, Any]:
    """What an application gets for a request."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", TEXT)
        return [b""]

    run(app, request, **options)
    return seen


# --- environ -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/", "/", ""),
        ("/a?", "/a", ""),
        ("/a?b=c?d", "/a", "b=c?d"),
        ("/a%20b%2Fc%3f?x=%20", "/a b/c?", "x=%20"),
        ("/caf%C3%A9", "/caf\xc3\xa9", ""),
        ("/caf%E9", "/caf\xe9", ""),
        ("/%zz%4", "/%zz%4", ""),
        ("/a%00b", "/a\0b", ""),
        ("//a//b", "//a//b", ""),
        ("http://other.test/a%20b?c=d", "/a b", "c=d"),
        ("http://other.test", "/", ""),
        ("*", "*", ""),
    ],
)
def test_targets(url: str, path: str, query: str) -> None:
    seen = environ(get(url))
    assert (seen["PATH_INFO"], seen["QUERY_STRING"], seen["SCRIPT_NAME"]) == (path, query, "")
    assert seen["RAW_URI"] == seen["REQUEST_URI"] == url


def test_variables() -> None:
    seen = environ(get("/a", "PUT", b"12345", content_type="text/plain", content_length="5", x_a="1"))
    expected = {
        "REQUEST_METHOD": "PUT",
        "REMOTE_ADDR": "1.2.3.4",
        "SERVER_NAME": "shop.test",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "5",
        "HTTP_X_A": "1",
        "HTTP_HOST": "shop.test",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert {name: seen[name] for name in expected} == expected
    assert "HTTP_CONTENT_TYPE" not in seen
    assert "HTTP_CONTENT_LENGTH" not in seen
    assert seen["tempest.context"].queue == "default"
    assert type(seen) is dict


def test_repeated_fields_are_joined() -> None:
    request = Request("GET", "/", [("x-a", "1"), ("x-b", ""), ("x-a", "2, 3"), ("host", "h")], host="other")
    seen = environ(request)
    assert (seen["HTTP_X_A"], seen["HTTP_X_B"], seen["HTTP_HOST"]) == ("1,2, 3", "", "h")


@pytest.mark.parametrize(
    ("scheme", "host", "server"),
    [
        ("http", "a.test", ("a.test", "80")),
        ("https", "a.test", ("a.test", "443")),
        ("http", "a.test:8080", ("a.test", "8080")),
        ("http", "a.test:", ("a.test", "80")),
        ("https", "[::1]", ("[::1]", "443")),
        ("https", "[::1]:1", ("[::1]", "1")),
        ("http", "", ("localhost", "80")),
        ("", "", ("localhost", "80")),
    ],
)
def test_server(scheme: str, host: str, server: tuple[str, str]) -> None:
    handle = handler(telling(lambda seen: f"{seen['SERVER_NAME']} {seen['SERVER_PORT']}"))
    for _ in range(2):  # made, then remembered
        reply = handle(Request("GET", "/", scheme=scheme, host=host), context())
        assert reply.body.decode() == " ".join(server)


def test_names_and_hosts_that_clients_choose_fill_no_memory() -> None:
    handle = handler(telling(lambda seen: str(seen["SERVER_NAME"])))
    for number in range(3000):
        request = Request("GET", "/", [(f"x-{number}", "1")], scheme="http", host=f"h{number}")
        assert handle(request, context()).body == b"h%d" % number
    cells = [cell.cell_contents for cell in handle.__closure__ or ()]
    environs = next(cell for cell in cells if hasattr(cell, "of"))
    assert max(len(environs._keys), len(environs._servers)) <= 1000


def test_mounted() -> None:
    seen = environ(get("/shop/a%20b?c"), script_name="/shop")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/shop", "/a b")
    assert environ(get("/shop"), script_name="/shop")["PATH_INFO"] == ""
    for elsewhere in ("/", "/shopping", "/a/shop"):
        with pytest.raises(ValueError, match="not below /shop"):
            environ(get(elsewhere), script_name="/shop")


def test_input() -> None:
    body = b"one\ntwo\nthree"
    seen = [environ(get("/", "POST", body))["wsgi.input"] for _ in range(5)]
    assert seen[0].read() == body
    assert seen[0].read(10) == b""
    assert (seen[1].read(2), seen[1].readline(), seen[1].readline(2), seen[1].read()) == (
        b"on",
        b"e\n",
        b"tw",
        b"o\nthree",
    )
    assert seen[2].readlines() == list(seen[3]) == [b"one\n", b"two\n", b"three"]
    assert seen[4].readlines(1) == [b"one\n"]


def test_each_request_has_an_environ_of_its_own() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        was = environ.get("mine", "nothing")
        environ["mine"] = environ["wsgi.url_scheme"] = "changed"
        start_response("200 OK", TEXT)
        return [was.encode()]

    handle = handler(app)
    assert [handle(get(), context()).body for _ in range(2)] == [b"nothing"] * 2


# --- start_response ------------------------------------------------------------------------------------------------


def answering(status: str, headers: list[tuple[str, str]], *body: bytes) -> App:
    def app(_environ: object, start_response: Any) -> list[bytes]:
        start_response(status, headers)
        return list(body)

    return app


def test_reply() -> None:
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("X-Latin", " caf\xe9\t"), ("Set-Cookie", "b=2")]
    reply = run(answering("299 Quite All Right", headers, b"a", b"", b"b"))
    assert (reply.status, reply.body) == (299, b"ab")
    assert reply.headers == [
        ("content-type", "text/plain"),
        ("set-cookie", "a=1"),
        ("x-latin", "caf\xe9"),
        ("set-cookie", "b=2"),
    ]


@pytest.mark.parametrize("status", ["200", "200 ", "404 \xfcber", "599 x"])
def test_statuses(status: str) -> None:
    assert run(answering(status, TEXT)).status == int(status[:3])


@pytest.mark.parametrize(
    "status", ["", "20", "2000", "100 Continue", "600 x", "abc", "200OK", "200 a\r\nb", "200 \u20ac"]
)
def test_wrong_statuses(status: str) -> None:
    with pytest.raises(ValueError, match="status"):
        run(answering(status, TEXT))


@pytest.mark.parametrize("status", [200, b"200 OK", None])
def test_a_status_is_text(status: Any) -> None:
    with pytest.raises(TypeError, match="status"):
        run(answering(status, TEXT))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("\xe9", "x"),
        ("x", "a\r\nb"),
        ("x", "a\0"),
        ("x", "\u20ac"),
        ("x", "\x7f"),
    ],
)
def test_wrong_fields(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        run(answering("200 OK", [(name, value)]))


@pytest.mark.parametrize(("name", "value"), [(b"x", "y"), ("x", b"y"), ("x", 1), ("x", None)])
def test_fields_are_text(name: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="header"):
        run(answering("200 OK", [(name, value)]))


def test_fields_of_one_connection_are_left_out() -> None:
    reply = run(answering("200 OK", [("Connection", "close"), ("Transfer-Encoding", "chunked"), ("X", "y")]))
    assert reply.headers == [("x", "y")]


def test_a_second_call_needs_an_exception() -> None:
    def app(_environ: object, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        start_response("404 Not Found", TEXT)
        return []

    with pytest.raises(AssertionError, match="exc_info"):
        run(app)


def changing_its_mind(beginning: bytes) -> App:
    def app(_environ: object, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("X-First", "1")])
        yield beginning
        try:
            raise LookupError("first")
        except LookupError:
            start_response("503 Sorry", TEXT, sys.exc_info())
        yield b"sorry"

    return app


def test_an_exception_before_the_first_byte_changes_the_reply() -> None:
    reply = run(changing_its_mind(b""))
    assert (reply.status, reply.headers, reply.body) == (503, [("content-type", "text/plain")], b"sorry")


def test_an_exception_after_the_first_byte_is_raised_again() -> None:
    with pytest.raises(LookupError, match="first"):
        run(changing_its_mind(b"beginning"))


def test_write() -> None:
    def app(_environ: object, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"one ")
        write(b"")
        write(b"two ")
        return [b"three"]

    assert run(app).body == b"one two three"


def test_start_response_may_be_called_as_late_as_with_the_first_piece() -> None:
    def app(_environ: object, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", TEXT)
        yield b"late"

    assert (run(app).status, run(app).body) == (201, b"late")


def test_start_response_must_be_called_before_a_piece() -> None:
    with pytest.raises(AssertionError, match="before it called start_response"):
        run(lambda _environ, _start: [b"x"])
    with pytest.raises(AssertionError, match="did not call start_response"):
        run(lambda _environ, _start: [])


@pytest.mark.parametrize("piece", ["text", 1, None, bytearray(b"x")])
def test_a_body_is_bytes(piece: Any) -> None:
    for body in ([piece], [b"x", piece], iter([piece])):
        with pytest.raises(TypeError, match="bytes"):
            run(lambda _environ, start, body=body: start("200 OK", TEXT) and body)


# --- iterables -----------------------------------------------------------------------------------------------------


class Pieces:
    """An iterable that counts its closings."""

    def __init__(self, *pieces: bytes, fails_at: int = -1, fails_to_close: bool = False) -> None:
        self.closed = self.given = 0
        self._pieces, self._fails_at, self._fails_to_close = pieces, fails_at, fails_to_close

    def __iter__(self) -> Iterator[bytes]:
        for number, piece in enumerate(self._pieces):
            if number == self._fails_at:
                raise LookupError("in the middle")
            self.given += 1
            yield piece

    def close(self) -> None:
        self.closed += 1
        if self._fails_to_close:
            raise OSError("cannot close")


def giving(body: object, status: str = "200 OK", headers: list[tuple[str, str]] = TEXT) -> App:
    return lambda _environ, start_response: start_response(status, headers) and body


def test_an_iterable_is_closed() -> None:
    body = Pieces(b"a", b"b")
    assert run(giving(body)).body == b"ab"
    assert body.closed == 1


def test_an_iterable_that_fails_is_closed() -> None:
    body = Pieces(b"a", b"b", fails_at=1)
    with pytest.raises(LookupError, match="in the middle"):
        run(giving(body))
    assert body.closed == 1


def test_an_iterable_is_closed_when_the_application_never_began() -> None:
    body = Pieces(b"a")
    with pytest.raises(AssertionError, match="before it called"):
        run(lambda _environ, _start: body)
    assert body.closed == 1


def test_a_close_that_fails_takes_no_reply_away(caplog: pytest.LogCaptureFixture) -> None:
    body = Pieces(b"a", fails_to_close=True)
    assert run(giving(body)).body == b"a"
    assert "cannot close" in caplog.text


def test_a_close_that_fails_hides_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LookupError):
        run(giving(Pieces(b"a", fails_at=0, fails_to_close=True)))
    assert "cannot close" in caplog.text


def test_a_list_of_one_with_a_close_is_closed() -> None:
    class Closed(list[bytes]):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    body = Closed([b"a"])
    assert (run(giving(body)).body, body.closed) == (b"a", 1)


def test_too_large_a_reply_ends_its_iterable() -> None:
    piece = bytes(1024 * 1024)
    body = Pieces(*[piece] * 100)
    with pytest.raises(TempestError, match=f"more than {REPLY_BYTES_MAX} bytes") as raised:
        run(giving(body))
    assert raised.value.code == "too_large"
    assert (body.given, body.closed) == (REPLY_BYTES_MAX // len(piece) + 1, 1)


def test_what_nobody_waits_for_is_closed_where_it_stands() -> None:
    body, given = Pieces(*[b"x"] * 100), context()
    given.cancel()
    handler(giving(body))(get(), given)
    assert (body.given, body.closed) == (1, 1)


def test_file_wrapper(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 100)
    opened: list[io.BufferedReader] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        opened.append(path.open("rb"))
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](opened[0], 1000)

    assert run(app).body == path.read_bytes()
    assert opened[0].closed


# --- lengths -------------------------------------------------------------------------------------------------------


def sized(length: object) -> list[tuple[str, str]]:
    return [("Content-Length", str(length))]


def test_a_length_that_is_right() -> None:
    assert run(giving([b"12", b"345"], headers=sized(5))).headers == [("content-length", "5")]


@pytest.mark.parametrize("pieces", [[b"1234"], [b"12", b"3"], []])
def test_less_than_its_length_fails(pieces: list[bytes]) -> None:
    with pytest.raises(ValueError, match=f"Content-Length 5 and gave {sum(map(len, pieces))} bytes"):
        run(giving(pieces, headers=sized(5)))


def test_more_than_its_length_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    body = Pieces(b"123", b"456", b"789")
    assert run(giving(body, headers=sized(5))).body == b"12345"
    assert (body.given, body.closed) == (2, 1)
    assert run(giving([b"123456789"], headers=sized(5))).body == b"12345"
    assert caplog.text.count("more than its Content-Length of 5") == 2


@pytest.mark.parametrize("length", ["", "five", "-1", "1.5", "+5", "\xb2"])
def test_a_length_is_a_number(length: str) -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        run(giving([b""], headers=sized(length)))


def test_head_has_the_length_of_get() -> None:
    reply = run(giving([b"12345"]), get(method="HEAD"))
    assert (reply.body, reply.headers[-1]) == (b"", ("content-length", "5"))
    assert run(giving([], headers=sized(7)), get(method="HEAD")).headers == [("content-length", "7")]
    assert run(giving([], headers=TEXT), get(method="HEAD")).headers == [("content-type", "text/plain")]


def test_bodiless_statuses() -> None:
    reply = run(giving([b"dropped"], "204 No Content", sized(7)))
    assert (reply.body, reply.headers) == (b"", [])
    reply = run(giving([b""], "304 Not Modified", sized(7)))
    assert (reply.body, reply.headers) == (b"", [("content-length", "7")])


# --- wsgiref.validate ----------------------------------------------------------------------------------------------


@validator
def validated(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    body = environ["wsgi.input"].read(1000)
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(environ["PATH_INFO"].encode("latin-1"))
    return iter([b" ", body])


@pytest.mark.parametrize(
    "request_",
    [
        get("/a?b=c"),
        get("/caf%C3%A9", "POST", b"body", content_type="text/plain", content_length="4"),
        get("/x", "PUT", bytes(100), content_length="100", x_a="\xe9"),
        Request("GET", "/"),
        Request("DELETE", "/", scheme="https", host="[::1]:8443"),
        Request("OPTIONS", "http://a.test/x?y"),
    ],
    ids=repr,
)
def test_validate(request_: Request, capsys: pytest.CaptureFixture[str]) -> None:
    reply = run(validated, request_)
    assert reply.body.endswith(b" " + request_.body)
    assert capsys.readouterr().err == "", "closed, not garbage collected"


# --- in a worker, and its parts ------------------------------------------------------------------------------------


def test_a_worker_of_ones_own_takes_the_handler() -> None:
    Worker("default").on("url")(handler(validated))


MODULE = """
def app(environ, start_response): pass
application = app
class inner:
    app = app
def factory(*words, **named):
    def made(environ, start_response): pass
    made.given = (words, named)
    return made
def strange(): return 5
WORD = "x"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"wsgi_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("import no_such_module_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_load(module: str) -> None:
    loaded: Any = load(f"{module}:app")
    assert loaded is load(module) is load(f"{module}:inner.app")
    made: Any = load(f"{module}:factory('a', 1, b=[2])")
    assert made.given == (("a", 1), {"b": [2]})


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("no_such_module_at_all:app", "no module no_such_module_at_all here"),
        ("MODULE.inner.py:app", "write MODULE.inner:app"),
        ("MODULE:nothing", "MODULE has no nothing"),
        ("MODULE:inner.nothing", "MODULE has no inner.nothing"),
        ("MODULE:WORD", "MODULE:WORD is no WSGI application: str cannot be called"),
        ("MODULE:strange()", "is no WSGI application: int cannot be called"),
        ("MODULE:WORD()", "str cannot be called"),
        ("MODULE:factory(app)", "the arguments of a factory are literals"),
        ("MODULE:app[0]", "neither a name nor a call"),
        ("MODULE:app(", "neither a name nor a call"),
        (":app", "'' is no name of a module"),
    ],
)
def test_load_says_what_is_wrong(module: str, named: str, said: str) -> None:
    with pytest.raises(SetupError) as raised:
        load(named.replace("MODULE", module))
    assert said.replace("MODULE", module) in raised.value.detail
    assert "\n" not in raised.value.detail


def test_load_hides_no_mistake_of_the_module(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        load(f"{module}_broken:app")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"processes": 0}, "processes is a number of 1 to 1000, not 0"),
        ({"threads": 0}, "concurrency is a number of 1 to 1000"),
        ({"queues": ["a b"]}, "queue"),
        ({"lanes": ["fast"]}, "lane"),
        ({"action": ""}, "action"),
        ({"script_name": "shop"}, "begins with /"),
        ({"script_name": "/shop/"}, "does not end with it"),
        ({"url": "redis://127.0.0.1:1"}, "no Redis at"),
    ],
)
def test_a_plan_is_checked(server: Server, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError, match=said):
        Plan(**{"load": lambda: validated, "url": server.url, **options}).check()


def test_files_that_change(tmp_path: Path) -> None:
    path = tmp_path / "seen.py"
    path.write_text("x = (")
    with pytest.raises(SyntaxError) as raised:
        compile(path.read_text(), str(path), "exec")
    os.utime(path, (1, 1))
    files = Files(time.time(), files_of(raised.value))
    assert files.changed() == []
    path.write_text("x = ()")
    assert files.settled() == [str(path)]
    assert files.changed() == []
    path.unlink()
    assert files.changed() == [str(path)]


def test_a_file_that_was_saved_while_it_was_loaded_has_changed(tmp_path: Path) -> None:
    begun_s = time.time()
    before, meanwhile, ahead = (tmp_path / name for name in ("before", "meanwhile", "ahead"))
    for path in (before, meanwhile, ahead):
        path.touch()
    os.utime(before, (begun_s - 1, begun_s - 1))
    os.utime(ahead, (begun_s + 1000, begun_s + 1000))
    files = Files(begun_s, map(str, (before, meanwhile, ahead)))
    assert files.changed() == [str(meanwhile)]
    assert files.changed() == []


def test_nothing_is_logged_for_a_good_reply(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run(giving([b"a"]))
    assert not caplog.records
