"""A bare application of PEP 3333: what a gateway costs without a framework."""

BODY = b"Hello world!\n"
HEADERS = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(BODY)))]


def app(environ, start_response):
    """Answers every request with the same line."""
    start_response("200 OK", HEADERS)
    return [BODY]
