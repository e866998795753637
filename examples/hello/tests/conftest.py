"""A private Redis, and the hello workers as processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

HELLO = Path(__file__).resolve().parents[1]

WORKERS = {
    "python": [sys.executable, HELLO / "python" / "hello.py"],
    "python-sdk": [sys.executable, HELLO / "python-sdk" / "hello.py"],
    "ruby": ["ruby", HELLO / "ruby" / "hello.rb"],
    "node": ["node", HELLO / "node" / "hello.js"],
    "sh": ["sh", HELLO / "sh" / "hello.sh"],
}


def missing(language: str) -> str | None:
    """Why this machine cannot run the worker; none if it can."""
    program = str(WORKERS[language][0])
    if shutil.which(program) is None:
        return f"{program} is missing"
    if (
        language == "ruby"
        and subprocess.run(["ruby", "-e", "require 'redis'"], capture_output=True, check=False).returncode
    ):
        return "the redis gem is missing"
    if language == "node" and not (HELLO / "node" / "node_modules" / "ioredis").is_dir():
        return "ioredis is missing: run npm ci in examples/hello/node"
    return None


def until(what: Callable[[], Any], within_s: float = 10.0) -> Any:
    """Waits until `what()` is true and gives it; fails after a while."""
    end = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < end, f"not within {within_s} s"
        time.sleep(0.01)
    return found


@pytest.fixture
def server(tmp_path: Path) -> Iterator[redis.Redis]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    options = [
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(tmp_path),
        "--bind",
        "127.0.0.1",
    ]
    process = subprocess.Popen(["redis-server", "--port", str(port), *options], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, socket_timeout=10)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

    try:
        until(answers)
        yield client
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=WORKERS)
def language(request: pytest.FixtureRequest) -> str:
    reason = missing(request.param)
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return request.param


@pytest.fixture
def start(language: str, server: redis.Redis, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a worker and waits for its first beat. Whatever it leaves behind is killed with its process group."""
    started: list[subprocess.Popen[bytes]] = []
    log = tmp_path / "log"

    def start_one(**environment: str) -> subprocess.Popen[bytes]:
        port = server.connection_pool.connection_kwargs["port"]
        variables = {
            "TEMPEST_REDIS_URL": f"redis://127.0.0.1:{port}",
            "TMPDIR": str(tmp_path),
        } | environment
        with log.open("ab") as file:
            process = subprocess.Popen(
                list(map(str, WORKERS[language])),
                env=os.environ | variables,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        started.append(process)
        before = len(started) - 1
        until(lambda: len(server.keys("*:lease:*")) > before or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        return process

    yield start_one
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
    print(log.read_text() if log.exists() else "")
