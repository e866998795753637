"""The backend for Django's tasks, with the real package, a real Redis and a real worker."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Server, until

pytest.importorskip("django_tasks")
os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"

import django
from django.core.exceptions import ImproperlyConfigured
from django_tasks import TaskResultStatus as Status
from django_tasks import task_backends
from django_tasks.exceptions import InvalidTaskError, TaskResultDoesNotExist
from django_tasks.signals import task_enqueued

import django_project as project
from tempest.django import TempestBackend, worker_of
from tempest.django.backend import lane_of

django.setup()

HERE = Path(__file__).parent
Run = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture(autouse=True)
def served(server: Server) -> Iterator[None]:
    """All backends of the project use the Redis of this test."""
    for alias in ("default", "twice"):
        task_backends[alias].options["URL"] = server.caller_url
        task_backends[alias]._client = None
    yield
    for alias in ("default", "twice"):
        task_backends[alias].client.close()


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Iterator[Run]:
    started: list[subprocess.Popen[bytes]] = []

    def run_one(*command: str, url: str = server.url) -> subprocess.Popen[bytes]:
        log = tmp_path / f"django-{len(started)}.log"
        variables = {"TASKS_URL": url, "ADMIN_URL": server.admin_url}
        with log.open("wb") as file:
            words = command or ("-m", "tempest.django", "--queue", "default")
            started.append(
                subprocess.Popen([sys.executable, *words], cwd=HERE, env=os.environ | variables, stderr=file)
            )
        until(lambda: "serves" in log.read_text() or started[-1].poll() is not None)
        return started[-1]

    yield run_one
    for process in started:
        process.kill()
        process.wait()


def finished(result: Any) -> Any:
    def refreshed() -> bool:
        result.refresh()
        return bool(result.is_finished)

    until(refreshed)
    return result


def test_a_task_runs_and_its_result_is_found(run: Run) -> None:
    result = project.add.enqueue(1, b=2)
    assert (result.status, result.args, result.kwargs) == (Status.READY, [1], {"b": 2})
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value
    run()
    found = finished(project.add.get_result(result.id))
    assert (found.status, found.return_value, found.attempts) == (Status.SUCCESSFUL, {"sum": 3}, 1)
    assert found.enqueued_at <= found.started_at
    assert found.started_at == found.last_attempted_at
    assert found.finished_at is not None
    assert found.task == project.add


def test_an_async_task_of_another_queue_runs_in_its_lane(server: Server, run: Any) -> None:
    result = asyncio.run(project.shout.aenqueue("hey"))
    assert server.redis.llen("tempest:{mail}:high") == 1
    run("-m", "tempest.django", url=server.admin_url)
    assert finished(asyncio.run(project.shout.aget_result(result.id))).return_value == "HEY"


def test_priorities_are_lanes() -> None:
    assert [lane_of(priority) for priority in (-100, -1, 0, 1, 100)] == ["low", "low", "normal", "high", "high"]


def test_a_task_that_fails_tells_why(run: Run) -> None:
    run()
    result = finished(project.fail.enqueue("gone"))
    assert result.status == Status.FAILED
    (error,) = result.errors
    assert error.exception_class is LookupError
    assert "gone" in error.traceback
    with pytest.raises(ValueError, match="failed"):
        _ = result.return_value


def test_a_value_without_a_form_fails_its_task(run: Run) -> None:
    run()
    assert finished(project.opaque.enqueue()).status == Status.FAILED


def test_a_task_may_be_tried_again(server: Server, run: Run) -> None:
    run()
    result = project.fail.using(backend="twice").enqueue("gone")
    until(lambda: server.redis.zcard("tempest:{default}:later") == 1)
    result.refresh()
    assert (result.status, len(result.errors)) == (Status.READY, 1)
    (frame,) = server.redis.zrange("tempest:{default}:later", 0, -1)
    server.redis.zrem("tempest:{default}:later", frame)
    server.redis.rpush("tempest:{default}", frame)
    assert (finished(result).status, result.attempts, len(result.errors)) == (Status.FAILED, 2, 2)


def test_a_task_sees_its_context_and_is_seen_to_run(server: Server, run: Run) -> None:
    run()
    result = project.look.enqueue()
    assert finished(result).return_value == [1, result.id, "RUNNING"]
    waiting = project.until.enqueue("go")

    def runs() -> bool:
        waiting.refresh()
        return bool(waiting.status == Status.RUNNING)

    until(runs)
    server.redis.set("go", 1)
    assert finished(waiting).return_value == "go"


def test_a_task_for_later_waits(server: Server) -> None:
    at = datetime.datetime(2040, 1, 2, tzinfo=datetime.timezone.utc)
    result = project.add.using(run_after=at).enqueue(1)
    ((frame, due),) = server.redis.zrange("tempest:{default}:later", 0, -1, withscores=True)
    assert (json.loads(frame)["id"], due) == (result.id, at.timestamp() * 1000)
    assert project.add.get_result(result.id).task.run_after == at


def test_what_is_not_known_does_not_exist() -> None:
    with pytest.raises(TaskResultDoesNotExist):
        project.add.get_result("nobody")
    with pytest.raises(InvalidTaskError, match="nowhere"):
        project.add.using(queue_name="nowhere")


def test_signals_are_sent() -> None:
    seen: list[str] = []

    def note(task_result: Any, **_: Any) -> None:
        seen.append(task_result.id)

    task_enqueued.connect(note)
    try:
        assert [project.add.enqueue(1).id] == seen
    finally:
        task_enqueued.disconnect(note)


def test_a_backend_needs_its_queues() -> None:
    with pytest.raises(ImproperlyConfigured, match="QUEUES"):
        TempestBackend("odd", {"QUEUES": []})
    with pytest.raises(Exception, match="nowhere"):
        worker_of("nowhere")


def test_manage_runs_the_worker_too(run: Any) -> None:
    process = run("-m", "django", "tempest_worker", "--queue", "default", "--concurrency", "2")
    assert finished(project.add.enqueue(2)).return_value == {"sum": 2}
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
