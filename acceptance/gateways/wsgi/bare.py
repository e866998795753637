"""The contract as a bare PEP 3333 callable, watched by wsgiref.validate."""

import email.parser
import email.policy
import json
import re
import wsgiref.validate
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import parse_qs

import contract

JSON = [("Content-Type", "application/json")]
TEXT = [("Content-Type", "text/plain; charset=utf-8")]


class Request:
    """An environ, read."""

    def __init__(self, environ):
        self.environ = environ
        self.method, self.path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.query = {name: values[0] for name, values in parse_qs(environ["QUERY_STRING"]).items()}

    def body(self):
        """All of it, however long it is said to be."""
        pieces = []
        while piece := self.environ["wsgi.input"].read(65536):
            pieces.append(piece)
        return b"".join(pieces)

    def fields(self):
        """The fields of a form."""
        return parse_qs(self.body().decode(), keep_blank_values=True)

    def cookies(self):
        pairs = (pair.strip().partition("=") for pair in self.environ.get("HTTP_COOKIE", "").split(";"))
        return {name: value.strip('"') for name, equals, value in pairs if equals}


def as_json(value, status=200, headers=()):
    return status, [*JSON, *headers], [json.dumps(value, sort_keys=True).encode()]


def tell(request):
    return as_json(contract.tell(request.environ, request.body()))


def params(request):
    return as_json(parse_qs(request.environ["QUERY_STRING"], keep_blank_values=True))


def body(request):
    data = contract.pattern(int(request.path.rpartition("/")[2]))
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(data)))]
    return 200, headers, [data]


def mirror(request):
    return 200, [("Content-Type", request.environ.get("CONTENT_TYPE", "text/plain"))], [request.body()]


def status(request):
    number = int(request.path.rpartition("/")[2])
    if number in (204, 304):
        return number, [], []
    return number, TEXT, [b"%d\n" % number]


def redirect(request):
    return int(request.query.get("status", 302)), [*TEXT, ("Location", request.query["to"])], [b"elsewhere\n"]


def absolute(request):
    about = request.environ
    return 200, TEXT, [f"{about['wsgi.url_scheme']}://{about['HTTP_HOST']}/tell".encode()]


def cookies(request):
    return as_json(request.cookies())


def set_cookies(_request):
    given = ["a=1; Path=/", "b=two; Path=/; HttpOnly", "c=3; Expires=Wed, 01 Jan 2031 00:00:00 GMT; Secure"]
    return 200, [*TEXT, *(("Set-Cookie", each) for each in given)], [b"given\n"]


def session(request):
    if request.method == "POST":
        name = request.fields()["name"][0]
        return 302, [*TEXT, ("Location", "/session"), ("Set-Cookie", f"who={name}; Path=/")], [b""]
    if request.method == "DELETE":
        return 200, [*TEXT, ("Set-Cookie", "who=; Path=/; Max-Age=0")], [b"left\n"]
    return 200, TEXT, [(request.cookies().get("who") or "nobody").encode()]


def form(request):
    if request.method != "POST":
        return 405, [*TEXT, ("Allow", "POST")], [b"POST\n"]
    return as_json(request.fields())


def upload(request):
    head = f"Content-Type: {request.environ['CONTENT_TYPE']}\r\n\r\n".encode()
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + request.body())
    fields, files = {}, []
    for part in parsed.iter_parts():
        about, data = part["content-disposition"].params, part.get_payload(decode=True)
        if "filename" in about:
            files.append(contract.uploaded(about["name"], about["filename"], part.get_content_type(), data))
        else:
            fields[about["name"]] = data.decode()
    return as_json({"fields": fields, "files": files})


def read_json(request):
    try:
        return as_json(json.loads(request.body()))
    except ValueError:
        return 400, TEXT, [b"no JSON\n"]


def headers(_request):
    fields = [("X-Two", "a"), ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("X-Two", "b"), ("X-Blank", "  a  b ")]
    return 200, [*TEXT, *fields], [b"fields\n"]


def stream(_request):
    return 200, TEXT, (b"piece %d\n" % number for number in range(5))


def file(request):
    data, changed_s = contract.NOTES.read_bytes(), int(contract.NOTES.stat().st_mtime)
    headers = [*TEXT, ("Last-Modified", formatdate(changed_s, usegmt=True)), ("Accept-Ranges", "bytes")]
    since = request.environ.get("HTTP_IF_MODIFIED_SINCE")
    if since and parsedate_to_datetime(since).timestamp() >= changed_s:
        return 304, headers[1:], []
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.environ.get("HTTP_RANGE", ""))
    if wanted is None:
        return 200, headers, request.environ["wsgi.file_wrapper"](contract.NOTES.open("rb"), 100)
    first, last = wanted.groups()
    start = int(first) if first else len(data) - int(last)
    end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    if start > end:
        return 416, [*headers, ("Content-Range", f"bytes */{len(data)}")], [b""]
    return 206, [*headers, ("Content-Range", f"bytes {start}-{end}/{len(data)}")], [data[start : end + 1]]


def tagged(request):
    tag = ("ETag", '"v1"')
    if request.environ.get("HTTP_IF_NONE_MATCH") == '"v1"':
        return 304, [tag], []
    return 200, [*TEXT, tag], [b"tagged\n"]


def fail_before(_request):
    raise RuntimeError("a secret of the house")


def fail_after(_request):
    return 200, TEXT, contract.breaking()


def short(_request):
    return 200, [*TEXT, ("Content-Length", "10")], [b"12345"]


def long(_request):
    return 200, [*TEXT, ("Content-Length", "5")], [b"123", b"456", b"789"]


def slow(request):
    contract.slow(int(request.query["ms"]), request.query.get("mark"))
    return 200, TEXT, [b"slept\n"]


def drip(request):
    return 200, TEXT, contract.drip(request.query["mark"])


PLACES = {
    "/absolute": absolute,
    "/body": body,
    "/cookies": cookies,
    "/cookies/set": set_cookies,
    "/drip": drip,
    "/fail/after": fail_after,
    "/fail/before": fail_before,
    "/file": file,
    "/form": form,
    "/headers": headers,
    "/json": read_json,
    "/long": long,
    "/mirror": mirror,
    "/params": params,
    "/redirect": redirect,
    "/session": session,
    "/short": short,
    "/slow": slow,
    "/status": status,
    "/stream": stream,
    "/tagged": tagged,
    "/tell": tell,
    "/upload": upload,
}


def reason(number):
    try:
        return HTTPStatus(number).phrase
    except ValueError:
        return "Of Its Own"


def respond(environ, start_response):
    request = Request(environ)
    place = PLACES.get(request.path) or PLACES.get("/" + request.path[1:].partition("/")[0])
    number, fields, pieces = place(request) if place else (404, TEXT, [b"no such page\n"])
    start_response(f"{number} {reason(number)}", fields)
    return pieces


app = wsgiref.validate.validator(respond)
