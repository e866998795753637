"""A worker at its start: what it is told, how it is run, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Process, Server
from tempest import SetupError, Worker
from test_worker import ask

Start = Callable[..., Process]


def one_line(worker: Process) -> str:
    assert worker.ends() == 1
    lines = worker.said().strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_no_redis_is_one_line(start: Start) -> None:
    line = one_line(start("redis://127.0.0.1:1"))
    assert "no Redis at redis://127.0.0.1:1" in line
    assert "redis-server" in line


def test_a_wrong_url_is_one_line(start: Start) -> None:
    assert "'http://x' is no Redis URL" in one_line(start("http://x"))


def test_a_policy_that_evicts_is_refused(server: Server, start: Start) -> None:
    server.redis.config_set("maxmemory-policy", "allkeys-lru")
    line = one_line(start(server.url))
    assert "allkeys-lru" in line
    assert "config set maxmemory-policy noeviction" in line


def test_a_password_is_asked_for_and_never_shown(server: Server, start: Start) -> None:
    server.redis.config_set("requirepass", "hush")
    assert "wants another name or password" in one_line(start(server.admin_url))
    server.redis.execute_command("AUTH", "hush")
    worker = start(server.admin_url.replace("redis://", "redis://:hush@"))
    assert "serves" in worker.said()
    assert "hush" not in worker.said()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TEMPEST_QUEUE", "a b"),
        ("TEMPEST_QUEUE", "queues"),
        ("TEMPEST_LANES", "urgent"),
        ("TEMPEST_CONCURRENCY", "many"),
        ("TEMPEST_CONCURRENCY", "0"),
        ("TEMPEST_PREFIX", "a{b"),
        ("TEMPEST_WORKER_TAG", "A-B"),
    ],
)
def test_mistakes_in_the_environment_are_one_line(server: Server, start: Start, variable: str, value: str) -> None:
    assert value in one_line(start(server.url, **{variable: value}))


def test_the_tag_of_a_supervisor_ends_the_worker_id(server: Server, start: Start) -> None:
    worker = start(server.admin_url, TEMPEST_WORKER_TAG="tag7", TEMPEST_PREFIX="acme", TEMPEST_QUEUE="q")
    (lease,) = server.redis.keys("acme:{q}:lease:*")
    assert lease.endswith(f"-{worker.pid}-tag7".encode())
    about = json.loads(server.redis.get(lease))
    assert about.items() >= {"lang": "python", "pid": worker.pid, "slots": 1, "state": "running"}.items()


def test_the_command_runs_a_worker(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from tempest import Worker\nmine = Worker()\nmine.on('echo')(lambda args: args)\n"
    )
    environment = os.environ | {"TEMPEST_REDIS_URL": server.url}
    command = [sys.executable, "-m", "tempest"]
    with subprocess.Popen([*command, "mine:mine"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as process:
        try:
            assert ask(server, {"action": "echo", "args": 5})["result"] == 5
        finally:
            process.terminate()
            _, said = process.communicate(timeout=10)
    assert process.returncode == 0
    assert b"1 done" in said
    for name in ("mine:nobody", "nothing:worker"):
        ended = subprocess.run([*command, name], cwd=tmp_path, env=environment, capture_output=True, timeout=20)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1


def test_a_worker_without_signals_is_stopped_from_another_thread(server: Server) -> None:
    worker = Worker("default", url=server.url)
    worker.on("echo")(lambda args: args)
    reports: list[Any] = []
    thread = threading.Thread(target=lambda: reports.append(worker.serve()))
    thread.start()
    assert ask(server, {"action": "echo", "args": 1})["result"] == 1
    worker.stop()
    thread.join(5)
    assert reports[0].done == 1


def test_serve_raises_what_run_prints() -> None:
    with pytest.raises(SetupError, match="no Redis"):
        Worker("default", url="redis://127.0.0.1:1").serve()


def test_what_cannot_be_a_handler_is_refused() -> None:
    worker = Worker("default")

    def pieces(args: Any) -> Any:
        yield args

    async def later(args: Any) -> Any:
        yield args

    def wants_three(one: Any, two: Any, three: Any) -> None: ...

    for function in (pieces, later, wants_three):
        with pytest.raises(TypeError):
            worker.on("x")(function)
