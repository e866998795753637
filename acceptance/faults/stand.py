"""What the faults of acceptance/failure are brought about on: a Redis of its own, a front, and a worker for each way to
write one."""

import http.client
import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import redis

from stage import BIN, ROOT, Programs, free_ports, listens, need, request, until

HERE = Path(__file__).resolve().parent
TIMEOUT_MS = 3_000
"""How long clients of the front wait."""
QUEUES = ("py", "rust", "sh")

FRONT = f"""
[front]
timeout_ms = {TIMEOUT_MS}

[log]
access = "off"

[[route]]
path = "/sub/{{*topic}}"
topic = "{{topic}}"
""" + "".join(f'\n[[route]]\npath = "/{queue}"\nqueue = "{queue}"\n' for queue in QUEUES)

REDIS = """
port {port}
bind 127.0.0.1
dir {dir}
save ""
appendonly {appendonly}
appendfsync everysec
busy-reply-threshold 100
enable-debug-command yes
enable-protected-configs yes
user front on >front ~* &* +@all
user worker on >worker ~* &* +@all
"""


class Stand(Programs):
    """Fronts and workers have users of their own, so that one of them can be denied a command."""

    def __init__(self, appendonly=False):
        super().__init__()
        self.redis_port, self.port, self.admin_port = free_ports(3)
        self.data = self.folder / "data"
        self.data.mkdir()
        self.runs_file = self.folder / "runs"
        self.redis_conf = self.folder / "redis.conf"
        appended = "yes" if appendonly else "no"
        self.redis_conf.write_text(REDIS.format(port=self.redis_port, dir=self.data, appendonly=appended))
        self.bus = redis.Redis(port=self.redis_port, socket_timeout=20)
        try:
            self.start_redis()
            self.front = self._front()
            self.workers = dict(zip(QUEUES, self._workers(), strict=True))
            until("the front listens", lambda: listens(self.port) and listens(self.admin_port))
            until("the front is ready", lambda: self.readiness()[0] == 200)
            until("every queue is served", lambda: all(request(self.port, "GET", f"/{q}")[0] == 200 for q in QUEUES))
        except BaseException:
            self.show()
            self.__exit__()
            raise

    def start_redis(self, *options):
        """Starts Redis, on the same port and data as before."""
        self.redis = self.start(need("redis-server"), self.redis_conf, *options, log="redis.log")
        until("Redis listens", lambda: listens(self.redis_port))

    def end_redis(self):
        """Ends Redis as a crash of it does."""
        self.redis.send_signal(signal.SIGKILL)
        self.redis.wait()
        self.bus.close()

    def url(self, user):
        """How a user reaches this Redis."""
        return f"redis://{user}:{user}@127.0.0.1:{self.redis_port}"

    def _front(self):
        config = self.folder / "front.toml"
        config.write_text(FRONT)
        listening = ("--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin_port}")
        return self.start(
            BIN, "front", "--config", config, *listening, log="front.log", TEMPEST_REDIS_URL=self.url("front")
        )

    def _workers(self):
        to = {"TEMPEST_REDIS_URL": self.url("worker")}
        python = {"RUNS": str(self.runs_file), "PYTHONUNBUFFERED": "1"}
        yield self.start("python", HERE / "worker.py", log="py.log", TEMPEST_QUEUE="py", **python, **to)
        yield self.start("hello-rust", log="rust.log", TEMPEST_QUEUE="rust", RUST_LOG="info", **to)
        yield self.start("sh", ROOT / "examples/hello/sh/hello.sh", log="sh.log", TEMPEST_QUEUE="sh", **to)

    def readiness(self):
        """What the admin listener says: status, and the reasons with what is told of them."""
        status, body = self._admin("/readyz")
        return status, {reason["reason"]: reason for reason in json.loads(body)["reasons"]}

    def metrics(self):
        """Every value of the metrics page by its name and labels."""
        lines = self._admin("/metrics")[1].splitlines()
        return {name: float(value) for line in lines if line[:1] != "#" for name, value in [line.rsplit(" ", 1)]}

    def _admin(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def runs(self):
        """What the Python worker ran, in order."""
        return self.runs_file.read_text().split()

    def leases(self):
        """The workers that live, by what Redis knows."""
        return sorted(self.bus.keys("tempest:*:lease:*"))

    def logged(self, name, since=0):
        """The lines of a log from a byte on, without colours."""
        path = self.folder / f"{name}.log"
        with path.open("rb") as log:
            log.seek(since)
            return re.sub(r"\x1b\[[0-9;]*m", "", log.read().decode(errors="replace")).splitlines()

    def log_sizes(self):
        """Where each log ends now."""
        return {name: os.path.getsize(self.folder / f"{name}.log") for name in ("front", *QUEUES)}

    def show(self):
        """The end of each log, for whoever looks for what went wrong."""
        for log in sorted(self.folder.glob("*.log")):
            sys.stdout.write(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}\n")


def since(begun):
    """Seconds."""
    return time.monotonic() - begun
