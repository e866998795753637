"""Private Redis servers, a proxy that cuts, and workers as processes of their own.

Workers and callers reach Redis as accounts that may do what they need and nothing else: users.acl, which is what
`tempest acl` prints (cli/tests/tool/acl.rs holds it to that). The tests themselves look on as an administrator.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

HERE = Path(__file__).parent
# Accounts with the rights of a worker of all queues that the tests use, and of a caller.
USERS = HERE / "users.acl"
ACCOUNTS, PASSWORD = ("worker", "caller"), "secret"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def until(what: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Waits until `what()` is true and gives it; fails after a while."""
    end = time.monotonic() + within_s
    while True:
        found = what()
        if found:
            return found
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.01)


def account(name: str, url: str) -> str:
    """The URL of the same Redis for one of the accounts."""
    return url.replace("//", f"//{name}:{PASSWORD}@")


class Server:
    """A redis-server of this test's own. `url` is for workers, `caller_url` for who calls them; `redis` may do all."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.admin_url = f"redis://127.0.0.1:{self.port}"
        self.url, self.caller_url = account("worker", self.admin_url), account("caller", self.admin_url)
        self._folder = folder
        self._options = options
        self.start()

    def start(self) -> None:
        fixed = ["--save", "", "--appendonly", "no", "--dir", str(self._folder), "--bind", "127.0.0.1"]
        fixed += ["--aclfile", str(USERS)]
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), *fixed, *self._options],
            stdout=subprocess.DEVNULL,
        )
        self.redis: Any = redis.Redis(port=self.port, socket_timeout=10)
        until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "redis-server ended"
        try:
            return bool(self.redis.ping())
        except redis.RedisError:
            return False

    def denied(self) -> list[str]:
        """What was denied to workers and callers since the server started; nothing if it does not run."""
        try:
            entries = self.redis.acl_log()
        except redis.RedisError:
            return []
        return [f"{entry['username']}: {entry['object']}" for entry in entries if entry["username"] in ACCOUNTS]

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self.redis.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """One that fails the test if a worker or a caller needs a right that it does not have."""
    made = Server(tmp_path)
    yield made
    denied = made.denied()
    made.kill()
    assert not denied, "see broker/src/rights.rs"


class Proxy:
    """Between worker and Redis. `cut_on` closes both sides when these bytes pass towards Redis, after letting Redis
    carry them out and before its answer is passed on; `cut_before` closes them before Redis gets the bytes. `chance`
    cuts so many of the reads of either side at random."""

    def __init__(self, port: int) -> None:
        self.cuts = 0
        self.cut_on: bytes | None = None
        self.cut_before: bytes | None = None
        self.chance = 0.0
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        address = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        self.url, self.caller_url = account("worker", address), account("caller", address)
        self._socks: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(("127.0.0.1", self._target))
            self._socks += [client, upstream]
            cutting = threading.Event()
            threading.Thread(target=self._forward, args=(client, upstream, cutting), daemon=True).start()
            threading.Thread(target=self._back, args=(upstream, client, cutting), daemon=True).start()

    def _forward(self, client: socket.socket, upstream: socket.socket, cutting: threading.Event) -> None:
        try:
            while data := client.recv(65536):
                if self.cut_on is not None and self.cut_on in data:
                    cutting.set()
                if (self.cut_before is not None and self.cut_before in data) or random.random() < self.chance:
                    self.cuts += 1
                    self.cut_before = None
                    break
                upstream.sendall(data)
        except OSError:
            pass
        self._close(client, upstream)

    def _back(self, upstream: socket.socket, client: socket.socket, cutting: threading.Event) -> None:
        try:
            while data := upstream.recv(65536):
                if cutting.is_set() or random.random() < self.chance:
                    self.cuts += 1
                    self.cut_on = None
                    break
                client.sendall(data)
        except OSError:
            pass
        self._close(client, upstream)

    @staticmethod
    def _close(*socks: socket.socket) -> None:
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def close(self) -> None:
        self._close(self._listener, *self._socks)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.port)
    yield made
    made.close()


class Process:
    """A worker in a process of its own: tests/serving.py."""

    def __init__(self, url: str, folder: Path, **environment: str) -> None:
        self.log = folder / f"worker-{free_port()}.log"
        admin_url = url.replace(f"worker:{PASSWORD}@", "")
        variables = {
            "TEMPEST_REDIS_URL": url,
            "ADMIN_URL": admin_url,
            "MARKS": str(folder / "marks"),
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "serving.py")],
                env=os.environ | variables | environment,
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """Stops it, and waits until every thread has come to a halt: on a busy machine some run on for a while."""
        self.signal(signal.SIGSTOP)
        stats = list(Path(f"/proc/{self.pid}/task").glob("*/stat"))
        until(lambda: all(stat.read_text().rpartition(") ")[2].startswith("T") for stat in stats))

    def ends(self, within_s: float = 10.0) -> int:
        return self.process.wait(within_s)

    def said(self) -> str:
        return self.log.read_text()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts workers, and waits until each serves; kills them in the end and shows what they said."""
    started: list[Process] = []

    def start_one(url: str, **environment: str) -> Process:
        process = Process(url, tmp_path, **environment)
        started.append(process)
        until(lambda: "serves" in process.said() or process.process.poll() is not None)
        return process

    yield start_one
    for process in started:
        process.kill()
        print(process.said())


@pytest.fixture
def marks(tmp_path: Path) -> Callable[[], list[str]]:
    """What handlers of serving.py wrote down, in order."""
    file = tmp_path / "marks"
    return lambda: file.read_text().split() if file.exists() else []
