"""Cancel and deadlines: nobody waits any more, so nothing fails and nothing is tried again (SPEC "Cancel")."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from conftest import Process, Server, until
from tempest.bus import Bus
from tempest.clock import Clock
from tempest.context import Context
from tempest.limits import ID_MEMORY_S
from tempest.link import Place
from tempest.memory import Memory
from tempest.names import Keys
from tempest.wire import Job
from test_worker import MAILBOX, ask, idle, members

Start = Callable[..., Process]
Marks = Callable[[], list[str]]

LANE = "tempest:{default}"
CONTROL = "tempest:{default}:control"


def push(server: Server, name: str, action: str, args: Any = None, **more: Any) -> None:
    """A background job unless it has a ``reply_to``."""
    server.redis.rpush(LANE, json.dumps({"id": name, "action": action, "args": args, "attempts": 3, **more}))


def in_ms(server: Server, ms: int) -> int:
    seconds, micros = server.redis.time()
    return int(seconds) * 1000 + int(micros) // 1000 + ms


def ends(worker: Process) -> str:
    """What it says of itself when it ends."""
    worker.signal(signal.SIGTERM)
    assert worker.ends() == 0
    return next(line for line in worker.said().splitlines() if "worker ended" in line)


def nothing_is_left(server: Server) -> None:
    idle(server)
    assert members(server, "later") == []
    assert members(server, "dead") == []
    assert server.redis.llen(MAILBOX) == 0


@pytest.mark.parametrize("action", ["patient", "checking", "waiting", "hurt", "stubborn", "async"])
@pytest.mark.parametrize("waited_for", [False, True])
def test_what_is_cancelled_is_neither_failed_nor_tried_again(
    server: Server, start: Start, marks: Marks, action: str, waited_for: bool
) -> None:
    worker = start(server.url)
    args = 1.0 if action == "stubborn" else 60
    push(server, "c1", action, args, **({"reply_to": MAILBOX} if waited_for else {}))
    until(lambda: marks() == ["begin"])
    server.redis.publish(CONTROL, "cancel c1")
    nothing_is_left(server)
    said = ends(worker)
    assert "0 done, 0 failed, 1 dropped" in said, said
    assert "Traceback" not in worker.said()


@pytest.mark.parametrize("action", ["patient", "checking", "waiting", "hurt", "stubborn", "async"])
def test_at_its_deadline_a_job_is_cancelled_by_its_worker_alone(
    server: Server, start: Start, marks: Marks, action: str
) -> None:
    worker = start(server.url)
    args = 3.0 if action == "stubborn" else 60
    # Long enough to be begun on a slow machine; by the time that is seen, it may be over.
    push(server, "d1", action, args, reply_to=MAILBOX, deadline=in_ms(server, 1_500))
    until(lambda: marks()[:1] == ["begin"])
    nothing_is_left(server)
    assert ", 0 failed," in ends(worker)


def test_a_background_job_that_raises_after_its_deadline_is_kept_for_people(
    server: Server, start: Start, marks: Marks
) -> None:
    worker = start(server.url)
    push(server, "d2", "hurt", deadline=in_ms(server, 1_500))
    (dead,) = until(lambda: members(server, "dead"))
    assert (dead["id"], dead["error"]["code"]) == ("d2", "expired")
    idle(server)
    assert members(server, "later") == []
    assert "0 done, 0 failed, 1 dropped" in ends(worker)


def test_a_wait_ends_when_it_is_over(server: Server, start: Start) -> None:
    start(server.url)
    assert ask(server, {"action": "waiting", "args": 0.01})["result"] is False


def test_an_async_handler_replies_and_leaves_nothing_running(server: Server, start: Start, marks: Marks) -> None:
    start(server.url)
    for _ in range(2):
        assert ask(server, {"action": "async", "args": 0.01})["result"] == "slept beside True"
    assert marks() == ["begin", "end", "beside"] * 2


@pytest.mark.parametrize("action", ["async", "checking", "waiting", "hurt"])
def test_one_that_runs_too_long_fails_with_timeout(server: Server, start: Start, action: str) -> None:
    start(server.url, RUN_MAX_S="0.2")
    assert ask(server, {"action": action, "args": 60})["error"]["code"] == "timeout"


def test_only_the_job_of_that_id_hears_it(server: Server, start: Start, marks: Marks) -> None:
    start(server.url, TEMPEST_CONCURRENCY="2")
    push(server, "c1", "waiting", 60)
    until(lambda: marks() == ["begin"])
    push(server, "c2", "async", 60)
    until(lambda: marks() == ["begin", "begin"])
    server.redis.publish(CONTROL, "kill c1 10")  # is for whoever keeps the worker
    server.redis.publish(CONTROL, "cancel c2")
    until(lambda: sorted(marks()[2:]) == ["beside", "end"])
    server.redis.publish(CONTROL, "cancel c1")
    until(lambda: marks()[4:] == ["True"])
    nothing_is_left(server)


# --- memory --------------------------------------------------------------------------------------------------------


def context(name: str) -> Context:
    bus = Bus(Place("redis://127.0.0.1:1"), Keys("tempest"), "")
    return Context(Job(action="a", args=None, id=name), "default", bus, Clock())


def test_a_job_cancelled_between_its_claim_and_its_start_is_told() -> None:
    memory, job = Memory(), context("a")
    assert memory.may_start(job.job)
    memory.cancel("a")
    memory.start(job)
    assert job.cancelled()
    assert memory.finish(job)


def test_a_handler_that_outlives_the_memory_of_its_cancel_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, job, now = Memory(), context("a"), 0.0
    monkeypatch.setattr("tempest.memory.running_s", lambda: now)
    memory.start(job)
    memory.cancel("a")
    now = ID_MEMORY_S * 2
    memory.cancel("b")
    assert memory.may_start(job.job), "forgotten by now"
    assert memory.finish(job)


def test_whoever_asks_to_be_woken_late_is_woken_at_once() -> None:
    job, woken = context("a"), list[str]()
    job.on_wake(lambda: woken.append("early"))
    job.cancel()
    job.on_wake(lambda: woken.append("late"))
    job.cancel()
    assert woken == ["early", "late"]
