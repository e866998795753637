"""The harness for tests of programs, and with it the hooks. None of this needs a Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tempest import CallFailed, Client, Context, Draft, NoSuchJob, NotUnique, Request, WireError, Worker, chain, pushing
from tempest.testing import Harness, inline


@dataclass
class Mail:
    to: str


def made() -> Worker:
    worker = Worker("mail", url="redis://127.0.0.1:1")

    @worker.on("send")
    def send(mail: Mail, context: Context) -> str:
        context.publish("news", [mail.to])
        context.progress(1)
        context.log("sent")
        return f"sent to {mail.to}"

    @worker.on("flaky")
    def flaky(args: int, context: Context) -> Any:
        if context.attempt <= args:
            raise ValueError(f"attempt {context.attempt}")
        return context.attempt

    @worker.on("echo")
    async def echo(args: Any, context: Context) -> Any:
        return [args, context.input]

    @worker.on("opaque")
    def opaque() -> object:
        return object()

    @worker.on("pushes")
    def pushes(args: Any, context: Context) -> str:
        return context.push("other", "echo", args)

    @worker.on("url")
    def url(request: Request) -> Any:
        return 201, {}, request.path

    return worker


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(url="redis://127.0.0.1:1") as client:
        yield client


@pytest.fixture
def harness() -> Iterator[Harness]:
    with Harness(made()) as harness:
        yield harness


def test_inline_runs_a_job_at_once(client: Client) -> None:
    with inline(made()) as harness:
        job_id = client.push("mail", "send", {"to": "Bob"}, in_s=3600)
        assert client.result("mail", job_id) == "sent to Bob"
        assert harness.events == [("news", ["Bob"])]
    assert pushing.stand_in is None


def test_inline_raises_what_the_handler_raises(client: Client) -> None:
    with inline(made()) as harness:
        with pytest.raises(ValueError, match="attempt 1"):
            client.push("mail", "flaky", 1)
        with pytest.raises(WireError, match=r"args\.to is missing"):
            client.push("mail", "send", {})
        assert len(harness.dead) == 1, "what does not fit is final, what failed would be tried again"


def test_arguments_and_results_pass_the_wire(client: Client, harness: Harness) -> None:
    with pytest.raises(WireError, match="bad_json"):
        client.push("mail", "echo", object())
    job_id = client.push("mail", "echo", {1: (2, 3)}, encoding="msgpack")
    harness.run()
    assert harness.results[job_id] == [{1: [2, 3]}, None]
    client.push("mail", "opaque", attempts=1)
    harness.run()
    assert harness.dead[0]["error"]["code"] == "handler_error"


def test_a_call_gives_the_result(client: Client, harness: Harness) -> None:
    assert client.call("mail", "echo", 1) == [1, None]
    assert client.call("mail", "url", Request("GET", "/x")).status == 201
    with pytest.raises(CallFailed, match="no_handler"):
        client.call("mail", "nobody")


def test_a_delayed_job_runs_when_the_clock_is_skipped(client: Client, harness: Harness) -> None:
    job_id = client.push("mail", "echo", 1, in_s=60)
    assert (harness.run(), len(harness.later)) == (0, 1)
    assert (harness.skip(59.9), harness.skip(0.2)) == (0, 1)
    assert client.result("mail", job_id) == [1, None]


def test_a_failed_job_is_tried_again_after_its_back_off(client: Client, harness: Harness) -> None:
    job_id = client.push("mail", "flaky", 2)
    assert harness.run() == 1
    ((wait_s, job),) = harness.later
    assert (job.attempt, wait_s <= 1) == (2, True)
    assert harness.skip(60) == 2
    assert harness.results[job_id] == 3
    assert [str(error) for error in harness.errors] == ["attempt 1", "attempt 2"]


def test_a_job_that_used_up_its_attempts_is_dead(client: Client, harness: Harness) -> None:
    job_id = client.push("mail", "flaky", 9, attempts=2)
    assert harness.skip(60) == 2
    (dead,) = harness.dead
    assert (dead["id"], dead["error"]["message"]) == (job_id, "ValueError: attempt 2")
    with pytest.raises(CallFailed, match="attempt 2"):
        client.result("mail", job_id)


def test_a_job_that_is_late_is_dead(client: Client, harness: Harness) -> None:
    client.push("mail", "echo", ttl_s=5)
    harness.clock.ms += 6_000
    assert harness.run() == 0
    assert harness.dead[0]["error"]["code"] == "expired"


def test_what_handlers_push_runs_too(client: Client, harness: Harness) -> None:
    job_id = client.push("mail", "pushes", "x")
    assert harness.run() == 2
    assert harness.results[harness.results[job_id]] == ["x", None]


def test_ids_are_taken_once_and_unknown_ones_are_told(client: Client, harness: Harness) -> None:
    client.push("mail", "echo", 1, id="one")
    client.push("mail", "echo", 2, id="one")
    assert [job.args for job in harness.waiting] == [1]
    with pytest.raises(CallFailed, match="timeout"):
        client.result("mail", "one")
    with pytest.raises(NoSuchJob):
        client.result("mail", "two")


def test_unique_keys_are_held_as_long_as_they_are(client: Client, harness: Harness) -> None:
    held: list[Callable[[], str]] = [
        lambda: client.push("mail", "echo", unique="a"),
        lambda: client.push("mail", "echo", unique="b", unique_while="time", unique_s=60),
    ]
    for push in held:
        push()
        with pytest.raises(NotUnique):
            push()
    harness.run()
    held[0]()
    with pytest.raises(NotUnique):
        held[1]()
    harness.skip(60)
    held[1]()


def test_a_chain_runs_to_its_end(client: Client, harness: Harness) -> None:
    client.push_many("mail", [chain(Draft("echo", 1), Draft("echo", 2), Draft("echo", 3, id="last"))])
    assert harness.run() == 3
    assert harness.results["last"] == [3, [2, [1, None]]]


def test_groups_are_not_there(client: Client, harness: Harness) -> None:
    with pytest.raises(NotImplementedError):
        client.group("mail", [Draft("echo")], Draft("echo"))


# --- hooks ---------------------------------------------------------------------------------------------------------


def test_hooks_run_around_each_handler_in_their_order(client: Client) -> None:
    worker, seen = made(), list[str]()

    @worker.around
    def outer(context: Context, call_next: Callable[[], Any]) -> Any:
        seen.append(f"outer {context.job.action}")
        returned = call_next()
        seen.append(f"outer {returned}")
        return {"changed": returned}

    @worker.around
    def inner(context: Context, call_next: Callable[[], Any]) -> Any:
        seen.append("inner")
        return call_next()

    with inline(worker):
        assert client.call("mail", "echo", 1) == {"changed": [1, None]}
    assert seen == ["outer echo", "inner", "outer [1, None]"]


def test_what_a_hook_raises_fails_the_job(client: Client) -> None:
    worker = made()

    @worker.around
    def closed(context: Context, call_next: Callable[[], Any]) -> Any:
        raise PermissionError("not now")

    with inline(worker), pytest.raises(PermissionError):
        client.push("mail", "echo")


def test_errors_are_told_and_a_hook_that_fails_changes_nothing(client: Client) -> None:
    worker, seen = made(), list[tuple[str | None, str]]()

    @worker.on_error
    def broken(context: Context, error: BaseException) -> None:
        raise RuntimeError("the hook")

    @worker.on_error
    def told(context: Context, error: BaseException) -> None:
        seen.append((context.id, str(error)))

    with Harness(worker) as harness:
        job_id = client.push("mail", "flaky", 1)
        harness.skip(60)
        assert harness.results[job_id] == 2
    assert seen == [(job_id, "attempt 1")]
