"""The contract as a Flask application."""

import json

import flask
from flask import request
from werkzeug.exceptions import BadRequest

import contract

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]

app = flask.Flask(__name__)
app.secret_key = "not a secret: it is for this test"
app.url_map.merge_slashes = False
app.config["TRAP_HTTP_EXCEPTIONS"] = False


def as_json(value):
    return flask.Response(json.dumps(value, sort_keys=True), mimetype="application/json")


def text(value, status=200):
    return flask.Response(value, status, mimetype="text/plain")


@app.route("/tell", methods=METHODS, provide_automatic_options=False)
@app.route("/tell/<path:rest>", methods=METHODS, provide_automatic_options=False)
def tell(rest=""):
    return as_json(contract.tell(request.environ, request.get_data()))


@app.get("/params")
def params():
    return as_json(request.args.to_dict(flat=False))


@app.get("/body/<int:length>")
def body(length):
    return flask.Response(contract.pattern(length), mimetype="application/octet-stream")


@app.route("/mirror", methods=METHODS)
def mirror():
    return flask.Response(request.get_data(), content_type=request.content_type)


@app.route("/status/<int:number>", methods=METHODS)
def status(number):
    return flask.Response(status=number) if number in (204, 304) else text(f"{number}\n", number)


@app.get("/redirect")
def redirect():
    return flask.redirect(request.args["to"], int(request.args.get("status", 302)))


@app.get("/absolute")
def absolute():
    return text(flask.url_for("tell", _external=True))


@app.get("/cookies")
def cookies():
    return as_json(request.cookies.to_dict())


@app.get("/cookies/set")
def set_cookies():
    given = text("given\n")
    given.set_cookie("a", "1")
    given.set_cookie("b", "two words", httponly=True)
    given.set_cookie("c", "3", expires=1924992000, secure=True, samesite="Lax")
    return given


@app.get("/session")
def whoami():
    return text(flask.session.get("name", "nobody"))


@app.post("/session")
def enter():
    flask.session["name"] = request.form["name"]
    return flask.redirect("/session")


@app.delete("/session")
def leave():
    flask.session.clear()
    return text("left\n")


@app.post("/form")
def form():
    return as_json(request.form.to_dict(flat=False))


@app.post("/upload")
def upload():
    files = [
        contract.uploaded(name, each.filename, each.mimetype, each.read())
        for name, all_of_name in request.files.lists()
        for each in all_of_name
    ]
    return as_json({"fields": request.form.to_dict(), "files": files})


@app.post("/json")
def read_json():
    try:
        return as_json(request.get_json())
    except BadRequest:
        return text("no JSON\n", 400)


@app.get("/headers")
def headers():
    reply = text("fields\n")
    for name, value in [("X-Two", "a"), ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("X-Two", "b"), ("X-Blank", " a  b ")]:
        reply.headers.add(name, value)
    return reply


@app.get("/stream")
def stream():
    return text(b"piece %d\n" % number for number in range(5))


@app.get("/file")
def file():
    return flask.send_file(contract.NOTES, conditional=True)


@app.get("/tagged")
def tagged():
    reply = text("tagged\n")
    reply.set_etag("v1")
    return reply.make_conditional(request)


@app.get("/fail/before")
def fail_before():
    raise RuntimeError("a secret of the house")


@app.get("/fail/after")
def fail_after():
    return text(contract.breaking())


@app.get("/slow")
def slow():
    contract.slow(int(request.args["ms"]), request.args.get("mark"))
    return text("slept\n")


@app.get("/drip")
def drip():
    return text(contract.drip(request.args["mark"]))
