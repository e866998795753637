"""The same answer from Flask."""

from flask import Flask, Response

app = Flask(__name__)


@app.get("/")
def hello():
    """The line that all contenders answer."""
    return Response("Hello world!\n", content_type="text/plain; charset=utf-8")
