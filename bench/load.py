"""Load from wrk, and the one request that shows that the answer is right."""

import http.client
import json
import pathlib
import subprocess
import tempfile

BODY, TYPE = b"Hello world!\n", "text/plain; charset=utf-8"
ERRORS = ("connect", "read", "write", "status", "timeout")
# wrk's own text rounds; this line has what it measured.
SAY = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"duration_us":%d,"bytes":%d,"p50_us":%.1f,"p99_us":%.1f,"max_us":%.1f,'
      .. '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


def wrong_answer(port):
    """What is wrong with the answer of whoever listens there; nothing, if it is as it should be."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error!r}"
    finally:
        connection.close()
    said = response.status, response.getheader("content-type"), response.getheader("content-length"), body
    return "" if said == (200, TYPE, str(len(BODY)), BODY) else f"answers {said!r}"


def run(port, connections, seconds):
    """Figures of one run: what wrk says, `per_second`, and `errors` as a text that is empty if there are none."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        pathlib.Path(script.name).write_text(SAY)
        command = ["wrk", "-t", min(2, connections), "-c", connections, "-d", f"{seconds}s", "--timeout", "10s"]
        command += ["--latency", "-s", script.name, f"http://127.0.0.1:{port}/"]
        said = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, timeout=seconds + 60)
    figures = json.loads(next(line for line in said.stdout.splitlines() if line.startswith("{")))
    figures["per_second"] = figures["requests"] / figures["duration_us"] * 1e6
    figures["errors"] = ", ".join(f"{figures[kind]} {kind}" for kind in ERRORS if figures[kind])
    if not figures["requests"]:
        figures["errors"] += " no answer at all"
    return figures
